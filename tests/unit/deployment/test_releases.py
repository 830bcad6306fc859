"""What runs, what ran, and what runs again after a rollback."""

from datetime import UTC, datetime

import pytest

from millrace.core.clock import ManualClock
from millrace.core.errors import Conflict, ModelError
from millrace.deployment.direct import Direct
from millrace.deployment.quarantine import find_quarantine, lift_quarantine
from millrace.deployment.releases import Releases
from millrace.store.lease import acquire, release
from millrace.store.ledger import Ledger


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger.open(f"sqlite:///{tmp_path}/ledger.db", ManualClock(datetime(2024, 1, 1, tzinfo=UTC)))
    yield ledger
    ledger.close()


@pytest.fixture
def releases(ledger):
    return Releases(ledger)


def make(releases, version, *, key=None, **options):
    return releases.make(
        "production", "churn", version, f"d{version}", "direct", "test", key or f"run-{version}", **options
    )


def current(releases):
    release = releases.current("production", "churn")
    return None if release is None else release.version


def test_nothing_runs_before_the_first_release(releases):
    assert releases.current("production", "churn") is None
    assert releases.standing("production", "churn").generation == 0
    assert releases.history("production", "churn") == []


def test_releases_are_numbered_by_environment(releases):
    made = [make(releases, version) for version in (1, 4)]
    elsewhere = releases.make("staging", "churn", 4, "d4", "direct", "test", "s4")

    assert [(r.number, r.version, r.previous) for r in made] == [(1, 1, None), (2, 4, 1)]
    assert elsewhere.number == 1
    assert made == releases.history("production", "churn")
    assert made[-1] == releases.current("production", "churn")


def test_a_key_releases_once(releases):
    first = make(releases, 1, key="k")
    make(releases, 2)
    again = make(releases, 1, key="k")

    assert first == again
    assert current(releases) == 2


def test_a_release_from_an_old_generation_is_refused(releases):
    make(releases, 1, expected_generation=0)
    with pytest.raises(Conflict) as caught:
        make(releases, 2, expected_generation=0)

    assert caught.value.code == "LEDGER-01"
    assert current(releases) == 1


def test_a_release_needs_the_lease_it_is_given(releases, ledger):
    lease = acquire(ledger.database, "deploy")
    make(releases, 1, lease=lease)
    release(ledger.database, lease)
    acquire(ledger.database, "deploy")
    with pytest.raises(Conflict) as caught:
        make(releases, 2, lease=lease)

    assert caught.value.code == "LEASE-02"
    assert current(releases) == 1


def test_rollback_puts_the_last_good_version_back_and_quarantines_the_bad(releases, ledger):
    for version in (1, 2, 3):
        make(releases, version)
    back = releases.rollback("production", "churn", reason="errors")

    assert (back.number, back.version, back.digest, back.previous) == (4, 2, "d2", 3)
    assert current(releases) == 2
    assert find_quarantine(ledger, "d3")["reason"] == "errors"
    assert find_quarantine(ledger, "d2") is None
    assert ledger.verify().is_intact


def test_rollbacks_go_further_back_never_to_what_was_rolled_back_from(releases):
    for version in (1, 2, 3):
        make(releases, version)
    releases.rollback("production", "churn", reason="v3 is bad")
    back = releases.rollback("production", "churn", reason="v2 is bad too")

    assert back.version == 1
    with pytest.raises(ModelError) as caught:
        releases.rollback("production", "churn", reason="v1 as well")
    assert caught.value.code == "DEPLOY-03"
    assert current(releases) == 1


def test_a_version_released_again_after_its_quarantine_is_good(releases, ledger):
    make(releases, 1)
    make(releases, 2)
    releases.rollback("production", "churn", reason="v2 looked bad")
    lift_quarantine(ledger, "d2", reason="the upstream table was broken")
    make(releases, 2, key="second try")
    make(releases, 3)

    assert releases.rollback("production", "churn", reason="v3 is bad").version == 2


def test_rollback_to_a_named_version(releases):
    for version in (1, 2, 3):
        make(releases, version)

    assert releases.rollback("production", "churn", to=1, reason="x").version == 1


@pytest.mark.parametrize(("to", "words"), [(3, "it runs there now"), (9, "it never ran there")])
def test_rollback_to_a_version_that_cannot_be_says_which_can(releases, to, words):
    for version in (1, 2, 3):
        make(releases, version)
    with pytest.raises(ModelError) as caught:
        releases.rollback("production", "churn", to=to, reason="x")

    assert caught.value.code == "DEPLOY-04"
    assert words in caught.value.what
    assert "v1, v2" in caught.value.why


def test_rollback_to_a_quarantined_version_is_refused(releases):
    for version in (1, 2):
        make(releases, version)
    releases.rollback("production", "churn", reason="v2 is bad")
    with pytest.raises(ModelError) as caught:
        releases.rollback("production", "churn", to=2, reason="x")

    assert caught.value.code == "DEPLOY-01"


def test_rollback_where_nothing_runs(releases):
    with pytest.raises(ModelError) as caught:
        releases.rollback("production", "churn", reason="x")

    assert caught.value.code == "DEPLOY-02"


def test_two_who_roll_back_the_same_release_go_back_once(releases):
    for version in (1, 2, 3):
        make(releases, version)
    seen = releases.standing("production", "churn").generation
    releases.rollback("production", "churn", reason="first", expected_generation=seen)
    with pytest.raises(Conflict):
        releases.rollback("production", "churn", reason="second", expected_generation=seen)

    assert current(releases) == 2


def test_a_rollback_with_a_key_happens_once(releases):
    for version in (1, 2, 3):
        make(releases, version)
    first = releases.rollback("production", "churn", reason="x", key="k")

    assert first == releases.rollback("production", "churn", reason="x", key="k")
    assert current(releases) == 2


def test_quarantine_keeps_a_bundle_out_until_it_is_lifted(releases, ledger):
    make(releases, 1)
    make(releases, 2)
    releases.rollback("production", "churn", reason="bad answers")
    with pytest.raises(ModelError) as caught:
        make(releases, 2, key="again")
    assert (caught.value.code, caught.value.why) == ("DEPLOY-01", "bad answers")

    lift_quarantine(ledger, "d2", reason="cause found")

    assert make(releases, 2, key="again").version == 2
    with pytest.raises(ModelError) as caught:
        lift_quarantine(ledger, "d2", reason="twice")
    assert caught.value.code == "DEPLOY-05"


def test_direct_knows_its_place():
    strategy = Direct()

    assert strategy.name == "direct"
    assert strategy == Direct()
    assert strategy.place.partition(":")[0] == __file__
