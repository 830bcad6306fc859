"""A whole suite in one pass over the batch, and a second look only at the rows that break a rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from millrace.core.clock import SystemClock, from_text, to_text
from millrace.core.errors import DataError
from millrace.validation.backend import Backend, CannotCheck
from millrace.validation.batch import Batch
from millrace.validation.check import Check, Finding, Values
from millrace.validation.examples import add_examples
from millrace.validation.expression import ROWS, TRUE, Expr
from millrace.validation.json_form import json_ready
from millrace.validation.parameters import NoValue, fill, is_parameter, parameter_names
from millrace.validation.result import ExpectationResult, ValidationResult
from millrace.validation.result_format import ResultFormat
from millrace.validation.rules.aggregates import AGGREGATE_RULES
from millrace.validation.rules.dates import DATE_RULES
from millrace.validation.rules.distributions import DISTRIBUTION_RULES
from millrace.validation.rules.order import ORDER_RULES
from millrace.validation.rules.pairs import PAIR_RULES
from millrace.validation.rules.queries import QUERY_RULES
from millrace.validation.rules.records import RECORD_RULES
from millrace.validation.rules.sets import SET_RULES
from millrace.validation.rules.spread import SPREAD_RULES
from millrace.validation.rules.tables import TABLE_RULES
from millrace.validation.rules.texts import TEXT_RULES
from millrace.validation.rules.values import VALUE_RULES
from millrace.validation.signatures import argument_mistakes, unsupported_parts
from millrace.validation.suite import Expectation, Suite

RULES = {
    **TABLE_RULES,
    **AGGREGATE_RULES,
    **VALUE_RULES,
    **ORDER_RULES,
    **SET_RULES,
    **SPREAD_RULES,
    **TEXT_RULES,
    **DATE_RULES,
    **PAIR_RULES,
    **RECORD_RULES,
    **DISTRIBUTION_RULES,
    **QUERY_RULES,
}

_UNFORESEEN = (TypeError, ValueError, ArithmeticError, LookupError)
"""What a value or an argument that nobody thought of raises inside a rule: that rule fails, the others go on."""


def validate(
    data: Any,
    suite: Suite,
    *,
    result_format: str | Mapping[str, Any] | ResultFormat = "SUMMARY",
    at: datetime | str | None = None,
    tables: Mapping[str, Any] | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> ValidationResult:
    """What every rule of `suite` finds in `data`. Never raises on what the batch holds.

    A rule that cannot be evaluated (no such column, a type it does not apply to, an expectation the engine does not
    run) is a failed result that says why; nothing is passed over in silence.

    Parameters
    ----------
    data : table, path, Source or Backend
        n rows: an Arrow table or reader, a pandas or polars frame, a mapping of columns, the path of a Parquet or CSV
        file or of a folder of them, a Spark frame, a `Source`, whose rows are judged in the database where they are,
        or anything that is a `millrace.validation.backend.Backend`; one with `close` is closed in the end.
    suite : Suite
    result_format : {"BOOLEAN_ONLY", "BASIC", "SUMMARY", "COMPLETE"} or mapping
        GX's levels of detail, or its object of settings, see `ResultFormat`. COMPLETE lists every unexpected value
        and its row.
    at : datetime or str, optional
        Time of the validation, or its ISO 8601 text, for the report and for ``now()`` in suite parameters; the present
        without it.
    tables : mapping of str to data, optional
        Tables that rules name, such as ``other_table_name``.
    parameters : mapping of str to value, optional
        Values of the suite parameters, ``{"$PARAMETER": "name"}``, before those that the suite carries in its
        ``suite_parameters``. A rule with one that is not there fails and names it.

    Raises
    ------
    DataError
        VALID-03 when `suite` is none; VALID-05 when `data` is no table; VALID-10 to VALID-12 when a file cannot be
        read; VALID-50 when `result_format` is none; VALID-70 when `at` is no time; VALID-71 when `parameters` or
        `tables` is no mapping from names.
    """
    # A rule on one row needs neither: a server that asks such rules does not load Polars for them.
    from millrace.validation.scan.batches import open_within

    if not isinstance(suite, Suite):
        raise DataError(
            "VALID-03",
            f"a {type(suite).__name__} is not a suite",
            fix="give Suite.load(path) or Suite.from_dict(document); DataValidator takes all of them",
        )
    form = ResultFormat.of(result_format)
    moment = _moment(at)
    parameters, tables = _by_name("parameters", parameters), _by_name("tables", tables)
    parameters = {**suite.parameters, **parameters}
    rules = [filled_rule(rule, parameters, moment) for rule in suite.expectations]
    # Rows in a database hold a connection until they are judged.
    with ExitStack() as stack:
        backend = open_within(stack, data)
        others = {name: partial(open_within, stack, table) for name, table in tables.items()}
        batch = Batch(backend, {name: partial(_count_of, other) for name, other in others.items()}, others)
        rows, results = judge(batch, rules, form, parameters)
    if any(result.is_unsupported for result in results):
        from millrace.validation.fallback import with_fallback

        results = with_fallback(results, data, form, parameters)
    if form.level == "BOOLEAN_ONLY":
        results = [_verdict_alone(result) for result in results]
    return ValidationResult(
        suite.name, rows, results, suite.id, to_text(moment) if moment else None, json_ready(parameters)
    )


def _moment(at: Any) -> datetime | None:
    if at is None or isinstance(at, datetime):
        return at
    try:
        return from_text(at if isinstance(at, str) else at.isoformat())
    except (AttributeError, TypeError, ValueError) as error:
        raise DataError(
            "VALID-70", f"at={at!r} is no time", fix='give a datetime, or text such as "2024-05-01T12:00:00Z"'
        ) from error


def _by_name(argument: str, given: Any) -> Mapping[str, Any]:
    if given is not None and not isinstance(given, Mapping):
        raise DataError(
            "VALID-71",
            f"{argument} is a {type(given).__name__}, not a mapping from names",
            fix=f'write {argument}={{"NAME": ...}}',
        )
    return given or {}


def judge(
    batch: Batch, rules: Sequence[Expectation], form: ResultFormat, parameters: Mapping[str, Any] | None = None
) -> tuple[int, list[ExpectationResult]]:
    """How many rows the batch has, and what each of `rules`, their parameters filled in, finds in it."""
    compiled = [compile_rule(batch, rule, parameters) for rule in rules]
    figures = Figures(batch.backend)
    checks = [item for item in compiled if isinstance(item, Check)]
    rows, findings = figures.rows_and_findings(checks)
    problems = add_examples(
        batch.backend,
        [
            (rule, item, findings[id(item)], figures.of(item))
            for rule, item in zip(rules, compiled, strict=True)
            if isinstance(item, Check) and id(item) in findings
        ],
        form,
    )
    problems = {**figures.broken, **problems}
    return rows, [
        item if isinstance(item, ExpectationResult) else _result(rule, findings.get(id(item)), problems.get(id(item)))
        for rule, item in zip(rules, compiled, strict=True)
    ]


class Figures:
    """What the checks of a suite ask of a batch, and the answers, by the condition on rows they hold for.

    Attributes
    ----------
    broken : dict of int to str
        By the id of a check, why its figures could not be computed.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._found: dict[Expr | None, dict[Expr, Any]] = {}
        self.broken: dict[int, str] = {}

    def of(self, check: Check) -> Values:
        """The figures over the rows that `check` judges."""
        return self._found.get(check.where, {})

    def rows_and_findings(self, checks: Sequence[Check]) -> tuple[int, dict[int, Finding]]:
        """The number of rows, and the findings of the checks that could be evaluated, by their id."""
        count = Check(lambda _: Finding(success=True), (ROWS,))
        self._ask([(check, check.figures) for check in (count, *checks)])
        again = [(check, more) for check in checks if id(check) not in self.broken and (more := self._more(check))]
        self._ask(again)
        findings: dict[int, Finding] = {}
        for check in checks:
            if id(check) not in self.broken:
                try:
                    findings[id(check)] = check.finish(self.of(check))
                except (CannotCheck, *_UNFORESEEN) as error:
                    self.broken[id(check)] = str(error)
        if id(count) in self.broken:
            raise DataError(
                "VALID-10",
                f"the rows cannot be read: {self.broken[id(count)]}",
                fix="write the file again, or ask whoever wrote it; no row of it was judged",
            )
        return self._found[None][ROWS], findings

    def _more(self, check: Check) -> Sequence[Expr]:
        try:
            return check.recount(self.of(check)) if check.recount is not None else ()
        except (CannotCheck, *_UNFORESEEN) as error:
            self.broken[id(check)] = str(error)
            return ()

    def _ask(self, wanted: Sequence[tuple[Check, Sequence[Expr]]]) -> None:
        scopes: dict[Expr | None, list[Expr]] = {}
        for check, figures in wanted:
            if figures:
                scopes.setdefault(check.where, []).extend(figures)
        if not scopes:
            return
        try:
            self._keep(scopes)
        except CannotCheck:
            # One expression spoils a pass: find it, and let the others have their answer.
            for check, figures in wanted:
                try:
                    self._keep({check.where: figures})
                except CannotCheck as error:
                    self.broken[id(check)] = str(error)

    def _keep(self, scopes: Mapping[Expr | None, Sequence[Expr]]) -> None:
        for where, values in self._backend.compute(scopes).items():
            self._found.setdefault(where, {}).update(values)


