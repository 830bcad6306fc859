"""A trigger fires once, opens one retrain, and what follows a refusal is a longer rest."""

from datetime import UTC, datetime, timedelta

import pytest

from millrace.core.clock import ManualClock, to_text
from millrace.core.errors import Conflict
from millrace.core.verdict import Verdict
from millrace.monitoring.evaluation import conclude_window
from millrace.monitoring.firing import (
    Reason,
    ask_for_retrain,
    claim,
    cooldown_after,
    find_open,
    finish,
    fire,
)
from millrace.monitoring.triggers import LABEL_INCIDENT
from millrace.monitoring.windows import next_window, restart_windows
from millrace.store.lease import acquire, release
from millrace.store.ledger import Ledger

START = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def clock():
    return ManualClock(START)


@pytest.fixture
def ledger(tmp_path, clock):
    ledger = Ledger.open(f"sqlite:///{tmp_path}/ledger.db", clock)
    yield ledger
    assert ledger.verify().is_intact
    ledger.close()


def reason(kind="degradation", window_end="w1", cooldown=6 * HOUR):
    return Reason(kind, Verdict(f"monitor.{kind}", "fail", f"{kind} in {window_end}", {"n": 1}), window_end, cooldown)


def run_once(ledger, window_end, outcome, *, cooldown=6 * HOUR, channels=()):
    """Fire, run and finish one retrain; it must be due."""
    fire(ledger, "m", [reason(window_end=window_end, cooldown=cooldown)])
    retrain = claim(ledger, "m")
    finish(ledger, "m", retrain.run_id, outcome, reason="because", channels=channels)


def test_a_trigger_opens_one_retrain_whose_run_id_is_its_key(ledger):
    (event,) = fire(ledger, "m", [reason(window_end="2024-01-08T00:00:00.000000Z")])

    assert (event.key, event.is_new) == ("mr:m:degradation:2024-01-08T00:00:00.000000Z", True)
    assert event.body["action"] == "opened"
    retrain = claim(ledger, "m")
    assert retrain.run_id == "mr-m-degradation-2024-01-08T00-00-00.000000Z"
    assert retrain.kinds == ["degradation"]
    assert not retrain.is_resumed


def test_the_same_trigger_again_changes_nothing(ledger):
    (first,) = fire(ledger, "m", [reason()])
    (again,) = fire(ledger, "m", [reason()])

    assert (again.seq, again.is_new) == (first.seq, False)
    assert len(find_open(ledger, "m").reasons) == 1


def test_a_finished_trigger_does_not_fire_again(ledger, clock):
    run_once(ledger, "w1", "done")
    clock.sleep(7 * 3600)
    fire(ledger, "m", [reason(window_end="w1")])

    assert find_open(ledger, "m") is None
    assert claim(ledger, "m") is None


@pytest.mark.parametrize("is_running", [False, True])
def test_more_reasons_join_the_open_retrain(ledger, is_running):
    fire(ledger, "m", [reason(), reason("drift")])
    if is_running:
        claim(ledger, "m")
    (event,) = fire(ledger, "m", [reason("schedule", "w2")])

    assert event.body["action"] == "merged"
    assert find_open(ledger, "m").kinds == ["degradation", "drift", "schedule"]
    assert len({e.body["run_id"] for e in ledger.events("trigger", "m")}) == 1


def test_models_do_not_share_retrains(ledger):
    fire(ledger, "a", [reason()])
    fire(ledger, "b", [reason()])

    assert claim(ledger, "a").run_id != claim(ledger, "b").run_id


def test_nothing_to_claim(ledger):
    assert claim(ledger, "m") is None


def test_a_running_retrain_is_taken_up_again_under_its_id(ledger):
    fire(ledger, "m", [reason()])
    first, again = claim(ledger, "m"), claim(ledger, "m")

    assert again == first
    assert (first.is_resumed, again.is_resumed) == (False, True)
    assert len(ledger.events("retrain_started", "m")) == 1


def test_claiming_needs_the_lease_it_is_given(ledger):
    lease = acquire(ledger.database, "loop")
    fire(ledger, "m", [reason()], lease=lease)
    release(ledger.database, lease)
    acquire(ledger.database, "loop")
    with pytest.raises(Conflict) as caught:
        claim(ledger, "m", lease=lease)

    assert caught.value.code == "LEASE-02"
    assert ledger.events("retrain_started", "m") == []


def test_after_a_run_the_next_rests_and_is_not_lost(ledger, clock):
    run_once(ledger, "w1", "done")
    fire(ledger, "m", [reason(window_end="w2")])

    assert claim(ledger, "m") is None
    assert find_open(ledger, "m").kinds == ["degradation"]
    clock.sleep(6 * 3600)
    assert claim(ledger, "m").key == "mr:m:degradation:w2"


def test_no_cooldown_no_rest(ledger):
    run_once(ledger, "w1", "refused", cooldown=timedelta(0))
    fire(ledger, "m", [reason(window_end="w2", cooldown=timedelta(0))])

    assert claim(ledger, "m") is not None


def test_a_person_does_not_wait(ledger):
    run_once(ledger, "w1", "done")
    event = ask_for_retrain(ledger, "m", requested_by="ada", reason="new column")

    assert event.body["action"] == "opened"
    assert claim(ledger, "m").kinds == ["manual"]


def test_a_person_wakes_a_resting_retrain(ledger):
    run_once(ledger, "w1", "done")
    fire(ledger, "m", [reason(window_end="w2")])
    ask_for_retrain(ledger, "m", requested_by="ada", reason="now")

    assert claim(ledger, "m").kinds == ["degradation", "manual"]


