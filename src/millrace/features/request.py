"""Which features a caller asks for, by ``view:feature``, and what they are called in the answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

from millrace.core.errors import DataError, MillraceError, did_you_mean
from millrace.features.aggregation import Aggregation
from millrace.features.field import Field
from millrace.features.on_demand import OnDemandView
from millrace.features.service import FeatureService
from millrace.features.view import FeatureView

View: TypeAlias = FeatureView | OnDemandView
One: TypeAlias = str | FeatureView | OnDemandView | FeatureService
Wanted: TypeAlias = One | Sequence[One]
"""``view:feature``, a view or its name for all of its features, or a service for its vector."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One stored feature of one request: `name` is its column in the answer."""

    name: str
    reference: str
    view: FeatureView
    rule: Aggregation


@dataclass(frozen=True, slots=True)
class Computed:
    """One feature of one request that a function works out.

    `inputs` leads from the function's arguments to names among the request's stored features.
    """

    name: str
    reference: str
    view: OnDemandView
    output: str
    inputs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for, resolved.

    Parameters
    ----------
    names : the answer's columns, in the order asked
    references : what each of them is, as ``view:feature``
    stored : features to read; those that are only inputs of functions are called by their reference
    computed : features to work out from these
    """

    names: tuple[str, ...]
    references: tuple[str, ...]
    stored: tuple[Feature, ...]
    computed: tuple[Computed, ...]

    @property
    def fields(self) -> dict[str, Field]:
        """What the rows must bring along for the functions, by column."""
        return {one.name: one for computed in self.computed for one in computed.view.requested.values()}


def resolve(
    views: Mapping[str, View],
    wanted: Wanted,
    *,
    full_feature_names: bool = False,
    taken: Iterable[str] = (),
    services: Mapping[str, FeatureService] = MappingProxyType({}),
) -> Request:
    """The features behind references, in the order asked.

    Parameters
    ----------
    views : mapping of name to view
    wanted : str, view, service, or a sequence of them
    full_feature_names : bool
        Name the answers ``view__feature`` instead of ``feature``.
    taken : iterable of str
        Columns the answer has already.
    services : mapping of name to service
        What may be asked for by its bare name besides a view.

    Raises
    ------
    DataError
        FEAT-01 unknown view, FEAT-02 unknown feature, FEAT-03 nothing asked or not a reference, FEAT-04 two answers
        of one name, FEAT-11 a view that is not the one of its name. All problems of a request at once.
    """
    problems: list[MillraceError] = []
    found: list[tuple[str, str, View, str]] = []
    for reference in references_of(wanted, services, views):
        try:
            found.extend(_expand(views, reference, full_feature_names, services))
        except DataError as problem:
            problems.append(problem)
    if not found and not problems:
        problems.append(DataError("FEAT-03", "no features are asked for", fix='features=["view:feature"]'))
    if not problems:
        problems.extend(_clashes(found, set(taken)))
    stored = [
        Feature(name, ref, view, view.rules[own]) for name, ref, view, own in found if isinstance(view, FeatureView)
    ]
    computed: list[Computed] = []
    for name, reference, view, own in found:
        if isinstance(view, OnDemandView):
            try:
                inputs = _inputs(views, view, stored)
            except DataError as problem:
                problems.append(problem)
            else:
                computed.append(Computed(name, reference, view, own, inputs))
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise DataError(
            problems[0].code, f"{len(problems)} of the features asked for cannot be answered", findings=problems
        )
    names, references = [name for name, *_ in found], [reference for _, reference, *_ in found]
    return Request(tuple(names), tuple(references), tuple(stored), tuple(computed))


def feature_names(view: View) -> Sequence[str]:
    """The names of a view's features, in order."""
    return list(view.rules) if isinstance(view, FeatureView) else list(view.outputs)


def references_of(
    wanted: Wanted, services: Mapping[str, FeatureService], views: Mapping[str, View]
) -> Iterator[str | FeatureView | OnDemandView]:
    """What is asked for without services: theirs stand in their place. A view's name goes before a service's."""
    single = isinstance(wanted, (str, FeatureView, OnDemandView, FeatureService)) or not isinstance(wanted, Iterable)
    for one in [wanted] if single else wanted:  # type: ignore[union-attr]  # narrowed by `single`
        service = services.get(one) if isinstance(one, str) and one not in views else one
        if isinstance(service, FeatureService):
            yield from service.features
        else:
            yield one  # type: ignore[misc]


def _expand(
    views: Mapping[str, View], reference: One, full_names: bool, services: Mapping[str, FeatureService]
) -> list[tuple[str, str, View, str]]:
    if isinstance(reference, (FeatureView, OnDemandView)):
        known = views.get(reference.name)
        if known is not None and known is not reference and known != reference:
            raise DataError(
                "FEAT-11",
                f"view '{reference.name}' is another than the one the store has under that name",
                where=reference.place,
                why=f"the store's is defined at {known.place}",
                fix="make the store anew with the new definition, or give it a name of its own",
            )
        reference = reference.name
    if not isinstance(reference, str) or not reference:
        raise DataError("FEAT-03", f"{reference!r} is not a reference to a feature", fix="write view:feature")
    view_name, _, feature_name = reference.partition(":")
    view = views.get(view_name)
    if view is None:
        names = [*views, *services]
        raise DataError("FEAT-01", f"no feature view '{view_name}' is defined", fix=did_you_mean(view_name, names))
    own = feature_names(view)
    if feature_name and feature_name not in own:
        raise DataError(
            "FEAT-02",
            f"view '{view_name}' has no feature '{feature_name}'",
            where=view.place,
            fix=did_you_mean(feature_name, own),
        )
    return [
        (f"{view_name}__{name}" if full_names else name, f"{view_name}:{name}", view, name)
        for name in ([feature_name] if feature_name else own)
    ]


def _inputs(views: Mapping[str, View], view: OnDemandView, stored: list[Feature]) -> dict[str, str]:
    """Where the function's stored arguments stand; those that nobody asked for yet are added to `stored`."""
    inputs = {}
    for argument, reference in view.stored.items():
        ((_, _, source, own),) = _expand(views, reference, False, {})
        if not isinstance(source, FeatureView):
            raise DataError(
                "FEAT-01",
                f"input '{argument}' of '{view.name}' is '{reference}', itself worked out on demand",
                where=view.place,
                fix="take stored features and fields of the request, and call the other function",
            )
        known = next((feature.name for feature in stored if feature.reference == reference), None)
        if known is None:
            stored.append(Feature(reference, reference, source, source.rules[own]))
        inputs[argument] = known or reference
    return inputs


def _clashes(found: Sequence[tuple[str, str, View, str]], taken: set[str]) -> list[MillraceError]:
    problems: list[MillraceError] = []
    for name, times in Counter(name for name, *_ in found).items():
        references = [reference for own, reference, *_ in found if own == name]
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
