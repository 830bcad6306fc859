"""What every place of rows must answer to a suite. Subclass, give a `put` fixture, and pytest runs it all.

class TestMyDatabase(ValidationBackendContract):
    @pytest.fixture
    def put(self, server):
        return lambda table: open_my_batch(server.load(table))

`put` gets an Arrow table and gives what `millrace.validation.engine.validate` takes. The answers are those for the
Arrow table itself: the same verdicts, counts and examples, observed numbers to a relative 1e-12. A place whose rows
have no order says ``has_order = False``: then rules on the rows before must be refused as unsupported, positions are
left out, and examples are any of the right ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa

from millrace.testing.validation_tables import (
    Rule,
    compared_rules,
    conditioned_rules,
    measured,
    measured_rules,
    ordered_rules,
    suite_of,
    tricky,
    tricky_rules,
)
from millrace.validation.engine import validate
from millrace.validation.result import ExpectationResult

Put = Callable[[pa.Table], Any]

_POSITIONS = ("partial_unexpected_index_list", "unexpected_index_list", "unexpected_index_query")
SHOWN = 20
"""GX shows as many examples."""
_LISTS = ("partial_unexpected_list", "partial_unexpected_counts", "unexpected_list")


class ValidationBackendContract:
    """The verdicts that must not depend on where the rows are. `put` is a fixture.

    Attributes
    ----------
    has_order : bool
        Whether the place keeps the order of rows.
    has_decimals : bool
        Whether it holds decimals and floats of 32 bit as they are; else both are floats of 64 bit there, which are
        other values, and it is not asked about them.
    shown_of : int
        Where queries take long: counts and figures are compared for four rules of so many, examples for one.
    """

    has_order = True
    has_decimals = True
    shown_of = 1

    def test_every_rule_finds_the_same_in_tricky_values(self, put: Put) -> None:
        self.compare(put, tricky(), tricky_rules(), is_whole=True)

    def test_every_value_and_row_is_told_the_same(self, put: Put) -> None:
        self.compare(put, tricky(), tricky_rules(), result_format="COMPLETE")

    def test_a_condition_on_rows_leaves_the_same_rows(self, put: Put) -> None:
        self.compare(put, tricky(), conditioned_rules(), is_whole=True)

    def test_another_table_is_compared_with_wherever_it_is(self, put: Put) -> None:
        self.compare(put, tricky(), compared_rules(), tables={"other": tricky().slice(0, 5)})

    def test_figures_of_many_numbers_agree(self, put: Put) -> None:
        self.compare(put, measured(), measured_rules(), is_whole=True)

    def test_an_empty_batch_fails_in_the_same_way(self, put: Put) -> None:
        self.compare(put, tricky().slice(0, 0), tricky_rules())

    def test_one_row_is_judged_the_same(self, put: Put) -> None:
        self.compare(put, tricky().slice(1, 1), [*tricky_rules(), *conditioned_rules()])

    def test_rules_on_the_rows_before_hold_or_are_refused(self, put: Put) -> None:
        rules = ordered_rules()
        if self.has_order:
            self.compare(put, tricky(), rules)
            return
        result = validate(put(tricky()), suite_of(rules))

        assert [(one.success, one.is_unsupported) for one in result.results] == [(False, True)] * len(rules)
        assert all("no order" in (one.problem or "") for one in result.results)

    def compare(
        self,
        put: Put,
        table: pa.Table,
        rules: Sequence[Rule],
        *,
        result_format: str = "SUMMARY",
        is_whole: bool = False,
        tables: Mapping[str, pa.Table] | None = None,
    ) -> None:
        """Assert that `rules` find the same in `table` where `put` puts it as in memory, beside the same `tables`.

        Where queries take long, figures are asked for beside the examples only if `is_whole`.
        """
        if not self.has_decimals:
            left_out = {"single", "price"} & set(table.column_names)
            table = table.drop_columns(sorted(left_out))
            rules = [(kind, kwargs) for kind, kwargs in rules if kwargs.get("column") not in left_out]
        if self.shown_of > 1 and is_whole:
            some = rules[:: max(self.shown_of // 4, 1)]
            self._compare(put(table), table, some, {"result_format": "BASIC", "partial_unexpected_count": 0})
        asked = rules if tables else rules[:: self.shown_of]
        self._compare(put(table), table, asked, result_format, tables)

    def _compare(
        self,
        data: Any,
        table: pa.Table,
        rules: Sequence[Rule],
        result_format: Any,
        tables: Mapping[str, pa.Table] | None = None,
    ) -> None:
        suite = suite_of(rules)
        wanted = validate(table, suite, result_format=result_format, tables=tables)
        found = validate(data, suite, result_format=result_format, tables=tables)

        assert found.rows == wanted.rows
        differences = [
            f"{one.expectation.type} {dict(one.expectation.kwargs)}\n  memory {_told(one)}\n  there  {_told(other)}"
            for one, other in zip(wanted.results, found.results, strict=True)
            if not self._agree(one, other)
        ]
        assert not differences, f"{len(differences)} of {len(rules)} differ\n" + "\n".join(differences)
        assert found.success == wanted.success

    def _agree(self, wanted: ExpectationResult, found: ExpectationResult) -> bool:
        if (wanted.success, wanted.problem is None) != (found.success, found.problem is None):
            return False
        return self._same(dict(wanted.result), dict(found.result))

    def _same(self, wanted: Any, found: Any, name: str = "") -> bool:
        if isinstance(wanted, Mapping) and isinstance(found, Mapping):
            keys = set(wanted) | set(found)
            if not self.has_order:
                keys -= set(_POSITIONS)
            return all(key in wanted and key in found and self._same(wanted[key], found[key], str(key)) for key in keys)
        if isinstance(wanted, (list, tuple)) and isinstance(found, (list, tuple)):
            if not self.has_order and (name == "examples" or (name in _LISTS and len(wanted) >= SHOWN)):
                return len(wanted) == len(found)  # any of the right ones
            if not self.has_order and name in _LISTS:
                wanted, found = sorted(wanted, key=repr), sorted(found, key=repr)
            return len(wanted) == len(found) and all(
                self._same(one, other) for one, other in zip(wanted, found, strict=True)
            )
        if _is_number(wanted) and _is_number(found):
            return bool(wanted == found) or math.isclose(float(wanted), float(found), rel_tol=1e-12)
        return bool(wanted == found)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)


def _told(result: ExpectationResult) -> str:
    return f"{result.success} {result.problem or dict(result.result)}"
