"""Rules on values as texts: regular expressions, patterns of LIKE, JSON.

Regular expressions are Python's, searched anywhere in the text, as GX's pandas engine does; a value that is no text is
judged by its Python text, `1.5` or `True`. LIKE, which GX runs in databases only, is run everywhere: the whole text,
upper and lower case apart.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from millrace.validation.batch import Batch, CannotCheck
from millrace.validation.check import Check, Finding, Rows, Values
from millrace.validation.expression import (
    ROWS,
    Expr,
    Predicate,
    all_of,
    any_of,
    as_text,
    count_if,
    holds,
    is_missing,
    is_present,
    like,
    matches,
    negate,
)
from millrace.validation.rules.values import on_present, share_finding

Kwargs = Mapping[str, Any]
_EVERYTHING = "(?s).*"  # what GX looks for when no regular expression is given


def values_match(batch: Batch, kwargs: Kwargs) -> Check:
    return on_present(batch, kwargs, negate(_found(batch, kwargs["column"], kwargs.get("regex", _EVERYTHING))))


def values_do_not_match(batch: Batch, kwargs: Kwargs) -> Check:
    return on_present(batch, kwargs, _found(batch, kwargs["column"], kwargs.get("regex", _EVERYTHING)))


def values_match_list(batch: Batch, kwargs: Kwargs) -> Check:
    found = [_found(batch, kwargs["column"], regex) for regex in kwargs["regex_list"]]
    return on_present(batch, kwargs, negate(_joined(kwargs, found)))


def values_match_none_of_list(batch: Batch, kwargs: Kwargs) -> Check:
    return on_present(
        batch, kwargs, any_of(*(_found(batch, kwargs["column"], regex) for regex in kwargs["regex_list"]))
    )


def values_like(batch: Batch, kwargs: Kwargs) -> Check:
    return on_present(batch, kwargs, negate(_alike(batch, kwargs, kwargs["like_pattern"])))


def values_not_like(batch: Batch, kwargs: Kwargs) -> Check:
    return on_present(batch, kwargs, _alike(batch, kwargs, kwargs["like_pattern"]))


def values_like_list(batch: Batch, kwargs: Kwargs) -> Check:
    found = [_alike(batch, kwargs, pattern) for pattern in kwargs["like_pattern_list"]]
    return on_present(batch, kwargs, negate(_joined(kwargs, found)))


def values_like_none_of_list(batch: Batch, kwargs: Kwargs) -> Check:
    return on_present(batch, kwargs, any_of(*(_alike(batch, kwargs, each) for each in kwargs["like_pattern_list"])))


def values_are_json(batch: Batch, kwargs: Kwargs) -> Check:
    values = batch.values(kwargs["column"])
    if batch.kind(kwargs["column"]) in ("text", "mixed", "other"):
        return on_present(batch, kwargs, negate(holds(values, _IS_JSON)))
    # JSON is text: a number or a time is none, however it looks when it is printed.
    return on_present(batch, kwargs, is_present(values))


def values_match_json_schema(batch: Batch, kwargs: Kwargs) -> Check:
    """Each text is JSON of a JSON schema. As in GX, one text that is no JSON at all and the rule has no answer."""
    column = kwargs["column"]
    if batch.kind(column) not in ("text", "nothing"):
        return only_if_empty(batch, kwargs, f"{batch.describe(column)}: a JSON schema needs text")
    values = batch.values(column)
    missing, broken = count_if(is_missing(values)), count_if(negate(holds(values, _IS_JSON)))
    is_other = negate(holds(values, _schema_test(kwargs["json_schema"])))
    wrong = count_if(is_other)

    def finish(found: Values) -> Finding:
        if found[broken]:
            raise CannotCheck(
                f"{found[broken]:,} values of the column '{column}' are no JSON that a schema could judge"
            )
        return share_finding(found[ROWS], found[missing], found[wrong], kwargs)

    return Check(finish, (ROWS, missing, broken, wrong), rows=Rows(is_other, values))


def only_if_empty(batch: Batch, kwargs: Kwargs, reason: str) -> Check:
    """The check of a rule that no value of the column can be judged by: met where there is no value, as in GX."""
    missing = count_if(is_missing(batch.values(kwargs["column"])))

    def finish(found: Values) -> Finding:
        if found[missing] < found[ROWS]:
            raise CannotCheck(reason)
        return share_finding(found[ROWS], found[missing], 0, kwargs)

    return Check(finish, (ROWS, missing))


def text_of(batch: Batch, column: str, purpose: str) -> Expr:
    """The values as Python's texts of them. Raises CannotCheck where pandas writes a value otherwise."""
    if batch.kind(column) in ("time", "other"):
        raise CannotCheck(f"unsupported: {batch.describe(column)}: {purpose} needs text")
    return as_text(batch.values(column))


def _found(batch: Batch, column: str, regex: str) -> Expr:
    text = text_of(batch, column, "a regular expression")
    try:
        re.compile(regex)
    except (re.error, OverflowError, RecursionError) as error:
        raise CannotCheck(f"{regex!r} is no regular expression: {error}") from error
    return matches(text, regex)


def _alike(batch: Batch, kwargs: Kwargs, pattern: str) -> Expr:
    return like(text_of(batch, kwargs["column"], "LIKE"), pattern, kwargs.get("escape"))


def _joined(kwargs: Kwargs, found: list[Expr]) -> Expr:
    return all_of(*found) if kwargs.get("match_on") == "all" else any_of(*found)


def _is_json(value: Any) -> bool:
    try:
        json.loads(value)
    except (ValueError, TypeError, RecursionError):
        return False
    return True


_IS_JSON = Predicate(("is JSON",), _is_json)


def _schema_test(schema: Mapping[str, Any]) -> Predicate:
    try:
        from jsonschema import exceptions, validators
        from referencing import Registry
        from referencing.exceptions import Unresolvable
    except ImportError as error:
        raise CannotCheck(
            "unsupported: JSON schemas are judged by the package 'jsonschema', which comes with millrace[gx]"
        ) from error
    kind = validators.validator_for(schema)
    try:
        kind.check_schema(schema)
    except exceptions.SchemaError as error:
        raise CannotCheck(f"json_schema is no JSON schema: {error.message}") from error
    # An empty registry: a schema that refers to an address is an error here and is not fetched.
    validator = kind(schema, registry=Registry())

    def is_valid(text: str) -> bool:
        try:
            value = json.loads(text)
        except (ValueError, TypeError, RecursionError):
            return True  # what is no JSON is counted for itself
        try:
            return bool(validator.is_valid(value))
        except Unresolvable as error:
            raise ValueError(f"the JSON schema refers to what is not in it: {error}") from error
        except RecursionError as error:
            raise ValueError("the JSON schema refers to itself without end") from error

    return Predicate(("JSON schema", json.dumps(schema, sort_keys=True, default=repr)), is_valid)


TEXT_RULES: dict[str, Callable[[Batch, Kwargs], Check]] = {
    "expect_column_values_to_match_regex": values_match,
    "expect_column_values_to_not_match_regex": values_do_not_match,
    "expect_column_values_to_match_regex_list": values_match_list,
    "expect_column_values_to_not_match_regex_list": values_match_none_of_list,
    "expect_column_values_to_match_like_pattern": values_like,
    "expect_column_values_to_not_match_like_pattern": values_not_like,
    "expect_column_values_to_match_like_pattern_list": values_like_list,
    "expect_column_values_to_not_match_like_pattern_list": values_like_none_of_list,
    "expect_column_values_to_be_json_parseable": values_are_json,
    "expect_column_values_to_match_json_schema": values_match_json_schema,
}
