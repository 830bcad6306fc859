"""A validator to hold in a notebook or a service: one suite, any data frame."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from millrace.validation.engine import validate
from millrace.validation.frames import to_table
from millrace.validation.result import ValidationResult
from millrace.validation.suite import Suite


class DataValidator:
    """Judges data frames by one suite.

    Parameters
    ----------
    suite : Suite, path or mapping
        The suite, its JSON file or its JSON object.
    label : str, optional
        The column with the answer. Data to be served do not carry it, so its rules are left out for them.

    >>> validator = DataValidator(Suite("people").expect_column_values_to_be_between("age", 18, 100))
    >>> validator.validate_data({"age": [17, 40]})["success"]
    False
    """

    def __init__(self, suite: Suite | str | Path | Mapping[str, Any], *, label: str | None = None) -> None:
        if isinstance(suite, Suite):
            self.suite = suite
        elif isinstance(suite, Mapping):
            self.suite = Suite.from_dict(suite)
        else:
            self.suite = Suite.load(suite)
        self.label = label
        self.last_result: ValidationResult | None = None

    def validate(self, data: Any, *, result_format: str | Mapping[str, Any] = "SUMMARY") -> ValidationResult:
        """What the suite finds in `data`, which may be anything that `millrace.validation.engine.validate` takes."""
        self.last_result = validate(data, self.suite, result_format=result_format)
        return self.last_result

    def validate_data(self, data: Any) -> dict[str, Any]:
        """`validate` as a dictionary.

        Returns
        -------
        dict
            ``success`` (all rules hold), ``total_expectations``, ``failed_count`` and ``failed_expectations`` (GX
            results).
        """
        result = self.validate(data)
        return {
            "success": result.success,
            "total_expectations": len(result.results),
            "failed_count": len(result.failed),
            "failed_expectations": [failed.to_json_dict() for failed in result.failed],
        }

    def validate_training_data(self, data: Any) -> bool:
        """Whether a model may be trained on `data`: False unless the verdict is a pass; `last_result` says why."""
        return self.validate(data).verdict().is_pass

    def validate_serving_data(self, data: Any) -> bool:
        """Whether a model may answer on `data`, which need not carry the label; `last_result` says why."""
        suite = self.suite if self.label is None else self.suite.without(self.label)
        table = to_table(data)
        if self.label is not None and self.label in table.column_names:
            table = table.drop_columns([self.label])
        self.last_result = validate(table, suite)
        return self.last_result.verdict().is_pass
