"""The rules of a suite that the rows of a model's requests can be judged by."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from millrace.validation.backend import CannotCheck
from millrace.validation.batch import Batch
from millrace.validation.conditions.forms import row_filter
from millrace.validation.describe import demand
from millrace.validation.engine import compile_rule
from millrace.validation.parameters import parameter_names
from millrace.validation.result import ExpectationResult
from millrace.validation.rows.backend import RowBackend
from millrace.validation.rows.checker import ROW_RULES, columns_of
from millrace.validation.rows.result import NotJudged
from millrace.validation.rows.types import form_of
from millrace.validation.suite import Expectation, Suite


def request_rules(suite: Suite, types: Mapping[str, pa.DataType]) -> tuple[Suite, list[NotJudged]]:
    """The rules about columns of `types` that one row keeps or breaks by itself; and the others, each with the reason.

    A request brings what the model takes, not what the file holds: rules on the table as a whole and on columns that
    no request has are not about it.
    """
    schema = Batch(RowBackend(types, {name: form_of(None, kind).column() for name, kind in types.items()}))
    kept, left = [], []
    for number, rule in enumerate(suite.expectations, 1):
        why = _why_not(rule, schema)
        if why is None:
            kept.append(rule)
        else:
            left.append(NotJudged(number, demand(rule.type, rule.kwargs), why))
    return Suite(suite.name, kept, suite.meta, suite.id, place=suite.place), left


def _why_not(rule: Expectation, schema: Batch) -> str | None:
    if rule.type.startswith("expect_table_"):
        return "it is about the table, and a request brings what the model takes"
    if rule.type not in ROW_RULES:
        return "it is about a whole batch: one row says nothing of it"
    foreign = [name for name in columns_of(rule) if name not in schema.names]
    if foreign:
        return f"no request has the column '{foreign[0]}'"
    named = parameter_names(rule.kwargs)
    if named:
        return f"it needs the suite parameter '{named[0]}', which a server is not given"
    condition = rule.kwargs.get("row_condition")
    try:
        if condition:
            row_filter(schema, condition, rule.kwargs.get("condition_parser"))
    except CannotCheck as reason:
        return f"its row_condition cannot be asked of a request: {reason}"
    compiled = compile_rule(schema, rule)
    return compiled.problem if isinstance(compiled, ExpectationResult) and compiled.is_unsupported else None
