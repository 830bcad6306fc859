"""Row conditions: an expectation that is about some rows only, in every form Great Expectations 1.24 writes.

Rows are chosen as GX's pandas engine chooses them, where a comparison with a missing value is false. Whatever cannot
be read is refused with the reason, never taken as true.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from millrace.validation.backend import CannotCheck
from millrace.validation.batch import Batch
from millrace.validation.conditions.terms import SIGNS, column_term, compared, is_member, literal_term, misses
from millrace.validation.conditions.text import read_query, read_sql
from millrace.validation.expression import Expr, all_of, any_of, negate

PARSERS = ("great_expectations", "great_expectations__experimental__", "pandas", "spark")


def row_filter(batch: Batch, condition: Any, parser: str | None = None) -> Expr:
    """The truth about a row that `condition` states.

    Parameters
    ----------
    batch : Batch
    condition : str, mapping or object
        Text in the language `parser` names, or GX's condition object or its JSON form (types ``comparison``,
        ``nullity``, ``and``, ``or``, ``pass_through``).
    parser : str, optional
        GX's ``condition_parser``; without one, text is a pandas query as in GX.

    Raises
    ------
    CannotCheck
        For a column that is not there, values that do not compare, and text or objects that are not understood.
    """
    if parser is not None and parser not in PARSERS:
        raise CannotCheck(f"unsupported: Millrace does not know the condition_parser {parser!r}")
    if isinstance(condition, str):
        if parser is not None and parser.startswith("great_expectations"):
            return _read_columns(batch, condition)
        return _read_text(batch, condition, parser)
    document = condition.dict() if hasattr(condition, "dict") else condition
    if not isinstance(document, Mapping):
        raise CannotCheck(f"unsupported: {condition!r} is no condition on rows")
    try:
        return _read_object(batch, document, parser)
    except RecursionError as error:
        raise CannotCheck("unsupported: the row_condition is nested too deep") from error


def _read_text(batch: Batch, text: str, parser: str | None) -> Expr:
    if parser != "spark":
        return read_query(batch, text)
    try:
        return read_sql(batch, text)
    except CannotCheck as reason:
        if not str(reason).startswith("unsupported"):
            raise
        return read_query(batch, text)


def _read_object(batch: Batch, document: Mapping[str, Any], parser: str | None) -> Expr:
    kind = document.get("type")
    if kind in ("and", "or"):
        parts = document.get("conditions")
        if not isinstance(parts, list) or not parts:
            raise CannotCheck(f"the row_condition {kind!r} has no list of conditions")
        truths = [row_filter(batch, part, parser) for part in parts]
        return all_of(*truths) if kind == "and" else any_of(*truths)
    if kind == "pass_through":
        return _read_text(batch, str(document.get("pass_through_filter")), parser)
    column = document.get("column")
    name = column.get("name") if isinstance(column, Mapping) else None
    if kind not in ("comparison", "nullity") or not isinstance(name, str):
        raise CannotCheck(f"unsupported: {dict(document)!r} is no condition on rows")
    term = column_term(batch, name)
    if kind == "nullity":
        return misses(term) if document.get("is_null") else negate(misses(term))
    sign, value = str(document.get("operator")), document.get("parameter")
    if sign in ("IN", "NOT_IN") and isinstance(value, (list, tuple, set)):
        found = is_member(batch, term, list(value))
        return found if sign == "IN" else negate(found)
    if sign not in SIGNS:
        raise CannotCheck(f"unsupported: the operator {sign!r} with {value!r} in a condition on rows")
    return compared(batch, SIGNS[sign], term, literal_term(value))


_COLUMN = r"""\s*col\("(?P<column>[^"]+)"\)\s*"""
_NUMBER = r"(?P<number>[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)"
_TEXT = r"""(?:date\(\s*)?(?:"(?P<double>[^"]*)"|'(?P<single>[^']*)')\s*\)?"""
_CLAUSE = re.compile(
    rf"{_COLUMN}(?:(?P<present>\.notnull\(\))|(?P<sign>[<>=!]=|[<>])\s*(?:{_NUMBER}|{_TEXT}))\s*(?:(?P<and>and|&)\s*(?=col\()|\Z)",
    re.IGNORECASE,
)


def _read_columns(batch: Batch, text: str) -> Expr:
    """Clauses such as ``col("x") > 5``, joined by AND."""
    truths: list[Expr] = []
    position = 0
    while position < len(text):
        found = _CLAUSE.match(text, position)
        if found is None:
            raise CannotCheck(
                f"unsupported: {text[position:].strip()!r} in the row_condition {text!r} "
                'is no clause such as col("x") > 5'
            )
        position = found.end()
        term = column_term(batch, found["column"])
        if found["present"]:
            truths.append(negate(misses(term)))
            continue
        value: Any = found["double"] if found["double"] is not None else found["single"]
        if found["number"] is not None:
            value = int(found["number"]) if re.fullmatch(r"[+-]?\d+", found["number"]) else float(found["number"])
        truths.append(compared(batch, SIGNS[found["sign"]], term, literal_term(value)))
    if not truths:
        raise CannotCheck("unsupported: the row_condition is empty")
    return all_of(*truths)
