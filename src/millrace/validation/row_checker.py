"""A suite compiled to one function of a row: for requests and for streams, where a batch is one row."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from millrace.core.errors import DataError, did_you_mean
from millrace.validation.batch import Batch
from millrace.validation.check import Check, Rows
from millrace.validation.coercion import ACCEPTED, NOT_COERCED, Target, coerce, targets
from millrace.validation.describe import demand
from millrace.validation.engine import compile_rule, validate
from millrace.validation.expression import ROWS, column, count_if
from millrace.validation.parameters import parameter_names
from millrace.validation.result import ExpectationResult, ValidationResult
from millrace.validation.row_backend import RowBackend
from millrace.validation.row_code import RowCode, RowColumn
from millrace.validation.row_result import Action, NotJudged, RowFinding, RowResult, RowRule
from millrace.validation.row_types import PLAIN, TYPE_RULES, Form, declared_types, form_of, plain_row
from millrace.validation.suite import Expectation, Suite

logger = logging.getLogger("millrace.validation")

Policy = Literal["reject", "coerce", "flag"]

POLICIES: tuple[Policy, ...] = ("reject", "coerce", "flag")

ROW_RULES = TYPE_RULES | {
    "expect_table_columns_to_match_ordered_list",
    "expect_table_columns_to_match_set",
    "expect_table_column_count_to_equal",
    "expect_table_column_count_to_be_between",
    "expect_column_to_exist",
    "expect_column_values_to_be_between",
    "expect_column_values_to_be_in_set",
    "expect_column_values_to_not_be_in_set",
    "expect_column_values_to_be_null",
    "expect_column_values_to_not_be_null",
    "expect_column_values_to_match_regex",
    "expect_column_values_to_not_match_regex",
    "expect_column_values_to_match_regex_list",
    "expect_column_values_to_not_match_regex_list",
    "expect_column_values_to_match_like_pattern",
    "expect_column_values_to_not_match_like_pattern",
    "expect_column_values_to_match_like_pattern_list",
    "expect_column_values_to_not_match_like_pattern_list",
    "expect_column_values_to_match_strftime_format",
    "expect_column_values_to_be_dateutil_parseable",
    "expect_column_values_to_be_json_parseable",
    "expect_column_values_to_match_json_schema",
    "expect_column_value_lengths_to_be_between",
    "expect_column_value_lengths_to_equal",
    "expect_column_pair_values_to_be_equal",
    "expect_column_pair_values_a_to_be_greater_than_b",
    "expect_column_pair_values_to_be_in_set",
    "expect_multicolumn_sum_to_equal",
    "expect_multicolumn_values_to_be_equal",
    "expect_select_column_values_to_be_unique_within_record",
}
"""Rules that a row keeps or breaks by itself. All others are about a batch."""

_BATCH_RULE = "it is about a whole batch: one row says nothing of it"
_MOST_ROUTES = 4096
_LONGEST = 60  # characters of a value in a message

_Judge = Callable[[Mapping[str, Any]], "tuple[int, ...] | None"]


@dataclass(frozen=True, slots=True)
class _Route:
    """What is done with rows whose columns and Python types are these."""

    judge: _Judge
    coercions: Sequence[tuple[str, Target]] = ()


class RowChecker:
    """Judges rows one by one, by the rules of a suite that a row keeps or breaks by itself.

    The verdict on a rule is the one that `validate` gives on a batch of that row alone whose columns have the types
    of `types`. Rules about a whole batch (means, uniqueness, numbers of rows) are listed in `not_judged`.

    Parameters
    ----------
    suite : Suite
    policy : {"reject", "coerce", "flag"}
        Of "reject" and "coerce" a row is rejected that breaks a critical rule, and flagged when it breaks a rule of
        severity "warning" or one that a share of the rows may break (`mostly` under 1); "info" is logged. "coerce"
        first reads values that were sent in another form ("25" for 25), and rejects those that have no equal. "flag"
        rejects nothing.
    types : mapping of str to pyarrow.DataType, optional
        Types of columns: a value that fits without loss has it, and a missing value too. Where none is given it is
        the one that the suite's own type rules ask for, else that of the value.
    parameters : mapping, optional
        Values of the suite's parameters. Rules that name any are worked out anew for every row, which costs a hundred
        times as much as the others.

    Attributes
    ----------
    rules : list of RowRule
        The rules judged.
    not_judged : list of NotJudged

    Raises
    ------
    DataError
        VALID-43 for a policy that does not exist.

    >>> checker = RowChecker(Suite("people").expect_column_values_to_be_between("age", 18, 100))
    >>> checker.check({"age": 17}).is_rejected
    True
    """

    def __init__(
        self,
        suite: Suite,
        *,
        policy: Policy = "reject",
        types: Mapping[str, pa.DataType] | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> None:
        if policy not in POLICIES:
            raise DataError("VALID-43", f"there is no policy {policy!r}", fix=did_you_mean(str(policy), POLICIES))
        self.suite = suite
        self.policy = policy
        self.parameters = dict(parameters or {})
        self.types = {**declared_types(suite.expectations), **(types or {})}
        self.rules: list[RowRule] = []
        self.not_judged: list[NotJudged] = []
        self._expectations: list[Expectation] = []
        for number, expectation in enumerate(suite.expectations, 1):
            text = demand(expectation.type, expectation.kwargs)
            if expectation.type not in ROW_RULES:
                self.not_judged.append(NotJudged(number, text, _BATCH_RULE))
                continue
            self._expectations.append(expectation)
            action = _action(expectation, policy)
            self.rules.append(RowRule(number, text, expectation.type, expectation.column, expectation.severity, action))
        self._targets = targets(self._expectations, self.types) if policy == "coerce" else {}
        self._routes: dict[tuple[Any, ...], _Route | None] = {}
        self._judges: dict[tuple[Any, ...], _Judge] = {}

    def check(self, row: Mapping[str, Any]) -> RowResult:
        """What the rules find in a row, a mapping from column to value. Never raises on what the row holds."""
        route = self._routes.get((tuple(row), tuple(map(type, row.values()))))
        if route is not None and not route.coercions:
            broken = route.judge(row)
            if broken == ():
                return RowResult(row)
        return self._check_closely(row)

    def check_rows(self, rows: Iterable[Mapping[str, Any]]) -> list[RowResult]:
        """`check` of each row of a micro-batch."""
        check = self.check
        return [check(row) for row in rows]

    def is_clean(self, row: Mapping[str, Any]) -> bool:
        """Whether a row, as it is, breaks no rule: the shortest way to know."""
        route = self._routes.get((tuple(row), tuple(map(type, row.values()))))
        if route is not None and not route.coercions:
            broken = route.judge(row)
            if broken is not None:
                return not broken
        return self._check_closely(row).is_clean

    def _check_closely(self, given: Mapping[str, Any]) -> RowResult:
        row, route = self._route(given)
        coerced: dict[str, Any] = {}
        uncoerced: dict[str, Target] = {}
        if route.coercions:
            row = dict(row)
            for name, target in route.coercions:
                value = coerce(row[name], target)
                if value is NOT_COERCED:
                    uncoerced[name] = target
                else:
                    coerced[name], row[name] = row[name], value
        broken = None if coerced else self._run(route.judge, row)
        if broken is None:
            broken = self._judge_exactly(row)
        rules = [self.rules[place] for place in broken]
        if any(rule.action == "log" for rule in rules):
            self._log(row, [rule for rule in rules if rule.action == "log"])
        return RowResult(row, rules, coerced, uncoerced, self._explain)

    def _route(self, given: Mapping[str, Any]) -> tuple[Mapping[str, Any], _Route]:
        """The row in plain values, and its route."""
        kinds = tuple(map(type, given.values()))
        row = given if PLAIN.issuperset(kinds) and all(type(name) is str for name in given) else plain_row(given)
        key = (tuple(row), tuple(map(type, row.values())))
        route = self._routes.get(key)
        if route is None:
            wrong = [(name, to) for name, to in self._targets.items() if name in row]
            wrong = [(name, to) for name, to in wrong if type(row[name]) not in ACCEPTED[to]]
            route = _Route(self._judge_of(row), wrong)
            if len(self._routes) >= _MOST_ROUTES:
                self._routes.clear()  # rows of ever new columns: somebody plays with us
            self._routes[key] = route
        return row, route

    def _judge_exactly(self, row: Mapping[str, Any]) -> tuple[int, ...]:
        """The broken rules of a row that its route does not fit: a number out of range, a time with a zone."""
        broken = self._run(self._judge_of(row), row)
        return broken if broken is not None else self._judge_slowly(row)

    def _judge_of(self, row: Mapping[str, Any]) -> _Judge:
        forms = {name: form_of(value, self.types.get(name)) for name, value in row.items()}
        key = tuple((name, form.arrow, form.python, form.is_declared) for name, form in forms.items())
        judge = self._judges.get(key)
        if judge is None:
            if len(self._judges) >= _MOST_ROUTES:
                self._judges.clear()
            judge = self._judges[key] = self._compile(forms, row)
        return judge

    def _run(self, judge: _Judge, row: Mapping[str, Any]) -> tuple[int, ...] | None:
        try:
            return judge(row)
        except (TypeError, ValueError, ArithmeticError):
            return self._judge_slowly(row)

    def _judge_slowly(self, row: Mapping[str, Any]) -> tuple[int, ...]:
        """The broken rules by the engine, which keeps one rule's fault from the others."""
        results = self._ask(self._expectations, row).results
        return tuple(place for place, result in enumerate(results) if not result.success)

    def _compile(self, forms: Mapping[str, Form], row: Mapping[str, Any]) -> _Judge:
        columns = {name: form.column() for name, form in forms.items()}
        types = {name: form.arrow for name, form in forms.items()}
        batch = Batch(RowBackend(types, columns, row))
        code = RowCode(columns)
        tests = []
        for place, expectation in enumerate(self._expectations):
            test = self._test(code, batch, expectation)
            if test is None:
                # It depends on the types alone; the code then only holds for values of those.
                test = str(not self._ask([expectation], row).results[0].success)
                if expectation.column in columns:
                    code.value(column(expectation.column))
            if test != "False":
                tests.append((place, test))
        code.line("broken = ()")
        for place, test in tests:
            code.line(f"if {test}: broken += ({place},)")
        return code.build("broken")

    def _test(self, code: RowCode, batch: Batch, expectation: Expectation) -> str | None:
        """Code of whether a row breaks a rule; None where its values do not matter."""
        if parameter_names(expectation.kwargs):  # a parameter may be the time of asking
            return self._slow_test(code, expectation)
        check = compile_rule(batch, expectation)
        if not isinstance(check, Check) or not check.figures:
            return None
        if not isinstance(check.rows, Rows) or not _is_share(check, check.rows):
            return self._slow_test(code, expectation)
        if expectation.kwargs.get("mostly") == 0:
            return "False"
        condition = "" if check.where is None else f"{code.is_true(check.where)} and "
        return f"{condition}{code.is_true(check.rows.unexpected)}"

    def _slow_test(self, code: RowCode, expectation: Expectation) -> str:
        """Code that asks the engine, for a rule that is more than a share of rows."""
        judge = code.bind(lambda row: not self._ask([expectation], row).results[0].success)
        return f"{judge}(row)"

    def _ask(self, rules: Sequence[Expectation], row: Mapping[str, Any]) -> ValidationResult:
        """What the engine finds in the row as a batch."""
        suite = Suite(self.suite.name, list(rules))
        return validate(self._backend(row), suite, result_format="BASIC", parameters=self.parameters)

    def _backend(self, row: Mapping[str, Any]) -> RowBackend:
        forms = {name: form_of(value, self.types.get(name)) for name, value in row.items()}
        columns: dict[str, RowColumn] = {name: form.column() for name, form in forms.items()}
        return RowBackend({name: form.arrow for name, form in forms.items()}, columns, row)

    def _explain(self, row: Mapping[str, Any], broken: Sequence[RowRule]) -> list[RowFinding]:
        rules = [self._expectations[self.rules.index(rule)] for rule in broken]
        results = self._ask(rules, row).results
        return [RowFinding(rule, _observed(result)) for rule, result in zip(broken, results, strict=True)]

    def _log(self, row: Mapping[str, Any], rules: Sequence[RowRule]) -> None:
        for finding in self._explain(row, rules):
            logger.info("a row breaks a rule of '%s': %s (%s)", self.suite.name, finding.rule.text, finding.observed)


def _action(expectation: Expectation, policy: Policy) -> Action:
    if expectation.severity == "info":
        return "log"
    is_share = expectation.kwargs.get("mostly") not in (None, 1)
    return "reject" if expectation.severity == "critical" and policy != "flag" and not is_share else "flag"


def _is_share(check: Check, rows: Rows) -> bool:
    """Whether a check asks no more than how many rows there are, are left out, and are unexpected."""
    others = [figure for figure in check.figures if figure not in (ROWS, count_if(rows.unexpected))]
    return check.recount is None and len(others) <= 1 and all(figure.op == "count_if" for figure in others)


def _observed(result: ExpectationResult) -> str:
    """What was seen in the one row, in a few words."""
    found = result.result.get("partial_unexpected_list")
    if result.problem is not None or not found:
        return result.observed
    value = found[0]
    if isinstance(value, Mapping):
        return ", ".join(f"{name} is {_shown(each)}" for name, each in value.items())
    return f"it is {_shown(value)}"


def _shown(value: Any) -> str:
    text = "missing" if value is None else repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
