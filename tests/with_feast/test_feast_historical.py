"""Point-in-time joins through Feast: 64 cases on Millrace's offline store, and on Feast's own where Feast is right."""

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import feast
import numpy as np
import pandas as pd
import pytest
from feast import types
from feast.value_type import ValueType

from millrace.core.errors import MillraceError

T = datetime(2024, 6, 1, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SECOND, TICK = timedelta(seconds=1), timedelta(microseconds=1)


@dataclass
class View:
    """One feature view of a case: its log as rows, and how it is declared."""

    log: list
    ttl: timedelta | None = DAY
    keys: tuple = ("k",)
    kinds: dict = field(default_factory=lambda: {"x": types.Int64})
    created: bool = False
    mapping: dict = field(default_factory=dict)
    name: str = "v"
    key_types: dict = field(default_factory=dict)


@dataclass
class Case:
    """Rows that ask, the views they ask, and the answers by feature in the order of the rows."""

    rows: list
    views: list
    expected: dict
    features: list | None = None
    options: dict = field(default_factory=dict)
    feast_is_right: bool = True


def log(*rows, **more):
    """Rows of key, time and value."""
    return [{"k": key, "event_timestamp": at, "x": value, **more} for key, at, value in rows]


def ask(*rows):
    return [{"k": key, "event_timestamp": at} for key, at in rows]


def known(*rows):
    """Rows of key, time, value and created time."""
    return [{"k": key, "event_timestamp": at, "x": value, "created": created} for key, at, value, created in rows]


BIG = 2**53 + 1
TWINS = ZoneInfo("America/New_York")

CASES = {
    "an event at the moment asked counts": Case(ask((1, T)), [View(log((1, T, 5)))], {"x": [5]}),
    "an event a microsecond later does not": Case(ask((1, T)), [View(log((1, T + TICK, 5)))], {"x": [None]}),
    "an event exactly ttl old counts": Case(ask((1, T)), [View(log((1, T - DAY, 5)))], {"x": [5]}),
    "an event a microsecond older does not": Case(ask((1, T)), [View(log((1, T - DAY - TICK, 5)))], {"x": [None]}),
    "no ttl is no limit": Case(ask((1, T)), [View(log((1, T - 4000 * DAY, 5)), ttl=None)], {"x": [5]}),
    "a ttl of zero is no limit": Case(ask((1, T)), [View(log((1, T - 4000 * DAY, 5)), ttl=timedelta(0))], {"x": [5]}),
    "the newest of several events counts": Case(
        ask((1, T)), [View(log((1, T - 3 * HOUR, 1), (1, T - HOUR, 3), (1, T - 2 * HOUR, 2)))], {"x": [3]}
    ),
    "of one time the later created counts": Case(
        ask((1, T)), [View(known((1, T - HOUR, 1, T - HOUR), (1, T - HOUR, 2, T - SECOND)), created=True)], {"x": [2]}
    ),
    "wherever it stands in the file": Case(
        ask((1, T)), [View(known((1, T - HOUR, 2, T - SECOND), (1, T - HOUR, 1, T - HOUR)), created=True)], {"x": [2]}
    ),
    "of one time without created the last written counts": Case(
        ask((1, T)), [View(log((1, T - HOUR, 1), (1, T - HOUR, 2)))], {"x": [2]}, feast_is_right=False
    ),
    "what was created later counts by default": Case(
        ask((1, T)), [View(known((1, T - 2 * HOUR, 1, T - HOUR), (1, T - HOUR, 2, T + HOUR)), created=True)], {"x": [2]}
    ),
    "what was created later is hidden on request": Case(
        ask((1, T)),
        [View(known((1, T - 2 * HOUR, 1, T - HOUR), (1, T - HOUR, 2, T + HOUR)), created=True)],
        {"x": [1]},
        options={"filter_by_created_timestamp": True},
    ),
    "what has no created time is hidden on request": Case(
        ask((1, T)),
        [View(known((1, T - 2 * HOUR, 1, T - HOUR), (1, T - HOUR, 2, None)), created=True)],
        {"x": [1]},
        options={"filter_by_created_timestamp": True},
    ),
    "a row whose candidates are all hidden stays": Case(
        ask((1, T), (2, T)),
        [View(known((1, T - HOUR, 1, T + HOUR), (2, T - HOUR, 2, T - HOUR)), created=True)],
        {"x": [None, 2]},
        options={"filter_by_created_timestamp": True},
    ),
    "a row whose events all lie ahead stays": Case(
        ask((1, T), (2, T)), [View(log((1, T + HOUR, 1), (2, T, 2)))], {"x": [None, 2]}
    ),
    "a row whose events all expired stays": Case(
        ask((1, T), (2, T)), [View(log((1, T - 3 * DAY, 1), (2, T, 2)))], {"x": [None, 2]}
    ),
    "a row of an unknown key stays": Case(ask((9, T), (1, T)), [View(log((1, T, 1)))], {"x": [None, 1]}),
    "equal rows with other labels stay apart": Case(
        [{**one, "label": label} for label in (0, 1) for one in ask((1, T))],
        [View(log((1, T, 1)))],
        {"x": [1, 1], "label": [0, 1]},
    ),
    "a view that expired leaves another's values": Case(
        ask((1, T)),
        [
            View(log((1, T - 3 * DAY, 1))),
            View([{"k": 1, "event_timestamp": T, "y": 7}], name="w", kinds={"y": types.Int64}),
        ],
        {"x": [None], "y": [7]},
    ),
    "a view without keys has one value for all": Case(
        ask((1, T), (2, T - HOUR)),
        [View([{"event_timestamp": T - 2 * HOUR, "x": 1}, {"event_timestamp": T, "x": 2}], keys=())],
        {"x": [2, 1]},
    ),
    "rows of one time stay apart in a view without keys": Case(
        ask((1, T), (2, T), (1, T)), [View([{"event_timestamp": T, "x": 2}], keys=())], {"x": [2, 2, 2], "k": [1, 2, 1]}
    ),
    "a large integer beside nulls is exact": Case(ask((1, T), (2, T)), [View(log((1, T, BIG)))], {"x": [BIG, None]}),
    "a newest value that is null is null": Case(
        ask((1, T)), [View(log((1, T - HOUR, 1), (1, T, None)))], {"x": [None]}
    ),
    "an event without time is none": Case(ask((1, T)), [View(log((1, T - HOUR, 1), (1, None, 2)))], {"x": [1]}),
    "a row without key has no values": Case(ask((None, T), (1, T)), [View(log((1, T, 1)))], {"x": [None, 1]}),
    "a naive time is in UTC": Case(
        ask((1, T.replace(tzinfo=None))), [View(log((1, T, 5), (1, T + HOUR, 6)))], {"x": [5]}
    ),
    "a time of another zone is the same moment": Case(
        ask((1, T.astimezone(timezone(timedelta(hours=-7))))), [View(log((1, T, 5), (1, T + HOUR, 6)))], {"x": [5]}
    ),
    "the two hours of a clock set back are apart": Case(
        ask((1, datetime(2024, 11, 3, 1, 30, tzinfo=TWINS)), (1, datetime(2024, 11, 3, 1, 30, fold=1, tzinfo=TWINS))),
        [View(log((1, datetime(2024, 11, 3, 5, 0, tzinfo=UTC), 1), (1, datetime(2024, 11, 3, 6, 0, tzinfo=UTC), 2)))],
        {"x": [1, 2]},
    ),
    "no rows ask": Case([], [View(log((1, T, 1)))], {"x": []}),
    "a column of the rows may have a name of the source's": Case(
        [{**one, "extra": 8} for one in ask((1, T))],
        [View([{**one, "extra": 3} for one in log((1, T, 1))])],
        {"x": [1], "extra": [8]},
    ),
    "rows come back in their order": Case(
        ask((3, T), (1, T - HOUR), (2, T), (1, T), (3, T - 2 * HOUR)),
        [View(log((1, T - DAY, 1), (2, T - DAY, 2), (3, T - HOUR, 3)))],
        {"x": [3, 1, 2, 1, None], "k": [3, 1, 2, 1, 3]},
    ),
    "keys may be texts": Case(
        ask(("b", T), ("a", T), ("", T)),
        [View(log(("a", T, 1), ("", T, 3)), key_types={"k": types.String})],
        {"x": [None, 1, 3]},
    ),
    "two keys are both compared": Case(
        [{"k": 1, "m": m, "event_timestamp": T} for m in (1, 2, 3)],
        [View([{"k": 1, "m": m, "event_timestamp": T, "x": 10 * m} for m in (2, 1)], keys=("k", "m"))],
        {"x": [10, 20, None]},
    ),
    "keys that read alike side by side are apart": Case(
        [{"k": a, "m": b, "event_timestamp": T} for a, b in (("1", "11"), ("11", "1"))],
        [
            View(
                [
                    {"k": "1", "m": "11", "event_timestamp": T, "x": 1},
                    {"k": "11", "m": "1", "event_timestamp": T, "x": 2},
                ],
                keys=("k", "m"),
                key_types={"k": types.String, "m": types.String},
            )
        ],
        {"x": [1, 2]},
    ),
    "a mapped column has its new name": Case(
        ask((1, T)),
        [View([{"k": 1, "event_timestamp": T, "old": 4}], mapping={"old": "x"})],
        {"x": [4]},
    ),
    "a mapped key is compared": Case(
        ask((1, T)),
        [View([{"old": 1, "event_timestamp": T, "x": 4}], mapping={"old": "k"})],
        {"x": [4]},
    ),
    "full names carry the view's": Case(
        ask((1, T)), [View(log((1, T, 4)))], {"v__x": [4]}, options={"full_feature_names": True}
    ),
    "texts come back": Case(
        ask((1, T), (2, T)), [View(log((1, T, "ä")), kinds={"x": types.String})], {"x": ["ä", None]}
    ),
    "floats come back": Case(
        ask((1, T), (2, T)), [View(log((1, T, 0.1)), kinds={"x": types.Float64})], {"x": [0.1, None]}
    ),
    "bools come back": Case(
        ask((1, T), (2, T)), [View(log((1, T, True)), kinds={"x": types.Bool})], {"x": [True, None]}
    ),
    "lists come back": Case(
        ask((1, T), (2, T)), [View(log((1, T, [1, 2])), kinds={"x": types.Array(types.Int64)})], {"x": [[1, 2], None]}
    ),
    "two features of one row stay together": Case(
        ask((1, T), (2, T)),
        [
            View(
                [
                    {"k": 1, "event_timestamp": T - HOUR, "x": 1, "y": 2},
                    {"k": 1, "event_timestamp": T, "x": None, "y": 3},
                ],
                kinds={"x": types.Int64, "y": types.Int64},
            )
        ],
        {"x": [None, None], "y": [3, None]},
    ),
    "features come in the order asked": Case(
        ask((1, T)),
        [View([{"k": 1, "event_timestamp": T, "x": 1, "y": 2}], kinds={"x": types.Int64, "y": types.Int64})],
        {"x": [1], "y": [2]},
        features=["v:y", "v:x"],
    ),
    "two views of different keys are both joined": Case(
        [{"k": 1, "m": "a", "event_timestamp": T}],
        [
            View(log((1, T, 1))),
            View(
                [{"m": "a", "event_timestamp": T, "y": 2}],
                name="w",
                keys=("m",),
                kinds={"y": types.Int64},
                key_types={"m": types.String},
            ),
        ],
        {"x": [1], "y": [2]},
    ),
}


def fuzz(seed):
    """Random keys, times, ties and nulls; each answer worked out one by one."""
    draw = random.Random(seed)
    ttl = draw.choice([None, 2 * HOUR, DAY])
    events = [
        {
            "k": draw.randint(1, 4),
            "event_timestamp": T - draw.randint(0, 40) * HOUR,
            "x": draw.choice([None, draw.randint(0, 9)]),
            "created": T - draw.randint(0, 10**6) * SECOND,
        }
        for _ in range(draw.randint(1, 40))
    ]
    rows = ask(*((draw.randint(1, 5), T - draw.randint(0, 40) * HOUR) for _ in range(20)))

    def answer(row):
        seen = [one for one in events if one["k"] == row["k"] and one["event_timestamp"] <= row["event_timestamp"]]
        if not seen:
            return None
        newest = max(seen, key=lambda one: (one["event_timestamp"], one["created"]))
        is_fresh = ttl is None or row["event_timestamp"] - newest["event_timestamp"] <= ttl
        return newest["x"] if is_fresh else None

    return Case(rows, [View(events, ttl=ttl, created=True)], {"x": [answer(row) for row in rows]})


CASES |= {f"random log {seed}": fuzz(seed) for seed in range(20)}
KEY_TYPES = {types.Int64: ValueType.INT64, types.String: ValueType.STRING}


def test_there_are_64_cases():
    assert len(CASES) == 64


def apply_case(repository, case, kind):
    definitions, references = {}, []
    for view in case.views:
        path = repository.write(view.name, _frame(view))
        source = feast.FileSource(
            name=f"{view.name}_log",
            path=path,
            timestamp_field="event_timestamp",
            created_timestamp_column="created" if view.created else "",
            field_mapping=view.mapping,
        )
        entities = []
        for key in view.keys:
            value_type = KEY_TYPES[view.key_types.get(key, types.Int64)]
            definitions.setdefault(key, feast.Entity(name=key, join_keys=[key], value_type=value_type))
            entities.append(definitions[key])
        schema = [feast.Field(name=key, dtype=view.key_types.get(key, types.Int64)) for key in view.keys]
        schema += [feast.Field(name=name, dtype=kind) for name, kind in view.kinds.items()]
        definitions[source.name] = source
        definitions[view.name] = feast.FeatureView(
            name=view.name, entities=entities, ttl=view.ttl, schema=schema, source=source
        )
        references += [f"{view.name}:{name}" for name in view.kinds]
    return repository.open(kind, *definitions.values()), case.features or references


def _frame(view):
    frame = pd.DataFrame(view.log)
    for name, dtype in view.kinds.items():
        if dtype == types.Int64 and name in frame:
            frame[name] = frame[name].astype("Int64")
    return frame


def _rows(case):
    if not case.rows:
        return pd.DataFrame({"k": pd.array([], "int64"), "event_timestamp": pd.array([], "datetime64[us, UTC]")})
    frame = pd.DataFrame(case.rows)
    if frame["k"].isna().any():
        frame["k"] = frame["k"].astype("Int64")
    moments = frame["event_timestamp"]
    if moments.dtype == object:
        moments = pd.to_datetime(moments, utc=True)
    frame["event_timestamp"] = moments.astype(f"datetime64[us{', UTC' if moments.dt.tz is not None else ''}]")
    return frame


def answers(repository, case, kind):
    store, references = apply_case(repository, case, kind)
    table = store.get_historical_features(_rows(case), references, **case.options).to_arrow()
    return table.to_pydict()


@pytest.mark.parametrize("name", CASES)
def test_every_row_comes_back_in_its_order_with_the_right_values(repository, name):
    case = CASES[name]

    found = answers(repository, case, "millrace")

    assert {name: found[name] for name in case.expected} == case.expected
    assert len(found["event_timestamp"]) == len(case.rows)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.feast_is_right])
