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
from millrace.validation.describe import demand
from millrace.validation.engine import compile_rule, filled_rule, judge
from millrace.validation.expression import ROWS, column, count_if
from millrace.validation.parameters import parameter_names
from millrace.validation.result import ExpectationResult
from millrace.validation.result_format import ResultFormat
from millrace.validation.rows.backend import RowBackend
from millrace.validation.rows.code import FAULTS, RowCode, RowColumn
from millrace.validation.rows.coercion import ACCEPTED, NOT_COERCED, Target, coerce, targets
from millrace.validation.rows.result import Action, NotJudged, RowFinding, RowResult, RowRule
from millrace.validation.rows.types import PLAIN, TYPE_RULES, Form, declared_types, form_of, plain_row
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
_FORM = ResultFormat.of("BASIC")
_MOST_ROUTES = 4096
_LONGEST = 60  # characters of a value in a message

_Judge = Callable[[Mapping[str, Any]], "tuple[int, ...] | None"]


@dataclass(frozen=True, slots=True)
class _Plan:
    """The rules for rows of certain columns and types.

    `judge` is their code, `by_value` the rules it judges by what the values are. `is_general` when the code itself
    knows the rows it holds for: where a value is not of the type that is asked for, another of its kind may be.
    """

    judge: _Judge
    by_value: frozenset[int]
    is_general: bool


