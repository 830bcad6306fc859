"""Audit: the feature values that production served, worked out again from the log as of their own moments."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from millrace.core.clock import from_text, to_text
from millrace.core.errors import DataError, MillraceError
from millrace.core.records import Prediction
from millrace.features.checks.skew import (
    EXAMPLES,
    UNKNOWN,
    FeatureSkew,
    ServedFeature,
    SkewReport,
    is_same,
    measure_skew,
)
from millrace.features.columns import TIME, to_table
from millrace.features.request import Request, View, resolve
from millrace.features.store import FeatureStore
from millrace.features.view import FeatureView
from millrace.flow.bounded_reader import BoundedReader
from millrace.flow.endpoint import GOLDEN_PREFIX
from millrace.flow.pinned_features import pinned_views, pins_of
from millrace.flow.serve import prediction_folder
from millrace.registry.names import split_reference

if TYPE_CHECKING:
    from millrace.flow.wiring import Wiring

SAMPLE = 100_000
_AS_OF = "(as of)"
_MOST_INSTANTS = 50

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class _Column:
    """One feature column of a bundle."""

    place: int
    name: str
    reference: str


def audit_model(
    wiring: Wiring,
    reference: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    sample: int = SAMPLE,
    seed: int = 0,
    limit: float = 0.0,
    environment: str = "production",
    progress: Progress | None = None,
) -> SkewReport:
    """Compare the served features of a model's predictions with the past, and put the report on the record.

    Each version is replayed with the definitions it was trained on. Features that the request brought itself are left
    out; those worked out on demand are worked out again.

    Parameters
    ----------
    reference : str
        ``MODEL`` for all of its versions, ``MODEL:VERSION`` or ``MODEL@ALIAS`` for one.
    since, until : datetime, optional
        Predictions about moments from `since` on, before `until`.
    sample : int
        At most so many predictions, drawn evenly.
    limit : float
        The share of a feature's values that may differ without an alert.

    Raises
    ------
    DataError
        FEAT-65 when nothing was predicted then.
    ModelError
        REG-01 to REG-03 for the reference.
    """
    name, wanted = split_reference(reference)
    newest = wiring.registry.versions(name)[-1]  # which refuses an unknown model
    only = None if wanted is None else wiring.registry.get(newest.model, wanted).version
    predictions = _sampled(_predictions(wiring, environment, name, only, since, until), sample, seed)
    if not predictions:
        raise DataError(
            "FEAT-65",
            f"no prediction of '{reference}' was logged in {environment}"
            + (f" from {to_text(since)}" if since else "")
            + (f" until {to_text(until)}" if until else ""),
            where=str(prediction_folder(wiring, environment, name)),
            fix="choose other times with --since and --until, or another environment with --env",
        )
    by_version: dict[int, list[Prediction]] = {}
    for one in predictions:
        by_version.setdefault(one.version, []).append(one)
    columns: list[ServedFeature] = []
    skipped: dict[str, str] = {}
    for place, (version, rows) in enumerate(sorted(by_version.items())):
        replay = _Replay(wiring, name, version, rows, skipped)
        columns.extend(replay.columns())
        if progress is not None:
            progress(place + 1, len(by_version))
    report = SkewReport(
        model=name,
        features=_merged(measure_skew(columns)),
        predictions=len(predictions),
        limit=limit,
        not_audited=skipped,
        notes=_notes(wiring, columns),
    )
    _record(wiring, reference, environment, since, until, report)
    return report


def _predictions(
    wiring: Wiring, environment: str, model: str, version: int | None, since: datetime | None, until: datetime | None
) -> Iterable[Prediction]:
    from millrace.serving.prediction_log import read_predictions

    folder = prediction_folder(wiring, environment, model)
    for found in read_predictions(folder, start=since, end=until, model=model):
        # Of a request of before `supplied` was noted, a smoke test's is known by its name: it brings everything.
        is_golden = found.supplied is None and found.request_id.startswith(GOLDEN_PREFIX)
        if version in (None, found.version) and not is_golden:
            yield found


def _sampled(predictions: Iterable[Prediction], count: int, seed: int) -> list[Prediction]:
    """At most `count`, drawn evenly, the same ones for the same seed; in the order of their moments."""
    salt = seed.to_bytes(8, "big", signed=True)

    def draw(prediction: Prediction) -> bytes:
        return blake2b(prediction.request_id.encode(errors="replace"), digest_size=8, key=salt).digest()

    return sorted(heapq.nsmallest(count, predictions, key=draw), key=lambda one: (one.event_time, one.request_id))


class _Replay:
    """The predictions of one version, and the past by the definitions it was trained on."""

    def __init__(
        self, wiring: Wiring, model: str, version: int, rows: Sequence[Prediction], skipped: dict[str, str]
    ) -> None:
        self._wiring = wiring
        self._rows = rows
        self._version = wiring.registry.get(model, version)
        manifest = wiring.manifest(self._version.digest)
        self._inputs = [(place, column.name) for place, column in enumerate(manifest.columns) if not column.feature]
        wanted = [
            _Column(place, column.name, column.feature)
            for place, column in enumerate(manifest.columns)
            if column.feature
        ]
        self._problems: dict[str, str] = {}
        self._views = self._pinned()
        self._wanted = [one for one in wanted if self._can_replay(one, skipped)]

    def columns(self) -> list[ServedFeature]:
        """What was served of each feature, and what it should have been."""
        request = resolve(self._views, [one.reference for one in self._wanted]) if self._wanted else None
        names = {one.name for one in self._wanted}
        looked_up = [row for row in self._rows if not names <= set(row.supplied or ())]
        if request is None or not looked_up:
            return [_of(one, [], [], [], supplied=len(self._rows)) for one in self._wanted]
        store = self._store(self._wiring.read)
        table = self._entities(request, looked_up)
        known = self._past(store, table, as_known=True)
        has_created = any(one.view.source.created for one in request.stored)
        complete = self._past(store, table, as_known=False) if has_created else {}
        return [self._column(one, looked_up, table, known[one.reference], complete) for one in self._wanted]

    def _column(
        self,
        one: _Column,
        rows: Sequence[Prediction],
        table: pa.Table,
        known: Sequence[Any],
        complete: Mapping[str, Sequence[Any]],
    ) -> ServedFeature:
        chosen = [place for place, row in enumerate(rows) if one.name not in (row.supplied or ())]
        served = [rows[place].features[one.place] for place in chosen]
        expected = [known[place] for place in chosen]
        different = [
            place for place, value, right in zip(chosen, served, expected, strict=True) if not is_same(value, right)
        ]
        online = self._online(one, rows, table, different)
        return _of(
            one,
            served,
            expected,
            [_place_of(rows[place]) for place in chosen],
            complete=[complete[one.reference][place] for place in chosen] if complete else None,
            online=[online.get(place, UNKNOWN) for place in chosen],
            supplied=len(self._rows) - len(chosen),
        )

    def _online(
        self, one: _Column, rows: Sequence[Prediction], table: pa.Table, places: Sequence[int]
    ) -> dict[int, Any]:
        """What had been materialized when these rows were served, by place; only of stored features."""
        view = self._views[one.reference.partition(":")[0]]
        if not places or not isinstance(view, FeatureView):
            return {}
        ends = _materialized(self._wiring, view)
        groups: dict[datetime, list[int]] = {}
        for place in places:
            done = [end for at, end in ends if at <= rows[place].at]
            if done:
                groups.setdefault(max(done), []).append(place)
        found: dict[int, Any] = {}
        for end, members in sorted(groups.items(), key=lambda group: -len(group[1]))[:_MOST_INSTANTS]:
            store = self._store(BoundedReader(self._wiring.read, end))
            past = store.get_historical_features(
                table.take(members), [one.reference], event_time=_AS_OF, full_feature_names=True
            )
            values = past.to_arrow()[one.reference.replace(":", "__", 1)].to_pylist()
            found.update(zip(members, values, strict=True))
        return found

    def _entities(self, request: Request, rows: Sequence[Prediction]) -> pa.Table:
        """A row per prediction: its key, its moment, and what on-demand features take from the request."""
        keys = dict.fromkeys(key for one in request.stored for key in one.view.keys)
        given = {name: place for place, name in self._inputs}
        columns = {name: [row.key.get(name) for row in rows] for name in keys}
        for name in request.fields:
            if name not in columns:
                columns[name] = [
                    row.key[name] if name in row.key else row.features[given[name]] if name in given else None
                    for row in rows
                ]
        moments = pa.array([from_text(row.event_time) for row in rows], TIME)
        return to_table(columns).append_column(_AS_OF, moments) if columns else pa.table({_AS_OF: moments})

    def _past(self, store: FeatureStore, table: pa.Table, *, as_known: bool) -> dict[str, list[Any]]:
        references = [one.reference for one in self._wanted]
        found = store.get_historical_features(
            table, references, event_time=_AS_OF, as_known=as_known, full_feature_names=True
        ).to_arrow()
        return {reference: found[reference.replace(":", "__", 1)].to_pylist() for reference in references}

    def _store(self, read: Any) -> FeatureStore:
        return self._wiring.features.with_views(list(self._views.values()), read=read)

    def _pinned(self) -> dict[str, View]:
        pins = pins_of(self._version)
        if not pins:
            return dict(self._wiring.project.feature_definitions)
        found: dict[str, View] = {}
        for name, digest in pins.items():
            try:
                found.update(pinned_views(self._wiring, {name: digest}, who=f"v{self._version.version}"))
            except MillraceError as problem:
                self._problems[name] = problem.what
        return found

    def _can_replay(self, one: _Column, skipped: dict[str, str]) -> bool:
        try:
            resolve(self._views, [one.reference])
        except DataError as problem:
            why = self._problems.get(one.reference.partition(":")[0], problem.what)
            skipped.setdefault(one.reference, f"v{self._version.version}: {why}")
            return False
        return True


def _of(
    one: _Column, served: Sequence[Any], known: Sequence[Any], places: Sequence[Mapping[str, Any]], **more: Any
) -> ServedFeature:
    return ServedFeature(one.reference, served, known, places, **more)


def _place_of(row: Prediction) -> dict[str, Any]:
    return {"request_id": row.request_id, "version": row.version, "event_time": row.event_time, "key": dict(row.key)}


def _materialized(wiring: Wiring, view: FeatureView) -> list[tuple[str, datetime]]:
    """When each interval of this definition was done, and where it ended."""
    return [
        (event.at, from_text(event.body["end"]))
        for event in wiring.ledger.events("materialization", view.name)
        if event.body["definition"] == view.digest()
    ]


def _merged(skews: Iterable[FeatureSkew]) -> tuple[FeatureSkew, ...]:
    """One per feature, over all versions."""
    found: dict[str, FeatureSkew] = {}
    for one in skews:
        whole = found.setdefault(one.feature, FeatureSkew(one.feature))
        for name in ("compared", "equal", "late", "different", "stale", "null_on_one_side", "supplied"):
            setattr(whole, name, getattr(whole, name) + getattr(one, name))
        for name in ("largest_absolute", "largest_relative"):
            sizes = [size for size in (getattr(whole, name), getattr(one, name)) if size is not None]
            setattr(whole, name, max(sizes, default=None))
        whole.examples = [*whole.examples, *one.examples][:EXAMPLES]
    return tuple(found.values())


def _notes(wiring: Wiring, columns: Sequence[ServedFeature]) -> tuple[str, ...]:
    names = {column.feature.partition(":")[0] for column in columns}
    views = [wiring.project.views[name] for name in sorted(names) if name in wiring.project.views]
    return tuple(
        f"source '{name}' has no created column: a row that came late to it cannot be told from skew"
        for name in sorted({view.source.name for view in views if view.source.created is None})
    )


def _record(
    wiring: Wiring,
    reference: str,
    environment: str,
    since: datetime | None,
    until: datetime | None,
    report: SkewReport,
) -> None:
    facts = {
        "reference": reference,
        "environment": environment,
        "since": None if since is None else to_text(since),
        "until": None if until is None else to_text(until),
        **report.to_dict(),
    }
    event = wiring.ledger.append("feature_audit", report.model, facts)
    if report.outcome != "different":
        return
    worst = max(report.features, key=lambda one: one.share)
    wiring.alert(
        f"feature_audit:{report.model}:{event.seq}",
        "critical",
        report.model,
        f"'{report.model}' was served other feature values than were known: {', '.join(report.skewed)}",
        f"{worst.different:,} of {worst.compared:,} values of {worst.feature} differ ({worst.stale:,} were not online "
        f"yet); predictions about these rows were made on the wrong inputs",
        facts,
    )
