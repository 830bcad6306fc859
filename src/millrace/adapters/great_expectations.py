"""Great Expectations itself, for rules that Millrace's engine does not run: a user's own classes above all.

No data context is made or changed: the rules run on a validator over one pandas frame.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

with warnings.catch_warnings():
    # Of the versions of its own optional packages.
    warnings.simplefilter("ignore")
    from great_expectations.exceptions import ExpectationNotFoundError
    from great_expectations.execution_engine import PandasExecutionEngine
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
    from great_expectations.validator.validator import Validator

import pandas as pd

_NUMBER = "millrace_number"


def run_expectations(
    frame: pd.DataFrame,
    rules: Sequence[Mapping[str, Any]],
    *,
    result_format: Mapping[str, Any],
    parameters: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """What GX finds by each rule, in the order of the rules. Raises nothing that a rule or the data cause.

    Parameters
    ----------
    frame : pandas.DataFrame
        The rows. They are not changed.
    rules : sequence of mapping
        GX's suite entries: ``type``, ``kwargs``, ...
    result_format : mapping
        GX's settings.
    parameters : mapping, optional
        GX's ``expectation_parameters``.

    Returns
    -------
    list of dict
        ``success``, ``result`` (JSON-ready), ``problem`` (why there is no verdict, else None) and ``is_unsupported``
        (GX knows no such rule either).
    """
    answers: dict[int, dict[str, Any]] = {}
    configurations = []
    for number, rule in enumerate(rules):
        try:
            configurations.append(_configuration(number, rule))
        except ExpectationNotFoundError as error:
            answers[number] = _no_verdict(str(error), is_unsupported=True)
        except Exception as error:  # noqa: BLE001 - a user's class may refuse its arguments with anything
            answers[number] = _no_verdict(_reason(error))
    answers.update(_found(frame, configurations, result_format, parameters))
    missing = _no_verdict("Great Expectations gave no result for the rule")
    return [answers.get(number, missing) for number in range(len(rules))]


def _configuration(number: int, rule: Mapping[str, Any]) -> Any:
    facts = {name: copy.deepcopy(value) for name, value in rule.items() if name in ("type", "kwargs", "severity")}
    # GX answers in an order of its own; the number leads back.
    with warnings.catch_warnings():
        # Of forms that GX 2 will not read.
        warnings.simplefilter("ignore")
        made = ExpectationConfiguration(**facts, meta={_NUMBER: number})
        return made.to_domain_obj().configuration


def _found(
    frame: pd.DataFrame,
    configurations: Sequence[Any],
    result_format: Mapping[str, Any],
    parameters: Mapping[str, Any] | None,
) -> Iterable[tuple[int, dict[str, Any]]]:
    if not configurations:
        return []
    logger = logging.getLogger("great_expectations")
    before = logger.level
    # What a rule raises is in its result; GX logs it, too, with the trace.
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            validator = Validator(execution_engine=PandasExecutionEngine(batch_data_dict={"rows": frame}))
            validator.metrics_calculator.show_progress_bars = False
            prepared = validator.process_expectations_for_validation(list(configurations), dict(parameters or {}))
            results = validator.graph_validate(
                configurations=prepared, runtime_configuration={"result_format": dict(result_format)}
            )
            return [(result.expectation_config.meta[_NUMBER], _answer(result)) for result in results]
    except Exception as error:  # noqa: BLE001 - whatever a user's class raises is about its rule
        if len(configurations) == 1:
            return [(configurations[0].meta[_NUMBER], _no_verdict(_reason(error)))]
        # One rule spoils the lot: find it, and let the others have their answer.
        return [answer for each in configurations for answer in _found(frame, [each], result_format, parameters)]
    finally:
        logger.setLevel(before)


def _answer(result: Any) -> dict[str, Any]:
    problem = _problem(result.exception_info or {})
    if problem is not None:
        return _no_verdict(problem)
    return {
        "success": bool(result.success),
        "result": result.to_json_dict().get("result") or {},
        "problem": None,
        "is_unsupported": False,
    }


def _problem(info: Mapping[str, Any]) -> str | None:
    """What a rule raised. GX writes one account of it, or one for each figure that it wanted."""
    accounts = [info] if "raised_exception" in info else list(info.values())
    raised = [each.get("exception_message") or "it raised an error" for each in accounts if each["raised_exception"]]
    return str(raised[0]) if raised else None


def _no_verdict(problem: str, *, is_unsupported: bool = False) -> dict[str, Any]:
    return {"success": False, "result": {}, "problem": problem, "is_unsupported": is_unsupported}


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
