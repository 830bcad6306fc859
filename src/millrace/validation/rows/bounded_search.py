r"""Searches whose time is bounded, for texts that strangers send.

Python's `re` tries one way after another, and for some patterns the ways multiply: ``(a+)+$`` takes twice as long for
every further character. How many ways there can be is bounded from the pattern's parse tree. A text short enough for
that bound is searched by `re`, which is fastest; a longer one by Polars' engine, whose time grows with the text alone.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable
from re import _constants as sre  # type: ignore[attr-defined]  # the parser of `re`, which typeshed leaves out
from re import _parser as sre_parser  # type: ignore[attr-defined]
from typing import Any

from millrace.validation.portable_regex import portable_regex

logger = logging.getLogger("millrace.validation")

_MOST_STEPS = 1e6
"""Of one search by `re`: some 20 ms at worst."""
_FEW_WAYS = 16
"""Of a pattern that is searched in a text of any length, in time that grows with the text alone."""
_ENDLESS = 1000
"""Times more that count as any number of times."""
_REPEATS = {sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT}
_STARTS = {sre.AT_BEGINNING, sre.AT_BEGINNING_STRING}
_HALF = re.compile("[\ud800-\udfff]")
_NOBODY = "\ufdd0"  # as half a surrogate pair, no letter, digit or space; no engine but Python's takes those


def bounded_search(pattern: str, linear: str | None = None) -> Callable[[str], Any]:
    """A function that finds what ``re.search(pattern, text)`` finds: something true, or None.

    Parameters
    ----------
    pattern : str
        A pattern that Polars' engine cannot be given (look-around, a reference back) is left to `re` alone, with a
        warning in the log where that may take long.
    linear : str, optional
        The pattern as Polars' engine takes it, where `portable_regex` cannot tell.

    Raises
    ------
    re.error, RecursionError, OverflowError
        When `pattern` is none.
    """
    search = re.compile(pattern).search
    longest = longest_text(pattern)
    if longest == math.inf:
        return search
    other = _linear_search(linear or portable_regex(pattern, end=r"\z", unicode_classes=True))
    if other is None:
        logger.warning("the regular expression %r may search long: only Python's engine takes it", pattern)
        return search
    return lambda text: search(text) if len(text) <= longest else other(text)


def longest_text(pattern: str) -> float:
    r"""Characters of the longest text in which `re` cannot search long, infinite where none is too long.

    >>> longest_text(r"^\d+$"), longest_text(r"\d+$"), longest_text(r"(a+)+$"), longest_text(r"^(\d+-)+$")
    (inf, 1000, 0, inf)
    """
    tree = sre_parser.parse(pattern)
    degree, ways = _cost(tree)
    # A search that is not held to the beginning starts anew at every place.
    is_held = bool(tree.data) and tree.data[0][0] is sre.AT and tree.data[0][1] in _STARTS
    degree += not is_held
    left = math.log(_MOST_STEPS) - ways
    if degree == math.inf or left < 0:
        return 0
    if degree == 0 or (degree <= 1 and ways <= math.log(_FEW_WAYS)):
        return math.inf
    return int(math.exp(left / degree) + 1e-9)


def _cost(nodes: Any) -> tuple[float, float]:
    """The ways to match a sequence in n characters: at most ``exp(ways) * n ** degree``."""
    degree = ways = 0.0
    for op, value in nodes:
        more = _cost_of_repeat(*value) if op in _REPEATS else _cost_within(op, value)
        degree, ways = degree + more[0], ways + more[1]
    return degree, ways


def _cost_within(op: Any, value: Any) -> tuple[float, float]:
    if op is sre.BRANCH:
        costs = [_cost(branch) for branch in value[1]]
        return max(degree for degree, _ in costs), math.log(sum(math.exp(min(ways, 700.0)) for _, ways in costs))
    if op is sre.GROUPREF:
        return 1, 0
    parts = value if isinstance(value, tuple) else (value,)
    costs = [_cost(part) for part in parts if isinstance(part, sre_parser.SubPattern)]
    return sum(degree for degree, _ in costs), sum(ways for _, ways in costs)


def _cost_of_repeat(low: int, high: Any, inner: Any) -> tuple[float, float]:
    degree, ways = _cost(inner)
    if high == 0:
        return 0, 0
    if high is sre.MAXREPEAT or high - low > _ENDLESS:
        is_plain = degree == 0 and ways == 0
        # Between marks that nothing else in it takes, ``(-\d+)*`` splits a text in one way only.
        is_split = degree <= 1 and ways == 0 and _is_marked(inner)
        return (1, 0) if is_plain or is_split else (math.inf, 0)
    return degree * high, ways * high + math.log(high - low + 1)


def _is_marked(nodes: Any) -> bool:
    while len(nodes) == 1 and nodes[0][0] is sre.SUBPATTERN:
        nodes = nodes[0][1][3]
    nodes = list(nodes)
    ends = ((nodes[0], nodes[1:]), (nodes[-1], nodes[:-1]))
    return any(op is sre.LITERAL and _is_mark(chr(code), rest) for (op, code), rest in ends)


def _is_mark(sign: str, rest: Any) -> bool:
    # A letter is none: under a flag, its other case is the same.
    return sign.lower() == sign.upper() and not any(_takes(node, sign) for node in rest)


def _takes(node: Any, sign: str) -> bool:
    """Whether a match of `node` may hold `sign`; true where that is not known."""
    op, value = node
    if op in _REPEATS:
        return any(_takes(each, sign) for each in value[2])
    if op is sre.SUBPATTERN:
        return any(_takes(each, sign) for each in value[3])
    if op is sre.LITERAL:
        return chr(value) == sign
    if op is sre.IN and value[0][0] is not sre.NEGATE:
        ranges = [(each, each) if kind is sre.LITERAL else each for kind, each in value if kind is not sre.CATEGORY]
        classes = [each for kind, each in value if kind is sre.CATEGORY]
        return any(low <= ord(sign) <= high for low, high in ranges) or any(_CLASSES[each](sign) for each in classes)
    if op is sre.IN or op is sre.NOT_LITERAL:
        refused = value[1:] if op is sre.IN else [(sre.LITERAL, value)]
        return not _takes((sre.IN, refused), sign)
    return True


_CLASSES: dict[Any, Callable[[str], bool]] = {
    sre.CATEGORY_DIGIT: str.isdecimal,
    sre.CATEGORY_NOT_DIGIT: lambda sign: not sign.isdecimal(),
    sre.CATEGORY_SPACE: str.isspace,
    sre.CATEGORY_NOT_SPACE: lambda sign: not sign.isspace(),
    sre.CATEGORY_WORD: lambda sign: sign.isalnum() or sign == "_",
    sre.CATEGORY_NOT_WORD: lambda sign: not (sign.isalnum() or sign == "_"),
}


def _linear_search(pattern: str | None) -> Callable[[str], Any] | None:
    if pattern is None:
        return None
    import polars as pl  # only a server with such a pattern loads it

    try:
        pl.Series([""]).str.contains(pattern)
    except pl.exceptions.PolarsError:  # larger than it compiles
        return None
    return lambda text: pl.Series([_HALF.sub(_NOBODY, text)]).str.contains(pattern)[0] or None
