"""The one pattern that all texts of a column follow, where they follow one: codes, not words."""

from __future__ import annotations

from itertools import groupby

import polars as pl

LEAST_TEXTS = 100
LEAST_DISTINCT = 20
_CLASSES = {"d": r"\d", "u": "[A-Z]", "l": "[a-z]"}
_SPECIAL = set(r".^$*+?{}[]\|()")


def pattern_of(texts: pl.Series) -> str | None:
    r"""A regular expression for the texts, or None when they are words, too few, or of several forms.

    Digits, upper and lower letters are told apart; everything else stands for itself. A run of one sort of character
    has the lengths that were seen, or is open-ended where they differ: numbers grow.

    Parameters
    ----------
    texts : polars.Series of str, none missing

    >>> pattern_of(pl.Series([f"AB-{n:06}" for n in range(200)]))
    '^[A-Z]{2}-\\d{6}$'
    """
    distinct = texts.unique().to_list()
    if len(texts) < LEAST_TEXTS or len(distinct) < LEAST_DISTINCT:
        return None
    forms: dict[tuple[str, ...], list[list[int]]] = {}
    for text in distinct:
        runs = [(sort, len(list(run))) for sort, run in groupby(_sort_of(c) for c in text)]
        form = tuple(sort for sort, _ in runs)
        lengths = forms.setdefault(form, [[] for _ in form])
        if len(forms) > 1:
            return None
        for seen, (_, length) in zip(lengths, runs, strict=True):
            seen.append(length)
    ((form, lengths),) = forms.items()
    # One run of letters alone is a word, and one without a digit is no code.
    if "d" not in form:
        return None
    return "^" + "".join(_run(sort, seen) for sort, seen in zip(form, lengths, strict=True)) + "$"


def _sort_of(character: str) -> str:
    if not character.isascii():
        return character
    if character.isdigit():
        return "d"
    if character.isalpha():
        return "u" if character.isupper() else "l"
    return character


def _run(sort: str, lengths: list[int]) -> str:
    # A class is named by one letter, and letters themselves always belong to a class.
    # Only what is special outside of a class is escaped: databases know no other escapes.
    pattern = _CLASSES.get(sort) or (f"\\{sort}" if sort in _SPECIAL else sort)
    low, high = min(lengths), max(lengths)
    if low != high:
        return f"{pattern}{{{low},}}" if low > 1 else f"{pattern}+"
    return pattern if low == 1 else f"{pattern}{{{low}}}"