@dataclass(frozen=True, slots=True)
class _Route:
    """What is done with rows whose columns and Python types are these."""

    plan: _Plan
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
        self.parameters = {**suite.parameters, **(parameters or {})}
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
        self._columns = [columns_of(expectation) for expectation in self._expectations]
        is_conditional = any(expectation.kwargs.get("row_condition") for expectation in self._expectations)
        self._targets = targets(self._expectations, self.types) if policy == "coerce" else {}
        # Columns whose types the rules depend on; None where that may be any.
        self._read = None if is_conditional else {*self._targets, *(name for names in self._columns for name in names)}
        self._has_logged = any(rule.action == "log" for rule in self.rules)
        self._places = {rule.number: place for place, rule in enumerate(self.rules)}
        # By names, the code that fitted the last row of them; by names and Python types; by names and Arrow types.
        self._last: dict[tuple[Any, ...], _Judge] = {}
        self._routes: dict[tuple[Any, ...], _Route] = {}
        self._plans: dict[tuple[Any, ...], _Plan] = {}

    def check(self, row: Mapping[str, Any]) -> RowResult:
        """What the rules find in a row, a mapping from column to value. Never raises on what the row holds."""
        judge = self._last.get(tuple(row))
        broken = None if judge is None else self._run(judge, row)
        if broken is None:
            return self._check_closely(row)
        return self._result(row, broken) if broken else RowResult(row)

    def check_rows(self, rows: Iterable[Mapping[str, Any]]) -> list[RowResult]:
        """`check` of each row of a micro-batch."""
        check = self.check
        return [check(row) for row in rows]

    def is_clean(self, row: Mapping[str, Any]) -> bool:
        """Whether a row, as it is, breaks no rule: the shortest way to know."""
        judge = self._last.get(tuple(row))
        broken = None if judge is None else self._run(judge, row)
        return self._check_closely(row).is_clean if broken is None else not broken

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
        plan = route.plan
        broken = None if coerced or not plan.is_general else self._run(plan.judge, row)
        if broken is None:  # a number out of its range, a time with a zone: the same Python type, and another of Arrow
            plan = self._plan_of(row)
            broken = self._run(plan.judge, row)
        if plan.is_general and not route.coercions and row is given:
            self._last[tuple(row)] = plan.judge
        if broken is None:
            broken = self._judge_slowly(row)
        return self._result(row, broken, coerced, uncoerced)

    def _result(
        self,
        row: Mapping[str, Any],
        broken: Sequence[int],
        coerced: Mapping[str, Any] | None = None,
        uncoerced: Mapping[str, Target] | None = None,
    ) -> RowResult:
        rules = [self.rules[place] for place in broken]
        if self._has_logged and any(rule.action == "log" for rule in rules):
            self._log(row, [rule for rule in rules if rule.action == "log"])
        return RowResult(row, rules, coerced or {}, uncoerced or {}, self._explain)

    def _route(self, given: Mapping[str, Any]) -> tuple[Mapping[str, Any], _Route]:
        """The row in plain values, and its route."""
        kinds = tuple(map(type, given.values()))
        row = given if PLAIN.issuperset(kinds) and all(type(name) is str for name in given) else plain_row(given)
        key = (tuple(row), tuple(map(type, row.values())))
        route = self._routes.get(key)
        if route is None:
            wrong = [(name, to) for name, to in self._targets.items() if name in row]
            wrong = [(name, to) for name, to in wrong if type(row[name]) not in ACCEPTED[to]]
            if len(self._routes) >= _MOST_ROUTES:  # rows of ever new columns: somebody plays with us
                self._routes.clear()
                self._last.clear()
            route = self._routes[key] = _Route(self._plan_of(row), wrong)
        return row, route

    def _plan_of(self, row: Mapping[str, Any]) -> _Plan:
        forms = {name: form_of(value, self.types.get(name)) for name, value in row.items()}
        key = tuple((name, form.arrow, form.python, form.is_declared) for name, form in forms.items())
        plan = self._plans.get(key)
        if plan is None:
            if len(self._plans) >= _MOST_ROUTES:
                self._plans.clear()
            plan = self._plans[key] = self._compile(forms, row)
        return plan

    def _run(self, judge: _Judge, row: Mapping[str, Any]) -> tuple[int, ...] | None:
        try:
            return judge(row)
        except FAULTS:
            return self._judge_slowly(row)

    def _judge_slowly(self, row: Mapping[str, Any]) -> tuple[int, ...]:
        """The broken rules by the engine, which keeps one rule's fault from the others."""
        results = self._ask(self._expectations, row)
        return tuple(place for place, result in enumerate(results) if not result.success)

    def _compile(self, forms: Mapping[str, Form], row: Mapping[str, Any]) -> _Plan:
        columns = {name: form.column() for name, form in forms.items()}
        batch = Batch(RowBackend({name: form.arrow for name, form in forms.items()}, columns, row))
        code = RowCode(columns)
        for name in columns:
            if self._read is None or name in self._read:
                code.value(column(name))  # whatever a rule makes of its type: the code holds for this one only
        tests: list[tuple[int, str]] = []
        by_value = []
        for place, expectation in enumerate(self._expectations):
            test, is_share = self._test(code, batch, expectation)
            if test is None:
                test = str(not self._ask([expectation], row)[0].success)
            if is_share:
                by_value.append(place)
            if test != "False":
                tests.append((place, test))
        code.line("broken = ()")
        for place, test in tests:
            code.line(f"if {test}: broken += ({place},)")
        is_general = all(form.is_declared for name, form in forms.items() if name in self.types)
        return _Plan(code.build("broken"), frozenset(by_value), is_general)

    def _test(self, code: RowCode, batch: Batch, expectation: Expectation) -> tuple[str | None, bool]:
        """Code of whether a row breaks a rule, and whether that is a matter of its values and nothing else.

        The code is None where the types of the values decide.
        """
        if parameter_names(expectation.kwargs):  # a parameter may be the time of asking
            return self._slow_test(code, expectation), False
        check = compile_rule(batch, expectation)
        if not isinstance(check, Check) or not check.figures:
            return None, False
        if not isinstance(check.rows, Rows) or not _is_share(check, check.rows):
            return self._slow_test(code, expectation), False
        if expectation.kwargs.get("mostly") == 0:
            return "False", True
        condition = "" if check.where is None else f"{code.is_true(check.where)} and "
        return f"{condition}{code.is_true(check.rows.unexpected)}", True

    def _slow_test(self, code: RowCode, expectation: Expectation) -> str:
        """Code that asks the engine, for a rule that is more than a share of rows."""
        judge = code.bind(lambda row: not self._ask([expectation], row)[0].success)
        return f"{judge}(row)"

    def _ask(self, rules: Sequence[Expectation], row: Mapping[str, Any]) -> list[ExpectationResult]:
        """What the engine finds in the row as a batch."""
        filled = [filled_rule(rule, self.parameters) for rule in rules]
        return judge(Batch(self._backend(row)), filled, _FORM, self.parameters)[1]

    def _backend(self, row: Mapping[str, Any]) -> RowBackend:
        forms = {name: form_of(value, self.types.get(name)) for name, value in row.items()}
        columns: dict[str, RowColumn] = {name: form.column() for name, form in forms.items()}
        return RowBackend({name: form.arrow for name, form in forms.items()}, columns, row)

    def _explain(self, row: Mapping[str, Any], broken: Sequence[RowRule]) -> list[RowFinding]:
        places = [self._places[rule.number] for rule in broken]
        by_value = self._plan_of(row).by_value
        texts = {place: _seen(row, self._columns[place]) for place in places if place in by_value}
        others = [place for place in places if place not in texts]
        if others:
            results = self._ask([self._expectations[place] for place in others], row)
            texts |= {place: result.observed for place, result in zip(others, results, strict=True)}
        return [RowFinding(rule, texts[place]) for rule, place in zip(broken, places, strict=True)]

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


def columns_of(expectation: Expectation) -> list[str]:
    """The columns that a rule is about, those of its condition left out."""
    kwargs = expectation.kwargs
    named: list[Any] = [kwargs.get(key) for key in ("column", "column_A", "column_B")]
    if not expectation.type.startswith("expect_table_"):
        named += list(kwargs.get("column_list") or ())
    return [name for name in named if isinstance(name, str)]


def _seen(row: Mapping[str, Any], names: Sequence[str]) -> str:
    """What the values of a rule's columns are, in a few words."""
    if len(names) == 1:
        return f"it is {_shown(row[names[0]])}"
    return ", ".join(f"{name} is {_shown(row[name])}" for name in names)


def _shown(value: Any) -> str:
    text = "missing" if value is None or (isinstance(value, float) and value != value) else repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