def test_after_a_manual_run_the_others_rest_as_ever(ledger):
    ask_for_retrain(ledger, "m", requested_by="ada", reason="now")
    finish(ledger, "m", claim(ledger, "m").run_id, "done", reason="promoted")
    fire(ledger, "m", [reason()])

    assert claim(ledger, "m") is None


@pytest.mark.parametrize(("setbacks", "hours"), [(0, 6), (1, 12), (2, 24), (3, 48), (4, 48), (1000, 48)])
def test_each_setback_doubles_the_rest_up_to_two_days(setbacks, hours):
    assert cooldown_after(6 * HOUR, setbacks) == hours * HOUR


def test_a_cooldown_longer_than_two_days_is_kept():
    assert cooldown_after(72 * HOUR, 3) == 72 * HOUR


def test_a_refused_candidate_rests_longer_and_success_forgets(ledger, clock):
    run_once(ledger, "w1", "refused")
    fire(ledger, "m", [reason(window_end="w2")])
    clock.sleep(11.9 * 3600)
    assert claim(ledger, "m") is None
    clock.sleep(0.1 * 3600)
    finish(ledger, "m", claim(ledger, "m").run_id, "done", reason="promoted")
    fire(ledger, "m", [reason(window_end="w3")])
    clock.sleep(6 * 3600)

    assert claim(ledger, "m") is not None


def test_three_setbacks_in_a_row_call_a_person_once(ledger, clock):
    for number, outcome in enumerate(["refused", "failed", "refused", "refused"]):
        run_once(ledger, f"w{number}", outcome, channels=["console", "webhook"])
        assert len(ledger.events("alert", "m")) == (1 if number >= 2 else 0)
        clock.sleep(48 * 3600)

    (alert,) = ledger.events("alert", "m")
    assert (alert.body["severity"], alert.body["facts"]["setbacks"]) == ("critical", 3)
    assert [m.key for m in ledger.outbox.pending("channel:webhook")] == [alert.key]


def test_finishing_twice_counts_once(ledger):
    fire(ledger, "m", [reason()])
    run_id = claim(ledger, "m").run_id
    first = finish(ledger, "m", run_id, "refused", reason="gate")
    again = finish(ledger, "m", run_id, "refused", reason="gate")

    assert first.seq == again.seq
    assert first.body["setbacks"] == 1


@pytest.mark.parametrize("state", ["none", "pending", "another"])
def test_only_the_running_retrain_can_be_finished(ledger, state):
    if state != "none":
        fire(ledger, "m", [reason()])
    if state == "another":
        claim(ledger, "m")
    run_id = "other" if state == "another" else "mr-m-degradation-w1"
    with pytest.raises(Conflict) as caught:
        finish(ledger, "m", run_id, "done", reason="x")

    assert caught.value.code == "MON-03"


# Windows and their conclusion


def window(ledger, *, until):
    return next_window(ledger, "m", "labels", length=24 * HOUR, mature_until=until, begin=START)


def verdict(outcome, rule="monitor.degradation"):
    return Verdict(rule, outcome, f"{rule} {outcome}", {"n": 1})


def test_a_window_is_judged_only_when_its_labels_are_due(ledger):
    assert window(ledger, until=START + 23 * HOUR) is None
    assert window(ledger, until=START + 24 * HOUR).end == START + 24 * HOUR


def test_windows_follow_each_other_and_one_that_could_not_tell_is_carried(ledger):
    seen = []
    for outcome in ("pass", "inconclusive", "inconclusive", "fail", "pass"):
        found = window(ledger, until=START + 2400 * HOUR)
        seen.append(((found.start - START) // (24 * HOUR), (found.end - START) // (24 * HOUR)))
        conclude_window(ledger, found, [verdict(outcome)], [])

    assert seen == [(0, 1), (1, 2), (1, 3), (1, 4), (4, 5)]


def test_concluding_twice_fires_once(ledger):
    found = window(ledger, until=START + 24 * HOUR)
    reasons = [reason(window_end=to_text(found.end))]
    first = conclude_window(ledger, found, [verdict("fail")], reasons)
    again = conclude_window(ledger, found, [verdict("fail")], reasons)

    assert (first.seq, again.is_new) == (again.seq, False)
    assert len(ledger.events("trigger", "m")) == 1


def test_a_window_judged_on_an_old_cursor_is_refused_whole(ledger):
    stale = window(ledger, until=START + 24 * HOUR)
    restart_windows(ledger, "m", "labels", begin=START + 12 * HOUR, reason="v2 deployed", key="release 2")
    with pytest.raises(Conflict):
        conclude_window(ledger, stale, [verdict("fail")], [reason()])

    assert ledger.events("trigger", "m") == []


def test_windows_restart_once_for_a_release(ledger):
    restart_windows(ledger, "m", "labels", begin=START + 12 * HOUR, reason="v2 deployed", key="release 2")
    found = window(ledger, until=START + 36 * HOUR)
    assert found.start == START + 12 * HOUR
    conclude_window(ledger, found, [verdict("pass")], [])
    restart_windows(ledger, "m", "labels", begin=START + 12 * HOUR, reason="v2 deployed", key="release 2")

    assert window(ledger, until=START + 60 * HOUR).start == START + 36 * HOUR


def test_a_label_incident_keeps_the_model_and_tells_people(ledger):
    found = window(ledger, until=START + 24 * HOUR)
    verdicts = [verdict("fail"), verdict("fail", LABEL_INCIDENT)]
    event = conclude_window(ledger, found, verdicts, [reason()], channels=["console"])

    assert event.body["incident"] == f"{LABEL_INCIDENT} fail"
    assert find_open(ledger, "m") is None
    (message,) = ledger.outbox.pending("channel:console")
    assert message.body["severity"] == "critical"
    assert "not retrained" in message.body["text"]
    assert window(ledger, until=START + 48 * HOUR).start == START + 24 * HOUR
