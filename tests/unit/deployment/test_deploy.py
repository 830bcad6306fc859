"""A deploy ends in one of four ways, and ends the same way however often it is killed on the road."""

from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from millrace.core.clock import ManualClock
from millrace.core.errors import ServiceError
from millrace.core.records import ModelVersion
from millrace.deployment.deploy import Target, deploy
from millrace.deployment.direct import Direct
from millrace.deployment.quarantine import find_quarantine
from millrace.deployment.releases import Releases
from millrace.deployment.smoke import Golden
from millrace.store.ledger import Ledger
from millrace.store.sqlite import SqliteDatabase

GOLDEN = Golden([{"inputs": {"x": 1.0}}], [{"output": "UP", "scores": [0.25, 0.75]}])
CLOCK = ManualClock(datetime(2024, 1, 1, tzinfo=UTC))


class Killed(BaseException):
    """The process is gone."""


class Fuse:
    """Kills at the n-th place it is asked; never when n is None."""

    def __init__(self, n=None):
        self.left = n

    def __call__(self):
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Killed


class FusedDatabase(SqliteDatabase):
    """Dies before a transaction begins, before it commits, or after it has committed."""

    fuse = staticmethod(Fuse())

    @contextmanager
    def transaction(self):
        self.fuse()
        with super().transaction() as session:
            yield session
            self.fuse()
        self.fuse()


class Endpoint:
    """An environment's live server: it runs whatever its environment's current release says."""

    def __init__(self, environment, fuse, *, wrong=(), silent=(), gone=()):
        self.environment, self.fuse, self.wrong, self.silent, self.gone = environment, fuse, wrong, silent, gone
        self.releases = None
        self.asked = []

    def await_digest(self, digest, timeout_s):
        self.fuse()
        self.asked.append(digest)
        release = self.releases.current(self.environment, "churn")
        return release is not None and release.digest == digest and digest not in self.silent

    def post(self, request):
        self.fuse()
        release = self.releases.current(self.environment, "churn")
        if release.digest in self.gone:
            raise ServiceError("SERVE-32", "the server does not answer")
        output = "DOWN" if release.digest in self.wrong else "UP"
        return {"output": output, "scores": [0.25, 0.75], "version": release.version, "digest": release.digest}

    def target(self):
        return Target(self.environment, self.await_digest, self.post, timeout_s=1.0)


class World:
    """A ledger with two environments, in one process that may be killed and started again."""

    def __init__(self, path, **faults):
        self.path = path
        self.faults = faults
        self.alerts = {}
        self.start()

    def start(self, fuse=None):
        self.fuse = fuse or Fuse()
        database = FusedDatabase(self.path)
        self.ledger = Ledger(database, CLOCK)
        database.fuse = self.fuse
        self.releases = Releases(self.ledger)
        self.endpoints = [Endpoint(name, self.fuse, **self.faults.get(name, {})) for name in ("staging", "production")]
        for endpoint in self.endpoints:
            endpoint.releases = self.releases

    def deploy(self, number, run_key=None):
        version = ModelVersion("churn", number, f"d{number}", "g", f"r{number}", "2024-01-01T00:00:00Z")
        return deploy(
            version,
            environments=[endpoint.target() for endpoint in self.endpoints],
            golden=GOLDEN,
            releases=self.releases,
            strategy=Direct(),
            run_key=run_key or f"run-{number}",
            alert=self.alert,
        )

    def alert(self, alert):
        self.fuse()
        self.alerts[alert.key] = alert

    def running(self):
        found = [self.releases.current(endpoint.environment, "churn") for endpoint in self.endpoints]
        return [None if release is None else release.version for release in found]

    def end_state(self):
        """Everything durable but sequence numbers and hashes, which a repeated attempt may not change either."""
        events = [(e.kind, e.subject, e.key, _without_latency(e.body)) for e in self.ledger.events()]
        states = [
            (kind, s.key, s.value, s.generation)
            for kind in ("release", "quarantine_model")
            for s in self.ledger.states(kind)
        ]
        return events, states, sorted(self.alerts)


def _without_latency(value):
    if isinstance(value, dict):
        return {k: _without_latency(v) for k, v in value.items() if k not in ("latency_ms", "reason")}
    if isinstance(value, list):
        return [_without_latency(v) for v in value]
    return value


@pytest.fixture
def make_world(tmp_path):
    worlds = []

    def make(name="ledger", **faults):
        worlds.append(World(tmp_path / f"{name}.db", **faults))
        return worlds[-1]

    yield make
    for world in worlds:
        world.ledger.close()


