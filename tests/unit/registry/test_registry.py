"""Versions never change, aliases move once for everybody, and the tracker is told of both."""

import multiprocessing
from datetime import UTC, datetime

import pytest

from millrace.core.clock import ManualClock
from millrace.core.errors import Conflict, ModelError, ProjectError
from millrace.registry.names import split_reference
from millrace.registry.registry import Registry
from millrace.store.ledger import Ledger


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/ledger.db"


@pytest.fixture
def ledger(url):
    ledger = Ledger.open(url, ManualClock(datetime(2024, 1, 1, tzinfo=UTC)))
    yield ledger
    ledger.close()


@pytest.fixture
def registry(ledger):
    return Registry(ledger)


def register(registry, run="r1", model="churn", digest="d1"):
    return registry.register(
        model,
        digest=digest,
        golden="g",
        run_id=run,
        metrics={"accuracy": 0.9},
        parameters={"C": 1},
        lineage={"commit": "abc"},
        files={"model": "f1"},
        key=run,
    )


def test_versions_count_up_for_each_model(registry):
    numbers = [register(registry, f"r{n}").version for n in (1, 2, 3)]
    other = register(registry, "r1", model="price").version

    assert numbers == [1, 2, 3]
    assert other == 1
    assert registry.models() == ["churn", "price"]


def test_a_run_that_registers_twice_gets_the_same_version(registry, ledger):
    first = register(registry)
    again = register(registry)

    assert first == again
    assert len(registry.versions("churn")) == 1
    assert len(ledger.outbox.pending("tracker")) == 1


def test_a_run_cannot_change_the_bundle_of_its_version(registry):
    register(registry, digest="a" * 64)
    with pytest.raises(Conflict) as caught:
        register(registry, digest="b" * 64)

    assert caught.value.code == "REG-04"


@pytest.mark.parametrize("ref", [2, "2", "v2", "champion"])
def test_a_version_is_found_by_number_and_by_alias(registry, ref):
    register(registry, "r1")
    wanted = register(registry, "r2")
    register(registry, "r3")
    registry.move_alias("churn", "champion", 2, reason="best")

    assert wanted == registry.get("churn", ref)


@pytest.mark.parametrize(
    ("model", "ref", "code", "fix"),
    [
        ("chrun", 1, "REG-01", "did you mean 'churn'?"),
        ("churn", 9, "REG-02", "did you mean v1?"),
        ("churn", 0, "REG-02", "did you mean v1?"),
        ("churn", "v7", "REG-02", "did you mean v1?"),
        ("churn", "champoin", "REG-03", "did you mean 'champion'?"),
    ],
)
def test_what_is_not_there_names_the_nearest(registry, model, ref, code, fix):
    register(registry)
    registry.move_alias("churn", "champion", 1, reason="first")
    with pytest.raises(ModelError) as caught:
        registry.get(model, ref)

    assert (code, True) == (caught.value.code, caught.value.fix.startswith(fix))
    assert registry.find(model, ref) is None


@pytest.mark.parametrize("name", ["v7", "latest", "", "a/b", "7", "a b", "a@b"])
def test_a_name_that_could_be_misread_is_refused(registry, name):
    register(registry)
    with pytest.raises(ProjectError) as caught:
        registry.move_alias("churn", name, 1, reason="x")

    assert caught.value.code == "REG-05"


def test_alias_history_keeps_every_move_with_its_reason(registry):
    register(registry, "r1")
    register(registry, "r2")
    registry.move_alias("churn", "champion", 1, reason="first")
    registry.move_alias("churn", "challenger", 2, reason="candidate")
    registry.move_alias("churn", "champion", 2, reason="better")

    history = registry.alias_history("churn", "champion")

    assert [(move.version, move.previous, move.generation, move.reason) for move in history] == [
        (1, None, 1, "first"),
        (2, 1, 2, "better"),
    ]
    assert sorted(m.alias for m in registry.alias_history("churn")) == ["challenger", "champion", "champion"]
    assert history[-1] == registry.find_alias("churn", "champion")
    assert [alias.alias for alias in registry.aliases("churn")] == ["challenger", "champion"]


def test_a_move_with_a_key_happens_once(registry):
    register(registry, "r1")
    register(registry, "r2")
    first = registry.move_alias("churn", "champion", 1, reason="run", key="run-1")
    registry.move_alias("churn", "champion", 2, reason="later", key="run-2")
    again = registry.move_alias("churn", "champion", 1, reason="run", key="run-1")

    assert first == again
    assert registry.get("churn", "champion").version == 2


def test_a_move_from_an_old_generation_is_refused_and_writes_nothing(registry, ledger):
    register(registry, "r1")
    register(registry, "r2")
    registry.move_alias("churn", "champion", 1, reason="first", expected_generation=0)
    before = len(ledger.events())
    with pytest.raises(Conflict) as caught:
        registry.move_alias("churn", "champion", 2, reason="late", expected_generation=0)

    assert caught.value.code == "LEDGER-01"
    assert before == len(ledger.events())


def test_an_alias_cannot_point_at_a_version_that_is_not_there(registry):
    register(registry)
    with pytest.raises(ModelError) as caught:
        registry.move_alias("churn", "champion", 2, reason="x")

    assert caught.value.code == "REG-02"


def test_the_tracker_is_told_in_order(registry, ledger):
    register(registry)
    registry.move_alias("churn", "champion", 1, reason="first")

    messages = ledger.outbox.pending("tracker")

    assert [(message.body["kind"], message.key) for message in messages] == [
        ("version", "version:churn:1"),
        ("alias", "alias:churn@champion:1"),
    ]
    assert messages[0].body["digest"] == "d1"


@pytest.mark.parametrize(
    ("text", "parts"),
    [("churn:7", ("churn", "7")), ("churn@champion", ("churn", "champion")), ("churn", ("churn", None))],
)
def test_a_reference_names_a_model_and_perhaps_a_version(text, parts):
    assert parts == split_reference(text)


def _race(url, version, barrier, results):
    registry = Registry(Ledger.open(url))
    barrier.wait()
    try:
        registry.move_alias("churn", "champion", version, reason="race", expected_generation=0)
        results.put(("won", version))
    except Conflict as conflict:
        results.put((conflict.code, version))


def test_of_processes_racing_for_an_alias_exactly_one_wins(registry, url):
    versions = [register(registry, f"r{n}").version for n in range(4)]
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(4), context.Queue()
    racers = [context.Process(target=_race, args=(url, version, barrier, results)) for version in versions]
    for racer in racers:
        racer.start()
    outcomes = [results.get(timeout=60) for _ in racers]
    for racer in racers:
        racer.join(60)
    results.close()
    results.join_thread()

    winners = [version for outcome, version in outcomes if outcome == "won"]
    assert len(winners) == 1
    assert [outcome for outcome, _ in outcomes if outcome != "won"] == ["LEDGER-01"] * 3
    assert winners[0] == registry.get("churn", "champion").version
    assert len(registry.alias_history("churn")) == 1