def test_feasts_duckdb_store_agrees_but_for_the_order(repository, name):
    case = CASES[name]
    numbered = Case(
        [{**row, "row": number} for number, row in enumerate(case.rows)],
        case.views,
        case.expected,
        case.features,
        case.options,
    )
    store, references = apply_case(repository, numbered, "duckdb")

    frame = store.get_historical_features(_rows(numbered), references, **case.options).to_arrow().to_pydict()

    order = np.argsort(frame["row"]) if case.rows else []
    assert {name: [frame[name][place] for place in order] for name in case.expected} == case.expected


LOST = [
    "a row whose events all lie ahead stays",
    "a row whose events all expired stays",
    "equal rows with other labels stay apart",
    "a view that expired leaves another's values",
    "rows of one time stay apart in a view without keys",
]


@pytest.mark.parametrize("name", LOST)
def test_feasts_default_store_loses_rows_there(repository, name):
    """What docs/feast.md says of Feast's file store: if this fails, Feast has changed and the page must too."""
    case = CASES[name]

    found = answers(repository, case, "file")

    assert len(found["event_timestamp"]) < len(case.rows)


def test_the_pandas_answer_has_feasts_types_unless_they_would_change_a_number(repository):
    rows = [
        {"k": 1, "event_timestamp": T, "x": 7, "y": BIG},
        {"k": 2, "event_timestamp": T, "x": 8, "y": 1},
    ]
    case = Case(
        ask((1, T), (9, T)),
        [View(rows, kinds={"x": types.Int64, "y": types.Int64})],
        {},
    )
    store, references = apply_case(repository, case, "millrace")

    frame = store.get_historical_features(_rows(case), references).to_df()

    assert frame["x"].dtype == np.float64
    assert str(frame["y"].dtype) == "Int64"
    assert frame["y"][0] == BIG