def _count_of(other: Callable[[], Backend]) -> int:
    return int(other().compute({None: [ROWS]})[None][ROWS])


def filled_rule(rule: Expectation, parameters: Mapping[str, Any], at: datetime | None = None) -> Expectation:
    """`rule` with values in place of its parameters; one that lacks a value stays as it is."""
    if not any(map(is_parameter, rule.kwargs.values())):
        return rule
    try:
        kwargs, _ = fill(rule.kwargs, parameters, at or SystemClock().now())
    except NoValue:
        return rule
    return replace(rule, kwargs=kwargs)


def compile_rule(
    batch: Batch, rule: Expectation, parameters: Mapping[str, Any] | None = None
) -> Check | ExpectationResult:
    """What `rule` asks of the batch, or the failed result that says why it cannot be asked."""
    unsupported = unsupported_parts(rule.type, rule.kwargs)
    if unsupported:
        return ExpectationResult(rule, False, {}, f"unsupported: {'; '.join(unsupported)}", is_unsupported=True)
    mistakes = argument_mistakes(rule.type, rule.kwargs)
    if mistakes:
        return ExpectationResult(rule, False, {}, f"the rule is not written right: {'; '.join(mistakes)}")
    try:
        if parameter_names(rule.kwargs):
            fill(rule.kwargs, parameters or {}, SystemClock().now())
        given = {name: value for name, value in rule.kwargs.items() if value is not None}
        check = RULES[rule.type](batch, given)
        if given.get("row_condition"):
            # Most suites have none, and its parsers take a while to load.
            from millrace.validation.conditions.forms import row_filter

            where = row_filter(batch, given["row_condition"], given.get("condition_parser"))
            check = replace(check, where=None if where == TRUE else where)
        _refuse_unsupported(batch.backend, check)
    except NoValue as reason:
        return ExpectationResult(rule, False, {}, str(reason))
    except CannotCheck as reason:
        return ExpectationResult(rule, False, {}, str(reason), is_unsupported=str(reason).startswith("unsupported"))
    except _UNFORESEEN as error:
        return _result(rule, None, f"{type(error).__name__}: {error}")
    return check


def _refuse_unsupported(backend: Backend, check: Check) -> None:
    asked = [*check.figures, *([check.where] if check.where is not None else [])]
    lacking = sorted({op for figure in asked for op in figure.operations()} & backend.unsupported)
    if lacking:
        reasons = {"previous": "the rows have no order there, which the rule asks for"}
        raise CannotCheck(
            f"unsupported: {reasons.get(lacking[0], f'the rows cannot be asked for {lacking[0]!r} there')}"
        )


def _verdict_alone(result: ExpectationResult) -> ExpectationResult:
    asked = (
        ("unexpected_index_query", "unexpected_index_column_names") if "unexpected_index_query" in result.result else ()
    )
    return replace(result, result={name: result.result[name] for name in asked if name in result.result})


def _result(rule: Expectation, finding: Finding | None, problem: str | None) -> ExpectationResult:
    if finding is None or problem is not None:
        return ExpectationResult(
            rule,
            False,
            {},
            problem if str(problem).startswith("unsupported") else f"the rule could not be evaluated: {problem}",
            is_unsupported=str(problem).startswith("unsupported"),
        )
    return ExpectationResult(rule, finding.success, json_ready(finding.result))
