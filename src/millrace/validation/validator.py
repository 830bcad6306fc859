"""A validator to hold in a notebook or a service: one suite, any data frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from millrace.core.errors import DataError
from millrace.validation.engine import validate
from millrace.validation.result import ValidationResult
from millrace.validation.scan.batches import open_batch
from millrace.validation.suite import Suite


class DataValidator:
    """Judges data frames by one suite.

    Parameters
    ----------
    suite : Suite, path, mapping or ExpectationSuite
        The suite, its JSON file, a Great Expectations project folder, its JSON object, or GX's own object.
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
        elif hasattr(suite, "to_json_dict"):
            self.suite = Suite.from_gx(suite)
        elif isinstance(suite, (str, Path)):
            self.suite = Suite.load(suite)
        else:
            raise DataError(
                "VALID-03",
                f"a {type(suite).__name__} is not a suite",
                fix="give a Suite, the path of its JSON file, its dictionary, or an ExpectationSuite",
            )
        self.label = label
        self.last_result: ValidationResult | None = None

    @classmethod
    def from_gx(cls, suite: Any, *, label: str | None = None) -> DataValidator:
        """A validator of GX's own `ExpectationSuite`. Raises DataError VALID-03 when `suite` is none."""
        return cls(Suite.from_gx(suite), label=label)

    def validate(self, data: Any, **options: Any) -> ValidationResult:
        """What the suite finds in `data`.

        Parameters
        ----------
        data
            Anything that `millrace.validation.engine.validate` takes: a pandas, polars or Arrow table, a mapping of
            columns, the path of files, a source, a backend.
        **options
            Its ``result_format``, ``at``, ``tables`` and ``parameters``.
        """
        self.last_result = validate(data, self.suite, **options)
        return self.last_result

    def validate_data(self, data: Any, **options: Any) -> dict[str, Any]:
        """`validate` as a dictionary.

        Returns
        -------
        dict
            ``success`` (there are rules, and all hold), ``total_expectations``, ``failed_count`` and
            ``failed_expectations`` (GX results).
        """
        result = self.validate(data, **options)
        return {
            "success": result.success and len(result.results) > 0,
            "total_expectations": len(result.results),
            "failed_count": len(result.failed),
            "failed_expectations": [failed.to_json_dict() for failed in result.failed],
        }

    def validate_training_data(self, data: Any, **options: Any) -> bool:
        """Whether a model may be trained on `data`: False unless the verdict is a pass; `last_result` says why."""
        return self.validate(data, **options).verdict().is_pass

    def validate_serving_data(self, data: Any, **options: Any) -> bool:
        """Whether a model may answer on `data`, which need not carry `label`; `last_result` says why."""
        backend = open_batch(data)
        self.last_result = validate(backend, self._serving_suite(backend.names), **options)
        return self.last_result.verdict().is_pass

    def _serving_suite(self, names: Sequence[str]) -> Suite:
        """The suite without the label's rules; where the label is there all the same, the table's rules allow it."""
        if self.label is None:
            return self.suite
        bare = self.suite.without(self.label)
        if self.label not in names:
            return bare
        kept = {rule.type for rule in bare.expectations}
        whole = [
            rule for rule in self.suite.expectations if rule.type.startswith("expect_table_") and rule.type in kept
        ]
        others = [rule for rule in bare.expectations if not rule.type.startswith("expect_table_")]
        return Suite(self.suite.name, [*whole, *others], self.suite.meta, self.suite.id)