def test_two_aliases_of_one_view_are_two_features(repository):
    view = View([{"k": 1, "event_timestamp": T, "x": 1}, {"k": 2, "event_timestamp": T, "x": 2}])
    store, _ = apply_case(repository, Case([], [view], {}), "millrace")
    declared = store.get_feature_view("v")
    service = feast.FeatureService(
        name="pair",
        features=[
            declared.with_name("one").with_join_key_map({"k": "first"}),
            declared.with_name("other").with_join_key_map({"k": "second"}),
        ],
    )
    store.apply(service)
    rows = pd.DataFrame({"first": [1, 2, 9], "second": [2, 9, 1], "event_timestamp": [T] * 3})

    found = store.get_historical_features(rows, store.get_feature_service("pair"), full_feature_names=True).to_arrow()

    assert found["one__x"].to_pylist() == [1, 2, None]
    assert found["other__x"].to_pylist() == [2, None, 1]


def test_a_missing_key_column_is_named(repository):
    store, references = apply_case(repository, Case([], [View(log((1, T, 1)))], {}), "millrace")

    with pytest.raises(MillraceError) as caught:
        store.get_historical_features(pd.DataFrame({"kk": [1], "event_timestamp": [T]}), references).to_df()

    assert caught.value.code == "FEAST-08"
    assert "'k'" in caught.value.what


