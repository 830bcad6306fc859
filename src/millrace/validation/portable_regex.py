"""Regular expressions that mean the same in Python and in a database, and patterns of LIKE. Standard library only.

Databases differ from Python in what ``.``, ``$``, ``\\d`` and a backslash mean. What is written here uses only what
they agree on; a pattern that needs more is not written, and Python judges the distinct values.
"""

from __future__ import annotations

import re
from re import _constants as sre  # type: ignore[attr-defined]  # the parser of `re`, which typeshed leaves out
from re import _parser as sre_parser  # type: ignore[attr-defined]
from typing import Any, NamedTuple

_MOST_REPEATS = 255  # Postgres takes no more


class _NotPortable(Exception):
    """The pattern needs what only Python has."""


def portable_regex(pattern: str, *, end: str, unicode_classes: bool = False) -> str | None:
    r"""`pattern` for another engine, None when that might match other texts.

    Whether there is a match is kept, not which: lazy repeats become greedy ones, groups are not captured.

    Parameters
    ----------
    pattern : str
        As `re.search` takes it.
    end : str
        How the other engine writes the very end of the text.
    unicode_classes : bool
        It reads ``\p{L}`` and classes within classes, as Rust's does: then ``\d \w \s`` can be written too.

    >>> portable_regex(r"^a.+?$", end=r"\z")
    '^a[^\n]+\n?\\z'
    >>> portable_regex(r"\d", end=r"\z") is None
    True
    """
    try:
        tree = sre_parser.parse(pattern)
        if tree.state.flags & ~re.UNICODE:
            return None
        return _sequence(tree, _Style(end, unicode_classes))
    except (_NotPortable, re.error, RecursionError):
        return None


class _Style(NamedTuple):
    """What differs between the other engines."""

    end: str
    unicode_classes: bool


def _sequence(nodes: Any, style: _Style) -> str:
    # The line feed that $ stands before is taken with it: so nothing may follow.
    if any(_holds_end(node) for node in list(nodes)[:-1]):
        raise _NotPortable
    return "".join(_node(op, value, style) for op, value in nodes)


def _holds_end(node: Any) -> bool:
    if isinstance(node, tuple) and node == (sre.AT, sre.AT_END):
        return True
    is_nested = isinstance(node, (tuple, list, sre_parser.SubPattern))
    return is_nested and any(_holds_end(part) for part in node)


def _node(op: Any, value: Any, style: _Style) -> str:
    if op is sre.LITERAL:
        return _character(value)
    if op is sre.NOT_LITERAL:
        return f"[^{_character(value)}]"
    if op is sre.ANY:
        return "[^\n]"
    if op is sre.IN:
        return _set(value, style)
    if op is sre.AT:
        return _place(value, style)
    if op is sre.BRANCH:
        return "(?:" + "|".join(_sequence(branch, style) for branch in value[1]) + ")"
    if op is sre.SUBPATTERN:
        _, added, removed, inner = value
        if added or removed:
            raise _NotPortable
        return f"(?:{_sequence(inner, style)})"
    if op in (sre.MAX_REPEAT, sre.MIN_REPEAT):
        low, high, inner = value
        return _repeat(low, high, inner, style)
    raise _NotPortable


def _repeat(low: Any, high: Any, inner: Any, style: _Style) -> str:
    if any(op is sre.AT for op, _ in inner) or high == 0:
        raise _NotPortable
    body = f"(?:{_sequence(inner, style)})" if len(inner) > 1 or inner[0][0] in _REPEATS else _sequence(inner, style)
    is_endless = high is sre.MAXREPEAT
    if is_endless and low in (0, 1):
        return body + ("*" if low == 0 else "+")
    if (low, high) == (0, 1):
        return body + "?"
    if low > _MOST_REPEATS or (not is_endless and high > _MOST_REPEATS):
        raise _NotPortable
    return f"{body}{{{low},{'' if is_endless else high}}}"


_REPEATS = (sre.MAX_REPEAT, sre.MIN_REPEAT)


def _place(value: Any, style: _Style) -> str:
    if value in (sre.AT_BEGINNING, sre.AT_BEGINNING_STRING):
        return "^"
    if value is sre.AT_END:
        return f"\n?{style.end}"  # Python's $ also stands before a last line feed
    if value is sre.AT_END_STRING:
        return style.end
    raise _NotPortable


def _set(members: Any, style: _Style) -> str:
    parts = []
    for op, value in members:
        if op is sre.NEGATE:
            parts.append("^")
        elif op is sre.LITERAL:
            parts.append(_character(value))
        elif op is sre.RANGE:
            parts.append(f"{_character(value[0])}-{_character(value[1])}")
        elif op is sre.CATEGORY and style.unicode_classes:
            parts.append(_CLASSES[value])
        else:
            raise _NotPortable
    return f"[{''.join(parts)}]"


# What `str.isdecimal`, `str.isalnum` and `str.isspace` accept, which is what Python means.
_CLASSES = {
    sre.CATEGORY_DIGIT: r"\p{Nd}",
    sre.CATEGORY_NOT_DIGIT: r"\P{Nd}",
    sre.CATEGORY_WORD: r"\p{L}\p{N}_",
    sre.CATEGORY_NOT_WORD: r"[^\p{L}\p{N}_]",
    sre.CATEGORY_SPACE: r"\s\x1c-\x1f",
    sre.CATEGORY_NOT_SPACE: r"[^\s\x1c-\x1f]",
}


def _character(code: int) -> str:
    character = chr(code)
    if code == 0 or 0xD800 <= code < 0xE000:
        raise _NotPortable
    is_plain = character.isalnum() or code > 127 or character in " \t\n\r_"
    if not is_plain and code < 32:
        raise _NotPortable
    return character if is_plain else f"\\{character}"


def like_parts(pattern: str, escape: str | None) -> list[str | None]:
    """A pattern of LIKE in its parts: characters, ``""`` for exactly one of any, None for any number.

    >>> like_parts("a!%_%", "!")
    ['a', '%', '', None]
    """
    parts: list[str | None] = []
    characters = iter(pattern)
    for character in characters:
        if escape is not None and character == escape:
            parts.append(next(characters, escape))
        else:
            parts.append({"%": None, "_": ""}.get(character, character))
    return parts


def like_pattern(pattern: str, escape: str | None) -> str:
    """The same pattern with ``!`` as its escape.

    >>> like_pattern("100!%", None)
    '100!!%'
    """
    written = []
    for part in like_parts(pattern, escape):
        if part is None:
            written.append("%")
        elif part == "":
            written.append("_")
        else:
            written.append(f"!{part}" if part in "!%_" else part)
    return "".join(written)


def like_regex(pattern: str, escape: str | None) -> str:
    """A regular expression of Python for the same whole texts.

    >>> like_regex("a_%", None)
    '(?s:a..*)\\\\Z'
    """
    wild = {None: ".*", "": "."}
    parts = (wild[part] if part in wild else re.escape(part or "") for part in like_parts(pattern, escape))
    return f"(?s:{''.join(parts)})\\Z"