def test_a_good_version_reaches_staging_then_production(make_world):
    world = make_world()
    result = world.deploy(1)

    assert (result.outcome, result.environment) == ("deployed", None)
    assert [(r.environment, r.version) for r in result.releases] == [("staging", 1), ("production", 1)]
    assert [verdict.outcome for verdict in result.verdicts] == ["pass", "pass"]
    assert world.running() == [1, 1]
    assert world.alerts == {}
    assert len(world.ledger.events("decision", "churn")) == 2


def test_a_failing_smoke_test_in_staging_leaves_production_untouched(make_world):
    world = make_world(staging={"wrong": ("d2",)})
    world.deploy(1)
    result = world.deploy(2)

    assert (result.outcome, result.environment) == ("rolled back", "staging")
    assert "output 'DOWN' instead of 'UP'" in result.reason
    assert world.running() == [1, 1]
    assert len(world.releases.history("production", "churn")) == 1
    assert find_quarantine(world.ledger, "d2") is not None
    (alert,) = world.alerts.values()
    assert (alert.severity, alert.subject) == ("critical", "churn")
    assert "rolled back to v1" in alert.text
    assert world.endpoints[0].asked[-1] == "d1"  # it waited for the version that was put back


def test_a_failing_smoke_test_in_production_rolls_production_back(make_world):
    world = make_world(production={"wrong": ("d2",)})
    world.deploy(1)
    result = world.deploy(2)

    assert (result.outcome, result.environment) == ("rolled back", "production")
    assert [release.environment for release in result.releases] == ["staging"]
    assert world.running() == [2, 1]


def test_a_first_release_that_fails_is_withdrawn(make_world):
    world = make_world(staging={"wrong": ("d1",)})
    result = world.deploy(1)

    assert result.outcome == "rolled back"
    assert world.running() == [None, None]
    assert [event.kind for event in world.ledger.events(subject="staging/churn")][1:] == ["withdrawal"]
    assert (world.deploy(2) and world.running()) == [2, 2]
    assert world.ledger.verify().is_intact


def test_a_withdrawn_release_is_not_gone_back_to(make_world):
    world = make_world(staging={"silent": ("d1",), "wrong": ("d2",)})
    world.deploy(1)
    world.deploy(2)

    assert world.running() == [None, None]


def test_a_silent_endpoint_rolls_back_without_blaming_the_model(make_world):
    world = make_world(production={"silent": ("d2",)})
    world.deploy(1)
    result = world.deploy(2)

    assert result.outcome == "rolled back"
    assert result.verdicts[-1].outcome == "inconclusive"
    assert world.running() == [2, 1]
    assert find_quarantine(world.ledger, "d2") is None
    assert len(world.alerts) == 1


def test_a_server_that_goes_away_during_the_test_rolls_back_without_blaming_the_model(make_world):
    world = make_world(production={"gone": ("d2",)})
    world.deploy(1)
    result = world.deploy(2)

    assert result.outcome == "rolled back"
    assert result.verdicts[-1].outcome == "inconclusive"
    assert world.running() == [2, 1]
    assert find_quarantine(world.ledger, "d2") is None


def test_a_quarantined_version_is_refused_and_nothing_is_touched(make_world):
    world = make_world(staging={"wrong": ("d2",)})
    world.deploy(1)
    world.deploy(2)
    before = len(world.ledger.events())
    result = world.deploy(2, run_key="another run")

    assert (result.outcome, result.environment) == ("refused", "staging")
    assert before == len(world.ledger.events())


def test_a_deploy_that_comes_back_late_does_not_undo_a_newer_one(make_world):
    world = make_world()
    world.deploy(1)
    world.start(Fuse(4))  # v2 is released to staging, then its process dies
    with pytest.raises(Killed):
        world.deploy(2)
    world.start()
    world.deploy(3)
    result = world.deploy(2)

    assert (result.outcome, result.environment) == ("superseded", "staging")
    assert world.running() == [3, 3]


@pytest.mark.parametrize(
    "faults",
    [{}, {"staging": {"wrong": ("d2",)}}, {"production": {"wrong": ("d2",)}}, {"production": {"silent": ("d2",)}}],
    ids=["good", "wrong in staging", "wrong in production", "silent in production"],
)
def test_killed_anywhere_and_run_again_it_ends_the_same(make_world, faults):
    untouched = make_world("untouched", **faults)
    untouched.deploy(1)
    wanted = untouched.deploy(2)
    kills = 0
    for place in range(200):
        world = make_world(f"killed-{place}", **faults)
        world.deploy(1)
        world.start(Fuse(place))
        try:
            world.deploy(2)
        except Killed:
            kills += 1
        else:
            break
        world.ledger.close()
        world.start()
        result = world.deploy(2)

        assert (wanted.outcome, wanted.environment) == (result.outcome, result.environment)
        assert wanted.releases == result.releases
        assert untouched.end_state() == world.end_state()
    else:
        pytest.fail("the deploy never ended")
    assert kills >= 8