def test_keys_of_another_type_than_the_source_are_refused(repository):
    store, references = apply_case(repository, Case([], [View(log((1, T, 1)))], {}), "millrace")

    with pytest.raises(MillraceError) as caught:
        store.get_historical_features(pd.DataFrame({"k": ["1"], "event_timestamp": [T]}), references).to_df()

    assert caught.value.code == "FEAT-07"


def test_a_source_that_lost_columns_names_them_all(repository):
    view = View(log((1, T, 1)), kinds={"x": types.Int64})
    store, references = apply_case(repository, Case([], [view], {}), "millrace")
    repository.write("v", [{"kk": 1, "event_timestamp": T, "y": 1}])

    with pytest.raises(MillraceError) as caught:
        store.get_historical_features(pd.DataFrame({"k": [1], "event_timestamp": [T]}), references).to_df()

    assert caught.value.code == "FEAST-05"
    assert {one.what for one in caught.value.findings} == {
        "the source 'v_log' has no column 'k'",
        "the source 'v_log' has no column 'x'",
    }


def test_a_missing_file_is_named(repository):
    store, references = apply_case(repository, Case([], [View(log((1, T, 1)))], {}), "millrace")
    (repository.path / "data" / "v.parquet").unlink()

    with pytest.raises(MillraceError) as caught:
        store.get_historical_features(pd.DataFrame({"k": [1], "event_timestamp": [T]}), references).to_df()

    assert caught.value.code == "FEAST-04"
    assert "v.parquet" in (caught.value.where or "")
