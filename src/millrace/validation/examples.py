"""The second look: values and rows that break a rule. Rules that hold without exception are not looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from millrace.core.errors import did_you_mean
from millrace.validation.backend import Backend, CannotCheck
from millrace.validation.check import Check, Finding, Rows, Values
from millrace.validation.expression import Expr, column
from millrace.validation.result_format import ResultFormat
from millrace.validation.suite import Expectation

Answered = tuple[Expectation, Check, Finding, Values]


def add_examples(backend: Backend, answered: Sequence[Answered], form: ResultFormat) -> dict[int, str]:
    """Fill the lists of unexpected values in the findings' results, as GX does for a result format.

    ``partial_unexpected_list`` holds 20 values; SUMMARY adds their rows (counted from 0) and the most frequent
    values with their counts; COMPLETE adds all values and rows, and pandas code that selects the rows.

    Returns
    -------
    dict of int to str
        By the id of a check, why its rows could not be looked at.
    """
    problems: dict[int, str] = {}
    for rule, check, finding, values in answered:
        if check.rows is None or (form.level == "BOOLEAN_ONLY" and not form.has_query):
            continue
        rows = check.rows(values) if callable(check.rows) else check.rows
        is_broken = bool(finding.result.get("unexpected_count"))
        try:
            look = _Look(backend, rule, check, rows if is_broken else None, form)
            look.write(finding.result)
        except CannotCheck as error:
            problems[id(check)] = str(error)
    return problems


class _Look:
    """The rows that break one rule, as far as a result format wants them."""

    def __init__(
        self, backend: Backend, rule: Expectation, check: Check, broken: Rows | None, form: ResultFormat
    ) -> None:
        self._backend, self._check, self._broken, self._form = backend, check, broken, form
        self._is_pair = "column_A" in rule.kwargs
        self._keys = form.unexpected_index_column_names or ()
        # GX shows the columns that a rule is about beside those that name the row.
        self._named = list(dict.fromkeys([*(_domain(rule) if not form.exclude_unexpected_values else ()), *self._keys]))
        for key in self._keys:
            if key not in backend.names:
                raise CannotCheck(f"there is no column '{key}' to name rows by: {did_you_mean(key, backend.names)}")

    def write(self, result: dict[str, Any]) -> None:
        """Add to `result` what the format shows, in GX's names."""
        form, count = self._form, self._form.partial_unexpected_count
        is_all = form.level == "COMPLETE"
        values, index, positions = self._found(None if is_all or form.has_query else count)
        lists: dict[str, Any] = {"partial_unexpected_list": values[:count]}
        if form.level in ("SUMMARY", "COMPLETE") and count:
            lists["partial_unexpected_counts"] = self._frequent(count, result)
            lists["partial_unexpected_index_list"] = index[:count]
        if is_all:
            lists |= {"unexpected_list": values, "unexpected_index_list": index}
        if form.exclude_unexpected_values:
            result.pop("partial_unexpected_list", None)
            lists = {name: found for name, found in lists.items() if name.endswith("index_list")}
        if self._keys:
            lists["unexpected_index_column_names"] = list(self._keys)
        if form.include_unexpected_rows:
            lists["unexpected_rows"] = self._rows(count)
        if form.has_query and None not in positions:
            lists["unexpected_index_query"] = f"df.filter(items={positions}, axis=0)"
        result.update(lists)

    def _found(self, limit: int | None) -> tuple[list[Any], list[Any], list[int | None]]:
        """The unexpected values, what names their rows, and the positions of these."""
        if self._broken is None:
            return [], [], []
        shown = _shown(self._broken)
        columns = [column(name) for name in self._named] if self._keys else []
        found = self._examples([*shown, *columns], limit)
        values = [self._shaped(self._broken, row[: len(shown)]) for _, row in found]
        positions = [position for position, _ in found]
        if not self._keys:
            return values, [position for position in positions if position is not None], positions
        names = [dict(zip(self._named, row[len(shown) :], strict=True)) for _, row in found]
        if self._form.exclude_unexpected_values and names:
            names = [{key: [row[key] for row in names] for key in self._keys}]
        return values, names, positions

    def _shaped(self, broken: Rows, values: Sequence[Any]) -> Any:
        if not isinstance(broken.shown, Mapping):
            return values[0]
        return list(values) if self._is_pair else dict(zip(broken.shown, values, strict=True))

    def _frequent(self, count: int, result: Mapping[str, Any]) -> list[dict[str, Any]]:
        if self._broken is None:
            return []
        shown = _shown(self._broken)
        if shown == [one for one in self._broken.unexpected.args if self._broken.unexpected.op == "is_missing"]:
            return [{"value": None, "count": result["unexpected_count"]}]  # of what is missing nothing needs counting
        found = self._backend.frequent(self._broken.unexpected, shown, where=self._check.where, limit=count)
        is_single = not isinstance(self._broken.shown, Mapping)
        pairs = [(values[0] if is_single else list(values), number) for values, number in found]
        try:
            pairs.sort(key=lambda pair: (-pair[1], pair[0]))
        except TypeError:
            # Values that have no order among them stay in that of their first rows.
            pairs.sort(key=lambda pair: -pair[1])
        return [{"value": value, "count": number} for value, number in pairs]

    def _rows(self, count: int) -> list[dict[str, Any]]:
        names = list(self._backend.names)
        found = self._examples([column(name) for name in names], count) if self._broken is not None else []
        return [dict(zip(names, row, strict=True)) for _, row in found]

    def _examples(self, shown: Sequence[Expr], limit: int | None) -> list[tuple[int | None, tuple[Any, ...]]]:
        if self._broken is None:
            return []
        return self._backend.examples(self._broken.unexpected, shown, where=self._check.where, limit=limit)


def _shown(broken: Rows) -> list[Expr]:
    return list(broken.shown.values()) if isinstance(broken.shown, Mapping) else [broken.shown]


def _domain(rule: Expectation) -> list[str]:
    """The columns that a rule is about."""
    single = [rule.kwargs.get(name) for name in ("column", "column_A", "column_B")]
    return [name for name in (*single, *(rule.kwargs.get("column_list") or ())) if isinstance(name, str)]
