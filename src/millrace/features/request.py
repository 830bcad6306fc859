"""Which features a caller asks for, by ``view:feature``, and what they are called in the answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from millrace.core.errors import DataError, MillraceError, did_you_mean
from millrace.features.aggregation import Aggregation
from millrace.features.view import FeatureView


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature of one request: `name` is its column in the answer."""

    name: str
    reference: str
    view: FeatureView
    rule: Aggregation


def resolve(
    views: Mapping[str, FeatureView],
    wanted: Sequence[str | FeatureView],
    *,
    full_feature_names: bool = False,
    taken: Iterable[str] = (),
) -> list[Feature]:
    """The features behind references, in the order asked.

    Parameters
    ----------
    views : mapping of name to FeatureView
    wanted : sequence of str or FeatureView
        ``view:feature``; a view or its bare name means all of its features.
    full_feature_names : bool
        Name the answers ``view__feature`` instead of ``feature``.
    taken : iterable of str
        Columns the answer has already.

    Raises
    ------
    DataError
        FEAT-01 unknown view, FEAT-02 unknown feature, FEAT-03 nothing asked or not a reference, FEAT-04 two answers
        of one name. All problems of a request at once.
    """
    problems: list[MillraceError] = []
    found: list[Feature] = []
    for reference in [wanted] if isinstance(wanted, (str, FeatureView)) else list(wanted):
        try:
            found.extend(_expand(views, reference, full_feature_names))
        except DataError as problem:
            problems.append(problem)
    if not found and not problems:
        problems.append(DataError("FEAT-03", "no features are asked for", fix='features=["view:feature"]'))
    if not problems:
        problems.extend(_clashes(found, set(taken)))
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise DataError(
            problems[0].code, f"{len(problems)} of the features asked for cannot be answered", findings=problems
        )
    return found


def _expand(views: Mapping[str, FeatureView], reference: str | FeatureView, full_names: bool) -> list[Feature]:
    if isinstance(reference, FeatureView):
        reference = reference.name
    if not isinstance(reference, str) or not reference:
        raise DataError("FEAT-03", f"{reference!r} is not a reference to a feature", fix="write view:feature")
    view_name, _, feature_name = reference.partition(":")
    view = views.get(view_name)
    if view is None:
        raise DataError("FEAT-01", f"no feature view '{view_name}' is defined", fix=did_you_mean(view_name, views))
    rules = view.rules
    if feature_name and feature_name not in rules:
        raise DataError(
            "FEAT-02",
            f"view '{view_name}' has no feature '{feature_name}'",
            where=view.place,
            fix=did_you_mean(feature_name, rules),
        )
    names = [feature_name] if feature_name else list(rules)
    return [
        Feature(f"{view_name}__{name}" if full_names else name, f"{view_name}:{name}", view, rules[name])
        for name in names
    ]


def _clashes(found: Sequence[Feature], taken: set[str]) -> list[MillraceError]:
    problems: list[MillraceError] = []
    for name, times in Counter(feature.name for feature in found).items():
        references = [feature.reference for feature in found if feature.name == name]
        if times > 1 and len(set(references)) > 1:
            problems.append(
                DataError(
                    "FEAT-04",
                    f"{' and '.join(references)} would both be called '{name}'",
                    fix="full_feature_names=True names them view__feature",
                )
            )
        elif times > 1:
            problems.append(DataError("FEAT-04", f"{references[0]} is asked for {times} times", fix="ask once"))
        elif name in taken:
            problems.append(
                DataError(
                    "FEAT-04",
                    f"the rows already have a column '{name}', the name of {references[0]}",
                    fix="drop or rename that column, or full_feature_names=True",
                )
            )
    return problems
