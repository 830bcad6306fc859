"""Great Expectations itself, asked for the same verdicts on the same pandas frame."""

import copy
import logging
import math
import warnings
from datetime import UTC, datetime
from functools import cache

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import great_expectations as gx
    from great_expectations.core.expectation_suite import ExpectationSuite

import millrace as mr
from millrace.validation.engine import validate

REFUSED = "refused"
COUNTS = ("element_count", "unexpected_count", "missing_count")
# GX takes the quantiles of one such rule for those of the next on the column: each is asked alone.
ALONE = {"expect_column_quantile_values_to_be_between"}
PERCENTS = ("unexpected_percent", "missing_percent", "unexpected_percent_total", "unexpected_percent_nonmissing")


@cache
def _batches():
    for name in ("great_expectations", "py.warnings"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    return (
        context.data_sources.add_pandas("pandas")
        .add_dataframe_asset("frame")
        .add_batch_definition_whole_dataframe("whole")
    )


def gx_suite(rules):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ExpectationSuite(name="suite", expectations=copy.deepcopy(list(rules)))


def _numbered(rules, numbers):
    """The rules, each with its number: GX's results come in an order of their own."""
    return [{**rules[number], "meta": {"number": number}} for number in numbers]


def gx_validate(frame, rules, result_format="SUMMARY", parameters=None):
    """GX's whole result as JSON."""
    batch = _batches().get_batch({"dataframe": frame.copy()})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = batch.validate(
            gx_suite(rules), result_format=copy.deepcopy(result_format), expectation_parameters=parameters
        )
        return found.to_json_dict()


def gx_results(frame, rules, result_format="SUMMARY", parameters=None):
    """GX's result of each rule; REFUSED and the reason where it does not even take the rule."""
    accepted, answers = [], {}
    for number, rule in enumerate(rules):
        try:
            gx_suite([rule])
        except Exception as error:
            answers[number] = {"success": False, REFUSED: str(error)}
        else:
            accepted.append(number)
    try:
        if ALONE & {rule["type"] for rule in rules}:
            raise LookupError("one by one")
        found = gx_validate(frame, _numbered(rules, accepted), result_format, parameters)["results"]
        answers.update({result["expectation_config"]["meta"]["number"]: result for result in found})
    except Exception:
        for number in accepted:
            try:
                answers[number] = gx_validate(frame, [rules[number]], result_format, parameters)["results"][0]
            except Exception as error:
                answers[number] = {"success": False, REFUSED: str(error)}
    return [answers[number] for number in range(len(rules))]


def our_results(frame, rules, result_format="SUMMARY", **more):
    suite = mr.Suite.from_dict({"name": "suite", "expectations": copy.deepcopy(list(rules)), "meta": {}})
    return validate(frame, suite, result_format=result_format, **more).to_json_dict()["results"]


def problem_of(result):
    """Why a result has no verdict of its own, None when it has one; both forms of GX's exception_info."""
    if REFUSED in result:
        return result[REFUSED]
    info = result.get("exception_info") or {}
    if "raised_exception" in info:
        return info["exception_message"] or "raised" if info["raised_exception"] else None
    raised = [each["exception_message"] or "raised" for each in info.values() if each["raised_exception"]]
    return raised[0] if raised else None


def _plain(value):
    if isinstance(value, (float, str)) and str(value) in ("inf", "-inf", "Infinity", "-Infinity"):
        return None
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) and len(value) > len("2024-01-31") else value
    except ValueError:
        return value
    return moment.replace(tzinfo=moment.tzinfo or UTC) if isinstance(moment, datetime) else value


def is_close(left, right):
    """Equal as JSON values; floats to the last digits.

    GX's JSON has Infinity or null where ours has the text, and times without their zone.
    """
    left, right = _plain(left), _plain(right)
    if isinstance(left, bool) or isinstance(right, bool):
        return left == right and isinstance(left, (bool, int, float)) == isinstance(right, (bool, int, float))
    if isinstance(left, (int, float)) and isinstance(right, (int, float)):
        return (
            left == right or math.isclose(left, right, rel_tol=1e-9, abs_tol=1e-12) or (left != left and right != right)
        )
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(is_close, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(is_close(left[key], right[key]) for key in left)
    return left == right


def differences(theirs, ours):
    """What differs between two results of one rule, in words; empty when nothing does."""
    if problem_of(theirs) is not None:
        if ours["success"]:
            return [f"GX has no verdict ({problem_of(theirs)}), ours is a pass"]
        return [] if problem_of(ours) is not None else [f"GX has no verdict ({problem_of(theirs)}), ours has: {ours}"]
    if problem_of(ours) is not None:
        return [f"ours has no verdict ({problem_of(ours)}), GX says {theirs['success']} {theirs['result']}"]
    found = []
    if bool(theirs["success"]) != ours["success"]:
        found.append(f"success: GX {theirs['success']}, ours {ours['success']}")
    for name in (*COUNTS, *PERCENTS, "observed_value"):
        if name in theirs["result"] and not is_close(theirs["result"][name], ours["result"].get(name)):
            found.append(f"{name}: GX {theirs['result'][name]!r}, ours {ours['result'].get(name)!r}")
    return found and [*found, f"GX {theirs['result']}", f"ours {ours['result']}"]


def disagreements(frame, rules, **more):
    """Every rule on which the two differ: the rule, both results, and what differs in words."""
    pairs = zip(rules, gx_results(frame, rules, **more), our_results(frame, rules, **more), strict=True)
    return [(rule, theirs, ours, found) for rule, theirs, ours in pairs if (found := differences(theirs, ours))]


def shown(frame):
    """A frame as text that names every dtype and value."""
    return (
        {name: (str(frame[name].dtype), frame[name].tolist()) for name in frame.columns}
        if not frame.columns.has_duplicates
        else repr(frame)
    )
