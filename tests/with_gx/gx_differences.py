"""Where Millrace differs from Great Expectations on purpose: few, named, each with its reason.

Each one is shown by a test of its own (test_differences.py), so that it is noticed when GX changes. The same names
and reasons stand in docs/great-expectations.md.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gx_oracle import problem_of

TEXTS = {"text", "object_text", "category", "mixed"}
TIMES = {"time", "zoned", "berlin", "date"}
HUGE = {"extreme", "unsigned", "nullable"}
OBJECTS = {"mixed", "date", "decimal", "bytes", "none", "object_text"}
BOUNDS = ("min_value", "max_value")
TYPE_RULES = {
    "expect_column_values_to_be_of_type",
    "expect_column_values_to_be_in_type_list",
    "expect_column_type_to_be",
}


@dataclass(frozen=True)
class Meeting:
    """One rule on one frame, and what both made of it."""

    rule: dict[str, Any]
    kinds: dict[str, str]
    theirs: dict[str, Any]
    ours: dict[str, Any]

    @property
    def type(self):
        return self.rule["type"]

    @property
    def kwargs(self):
        return self.rule["kwargs"]

    @property
    def found(self):
        """Kinds of the columns that the rule is about."""
        names = [self.kwargs.get(name) for name in ("column", "column_A", "column_B")]
        return {self.kinds[name] for name in (*names, *self.kwargs.get("column_list", ())) if name in self.kinds}

    @property
    def their_problem(self):
        return problem_of(self.theirs) or ""

    @property
    def our_problem(self):
        return problem_of(self.ours) or ""

    @property
    def has_text_bound(self):
        return any(isinstance(self.kwargs.get(name), str) for name in BOUNDS)


def _is_bounded_text(met):
    return bool(met.their_problem) and met.has_text_bound and bool(met.found & TEXTS)


def _is_bounded_time(met):
    return bool(met.their_problem) and met.has_text_bound and bool(met.found & TIMES)


def _is_wrapped(met):
    wrapping = (
        "_sum_to",
        "quantile",
        "increasing",
        "decreasing",
        "multicolumn_sum",
        "mean",
        "median",
        "stdev",
        "z_scores",
        "outliers",
        "pair_values_to_be_in_set",  # beside floats they become floats
    )
    bounds = [met.kwargs.get(name) for name in BOUNDS]
    if met.type == "expect_column_values_to_be_between" and bool(met.found & HUGE):
        return any(isinstance(bound, int) and abs(bound) > 2**53 for bound in bounds)
    is_narrow = "small" in met.found and "quantile" in met.type  # NumPy subtracts neighbours in their 8 bits
    return is_narrow or (bool(met.found & HUGE) and any(part in met.type for part in wrapping))


def _is_type_of_file(met):
    # Never a failure of ours where GX passes by the column's type: those would be bugs.
    is_stricter = met.theirs["success"] and not met.ours["success"] and not met.found & OBJECTS
    return met.type in TYPE_RULES and not is_stricter


def _is_missing_of_two_kinds(met):
    return met.type == "expect_select_column_values_to_be_unique_within_record" and not met.their_problem


def _is_pair_of_times(met):
    return met.type == "expect_column_pair_values_to_be_in_set" and bool(met.found & TIMES)


def _is_sum_of_nothing(met):
    return met.type == "expect_column_sum_to_be_between" and met.ours["result"].get("observed_value", 0) is None


def _is_set_of_bytes(met):
    return bool(met.found & {"bytes", "span"}) and "a set cannot hold" in met.our_problem


def _is_set_of_dates(met):
    return "date" in met.found and "value_set" in met.kwargs and not met.their_problem


def _is_single(met):
    """GX adds single precision numbers in single precision, in an order of pandas' own."""
    is_same = met.theirs["success"] == met.ours["success"] and not met.their_problem and not met.our_problem
    return "single" in met.found and is_same


def _is_span(met):
    return "span" in met.found and "Timedelta which cannot be serialized" in met.their_problem


def _is_odd_set_for_times(met):
    """Texts are read as times by GX for one of these rules alone, and then each must be one."""
    members = met.kwargs.get("value_set", ())
    is_odd = not all(isinstance(member, str) and len(member) > 9 for member in members)
    is_read = met.type == "expect_column_values_to_not_be_in_set"
    return bool(met.found & TIMES) and "value_set" in met.kwargs and (is_odd or not is_read)


def _is_text_in_condition(met):
    """GX's own parser takes no empty text and none beyond ASCII, and takes blanks away from both ends of others."""
    condition = met.kwargs.get("row_condition", "")
    texts = condition.split('"')[3::2] if isinstance(condition, str) else []
    return met.kwargs.get("condition_parser") == "great_expectations" and any(
        text != text.strip() or not text or not text.isascii() for text in texts[:1]
    )


def _is_quantile_of_infinities(met):
    return "real_or_infinite" in met.found and any(part in met.type for part in ("outliers", "quantile"))


def _is_order_of_infinities(met):
    """An infinity less itself is NaN, which GX takes for neither an increase nor the lack of one."""
    return "real_or_infinite" in met.found and "creasing" in met.type


def _is_of_two_types(met):
    parts = ("regex", "pair_", "lengths", "multicolumn", "select_column")
    return "mixed" in met.found and any(part in met.type for part in parts)


def _is_category(met):
    return "category" in met.found and "ategorical" in met.their_problem


def _is_typed_nothing(met):
    """All values are missing: GX asks nothing of the column, ours asks whether its type fits the rule."""
    result = met.theirs.get("result") or {}
    is_empty = result.get("element_count", 1) == result.get("missing_count", 0) or "details" in result
    return bool(met.our_problem) and is_empty


DIFFERENCES: dict[str, Callable[[Meeting], bool]] = {
    "bounds of text": _is_bounded_text,
    "bounds of dates and times": _is_bounded_time,
    "exact whole numbers": _is_wrapped,
    "pandas' NA": lambda met: "NA is ambiguous" in met.their_problem or "<NA>" in met.their_problem,
    "decimals": lambda met: "decimal" in met.found and bool(met.their_problem),
    "pairs of times": _is_pair_of_times,
    "a sum of nothing": _is_sum_of_nothing,
    "categories": _is_category,
    "sets of bytes and spans": _is_set_of_bytes,
    "sets of dates": _is_set_of_dates,
    "single precision": _is_single,
    "spans": _is_span,
    "sets for times": _is_odd_set_for_times,
    "columns of two types": _is_of_two_types,
    "truths in order": lambda met: bool(met.found & {"truth"}) and "creasing" in met.type,
    "infinite quartiles": _is_quantile_of_infinities,
    "infinite neighbours": _is_order_of_infinities,
    "quantiles of truths": lambda met: "truth" in met.found and "numpy boolean subtract" in met.their_problem,
    "a sum needs numbers": lambda met: "a sum needs numbers" in met.our_problem,
    "columns without a value": _is_typed_nothing,
    "texts in conditions": _is_text_in_condition,
    "column_index 0": lambda met: met.type == "expect_column_to_exist" and met.kwargs.get("column_index") == 0,
    "types of the file": _is_type_of_file,
    "missing of two kinds": _is_missing_of_two_kinds,
}


def difference(met: Meeting) -> str | None:
    """The name of the deliberate difference that explains a meeting, None where there is none."""
    return next((name for name, explains in DIFFERENCES.items() if explains(met)), None)
