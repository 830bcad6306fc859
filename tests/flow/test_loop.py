"""The loop over history: it answers what it sees once, tells people of what is not the model's fault, and rests."""

from collections import Counter
from datetime import timedelta

import pytest

from millrace.core.clock import ManualClock, from_text, to_text
from millrace.core.records import Prediction
from millrace.flow.endpoint import Endpoint
from millrace.flow.lifecycle import TRAIN
from millrace.flow.loop import Loop
from millrace.flow.project import load_project
from millrace.flow.run import find_run, list_runs
from millrace.flow.runner import Runner
from millrace.flow.serve import prediction_folder
from millrace.monitoring.firing import ask_for_retrain, find_open
from millrace.serving.prediction_log import PredictionLog
from millrace.store.lease import holding
from small_project import (
    MODEL,
    START,
    copy_project,
    edit,
    live_servers,
    make_rows,
    open_small_project,
    write_rows,
    write_small_project,
)

DEPLOYED = START + timedelta(days=25)
WINDOW = timedelta(days=2)
LABEL_DELAY = timedelta(hours=1)


@pytest.fixture(scope="module")
def deployed_project(tmp_path_factory):
    """The small project on the day its first model, trained on what was known then, was deployed."""
    folder = write_small_project(tmp_path_factory.mktemp("replayed") / "orders")
    with live_servers(folder), Runner(load_project(folder), clock=ManualClock(DEPLOYED)) as runner:
        run = runner.start(TRAIN, MODEL, as_of=DEPLOYED, is_replay=True)
        assert runner.execute(run.run_id).status == "succeeded"
    return folder


@pytest.fixture
def folder(deployed_project, tmp_path):
    return copy_project(deployed_project, tmp_path / "orders")


class Watched:
    """A loop at work on the project, its time in our hands."""

    def __init__(self, folder, runner, clock):
        self.clock = clock
        self.heard = []
        self.loop = Loop(load_project(folder), runner, clock=clock, is_replay=True, on_happening=self.heard.append)
        self.wiring = self.loop.wiring
        self.ledger = self.wiring.ledger

    def tick_after(self, windows):
        """Look once the labels of so many windows have come."""
        self.clock.set(DEPLOYED + windows * WINDOW + LABEL_DELAY)
        self.heard.clear()
        self.loop.tick()

    def answer(self, number, *, share_right=0.9, version=1, change=None):
        """Log production's answers to the orders of window `number` (from 0)."""
        model = self.wiring.project.get_model(MODEL)
        start = DEPLOYED + number * WINDOW
        table = self.wiring.read(model.labels.source, start, start + WINDOW)
        joined = self.wiring.features.get_historical_features(
            table, self.wiring.feature_references(model), event_time="ts"
        ).to_arrow()
        log = PredictionLog(prediction_folder(self.wiring, "production", MODEL))
        rows = joined.to_pylist()
        for place, row in enumerate(rows):
            is_right = place < share_right * len(rows)
            seen = {**row, **(change(row) if change else {})}
            at = to_text(row["ts"])
            log.append(
                [
                    Prediction(
                        request_id=f"w{number}-{place}",
                        model=MODEL,
                        version=version,
                        at=at,
                        event_time=at,
                        key={"customer": row["customer"]},
                        features=[seen[name] for name in ("amount", "items", "last_late", "mean_amount")],
                        output=row["late"] if is_right else 1 - row["late"],
                        scores=[0.5, 0.5],
                    )
                ]
            )
        log.close()

    def kinds(self, kind):
        return self.ledger.events(kind, MODEL)

    def production(self):
        return [release.version for release in self.wiring.releases.history("production", MODEL)]

    def alerts(self):
        return [event.body["title"] for event in self.kinds("alert")]


@pytest.fixture
def watch(folder):
    """A function that begins to watch the project, with live servers of staging and production."""
    with live_servers(folder) as servers:
        runners = []

        def begin():
            clock = ManualClock(DEPLOYED)
            runner = Runner(load_project(folder), clock=clock)
            runners.append(runner)
            watched = Watched(folder, runner, clock)
            watched.servers = servers
            return watched

        yield begin
        for runner in runners:
            runner.close()


def test_a_healthy_window_is_judged_once_and_changes_nothing(watch):
    watched = watch()
    for number in (0, 1):
        watched.answer(number)
    watched.tick_after(2)
    seen = [(event.body["window"]["monitor"], event.body["fired"]) for event in watched.kinds("evaluation")]
    watched.tick_after(2)

    assert seen == [("degradation", []), ("degradation", []), ("drift1", [])]
    assert len(watched.kinds("evaluation")) == 3
    assert not watched.kinds("trigger")
    assert len(list_runs(watched.ledger)) == 1


def test_a_window_without_answers_is_carried_until_there_are_enough(watch):
    watched = watch()
    watched.tick_after(1)
    watched.answer(1, share_right=0.3)
    watched.tick_after(2)

    windows = [e.body for e in watched.kinds("evaluation") if e.body["window"]["monitor"] == "degradation"]
    assert [body["carried"] for body in windows] == [True, False]
    assert from_text(windows[1]["window"]["start"]) == DEPLOYED
    assert watched.production() == [1, 2]


def test_degradation_retrains_exactly_once_for_a_window(watch):
    watched = watch()
    watched.answer(0, share_right=0.3)
    watched.tick_after(1)
    ran = [happening.facts["status"] for happening in watched.heard if happening.kind == "run"]
    watched.tick_after(1)  # the same moment again
    watched.loop.tick()

    assert ran == ["succeeded"]
    (trigger,) = watched.kinds("trigger")
    assert (trigger.body["kind"], trigger.body["verdict"]["outcome"]) == ("degradation", "fail")
    assert trigger.body["verdict"]["evidence"]["n"] == 96
    _, second = list_runs(watched.ledger)
    assert second.run_id == trigger.body["run_id"]
    assert second.parameters == {"trigger": trigger.key, "reasons": ["degradation"]}
    assert second.as_of == DEPLOYED + WINDOW + LABEL_DELAY
    assert watched.production() == [1, 2]
    assert watched.servers["production"].slot.current.release.version == 2
    # It learned nothing from later than its own time: a label is known an hour after its order.
    assert watched.wiring.registry.get(MODEL, 2).lineage["snapshot"]["end"] == to_text(DEPLOYED + WINDOW)
    assert [e.body["outcome"] for e in watched.kinds("retrain_finished")] == ["done"]
    assert watched.ledger.verify().is_intact


def test_what_customers_do_differently_is_found_through_the_real_server(watch, folder):
    """After the deploy the large orders are the ones in time: the live model is wrong, and is trained anew."""
    rows = make_rows()
    turned = 25 * 48
    write_rows(folder, [*rows[:turned], *([*row[:4], 1 - row[4]] for row in rows[turned:])])
    watched = watch()
    watched.wiring.features.materialize(None, DEPLOYED)
    endpoint = Endpoint(watched.servers["production"].url)
    for row in rows[turned : turned + 96]:
        moment = from_text(row[0])
        watched.wiring.features.push(watched.wiring.project.sources["orders"], known_at(rows, turned, moment))
        endpoint.predict(
            {"inputs": {"amount": row[2], "items": row[3]}, "key": {"customer": row[1]}, "event_time": to_text(moment)}
        )
    while endpoint.health()["log"]["pending"]:
        pass
    endpoint.close()
    watched.tick_after(1)

    (trigger,) = watched.kinds("trigger")
    evidence = trigger.body["verdict"]["evidence"]
    assert (trigger.body["kind"], evidence["n"], evidence["coverage"]) == ("degradation", 96, 1.0)
    assert evidence["value"] < 0.4
    assert watched.production() == [1, 2]


def known_at(rows, turned, moment):
    """Orders whose hour of delay ended in the last half hour before `moment`, as the feature store takes them."""
    return [
        {"ts": from_text(row[0]), "customer": row[1], "amount": row[2], "items": row[3], "late": 1 - row[4]}
        for row in rows[turned:]
        if from_text(row[0]) + LABEL_DELAY == moment
    ]


def test_drift_names_the_columns_and_retrains(watch):
    watched = watch()
    for number in (0, 1):
        watched.answer(number, change=lambda row: {"amount": row["amount"] * 5 + 100})
    watched.tick_after(2)
    watched.loop.tick()

    (trigger,) = watched.kinds("trigger")
    assert (trigger.body["kind"], trigger.body["action"]) == ("drift", "opened")
    assert watched.alerts() == [f"inputs of '{MODEL}' drifted: amount"]
    assert watched.production() == [1, 2]


def test_a_broken_label_feed_is_told_and_not_learned_from(watch, folder):
    watched = watch()
    watched.answer(0)
    rows = make_rows()
    broken = {to_text(DEPLOYED + n * timedelta(minutes=30))[:19].replace("T", " ") for n in range(96)}
    write_rows(folder, [[*row[:4], 1] if row[0] in broken else row for row in rows])
    watched.tick_after(1)

    assert not watched.kinds("trigger")
    assert watched.alerts() == [f"data incident: the labels of {MODEL} cannot be right"]
    (incident,) = [e for e in watched.kinds("evaluation") if e.body["incident"]]
    assert incident.body["fired"] == []
    assert watched.production() == [1]


def test_a_retrain_waits_while_the_labels_cannot_be_right(watch, folder):
    """Inputs drift while the label feed is broken: what would be learned is wrong, so the trigger is held back."""
    watched = watch()
    for number in (0, 1):
        watched.answer(number, change=lambda row: {"amount": row["amount"] * 5 + 100})
    rows = make_rows()
    broken = {to_text(DEPLOYED + n * timedelta(minutes=30))[:19].replace("T", " ") for n in range(192)}
    write_rows(folder, [[*row[:4], 1] if row[0] in broken else row for row in rows])
    watched.tick_after(2)
    watched.loop.tick()

    (held,) = watched.kinds("retrain_held")
    assert find_open(watched.ledger, MODEL).kinds == ["drift"]
    assert held.body["reason"].startswith("all 96 labels of the window are 1")
    assert f"the retrain of {MODEL} waits: a data incident stands" in watched.alerts()
    assert len([h for h in watched.heard if h.kind == "held"]) == 1  # of two looks
    assert (watched.production(), list_runs(watched.ledger)[1:]) == ([1], [])

    write_rows(folder, rows)
    watched.answer(2)
    watched.tick_after(3)

    assert len(watched.kinds("retrain_held")) == 1
    assert watched.production() == [1, 2]
    assert find_open(watched.ledger, MODEL) is None


def test_a_person_may_retrain_in_spite_of_an_incident(watch, folder):
    watched = watch()
    watched.answer(0)
    rows = make_rows()
    broken = {to_text(DEPLOYED + n * timedelta(minutes=30))[:19].replace("T", " ") for n in range(96)}
    write_rows(folder, [[*row[:4], 1] if row[0] in broken else row for row in rows])
    watched.tick_after(1)
    ask_for_retrain(watched.ledger, MODEL, requested_by="Ana", reason="the labels are right, it was a strike")
    watched.loop.tick()

    assert not watched.kinds("retrain_held")
    assert [event.body["outcome"] for event in watched.kinds("retrain_finished")] == ["done"]


def test_after_a_retrain_the_next_one_rests(watch, folder):
    edit(folder, 'min_samples=40, cooldown="12h"', 'min_samples=40, cooldown="3d"')
    watched = watch()
    watched.answer(0, share_right=0.3)
    watched.tick_after(1)
    finished = watched.clock.now()
    watched.answer(1, share_right=0.3, version=2)
    watched.tick_after(2)
    resting = find_open(watched.ledger, MODEL)
    assert watched.production() == [1, 2]
    assert resting.kinds == ["degradation"]

    watched.clock.set(finished + timedelta(days=3))
    watched.loop.tick()

    assert watched.production() == [1, 2, 3]
    assert find_open(watched.ledger, MODEL) is None
    assert Counter(e.body["action"] for e in watched.kinds("trigger")) == {"opened": 2}


def test_a_refused_candidate_is_on_the_record_and_production_stays(watch, folder):
    edit(folder, "accuracy=0.6)", "accuracy=0.99)")
    watched = watch()
    watched.answer(0, share_right=0.3)
    watched.tick_after(1)
    watched.loop.tick()

    (finished,) = watched.kinds("retrain_finished")
    assert (finished.body["outcome"], finished.body["setbacks"]) == ("refused", 1)
    assert "0.99" in finished.body["reason"]
    assert [run.status for run in list_runs(watched.ledger)] == ["succeeded", "refused"]
    assert watched.production() == [1]
    assert watched.alerts() == [f"a candidate for '{MODEL}' was refused: production stays as it is"]


def test_a_retrain_that_was_killed_is_taken_up_under_its_own_name(watch, folder):
    watched = watch()
    watched.answer(0, share_right=0.3)
    watched.clock.set(DEPLOYED + WINDOW + LABEL_DELAY)

    class Killed(BaseException):
        pass

    def die(*arguments, **options):
        raise Killed

    watched.loop._runner.execute = die  # after the claim, before the first step
    with pytest.raises(Killed):
        watched.loop.tick()
    del watched.loop._runner.execute
    again = watch()
    again.tick_after(1)

    (trigger,) = again.kinds("trigger")
    assert find_run(again.ledger, trigger.body["run_id"]).status == "succeeded"
    assert again.production() == [1, 2]


def test_a_run_by_hand_does_not_end_the_loop(watch):
    watched = watch()
    watched.answer(0, share_right=0.3)
    with holding(watched.ledger.database, f"run:{TRAIN}/{MODEL}"):
        watched.tick_after(1)
        assert [happening.kind for happening in watched.heard][-1] == "waiting"
    assert watched.production() == [1]

    watched.tick_after(1)
    assert watched.production() == [1, 2]
    assert len(watched.kinds("trigger")) == 1


def test_asked_by_hand_the_next_look_retrains(shop, ask):
    write_rows(shop, make_rows(rows=2300))
    with live_servers(shop):
        code, asked = ask(shop, "trigger", "--reason", "new law")
        again, _ = ask(shop, "trigger", "--reason", "new law, again")
        looked, seen = ask(shop, "monitor", "--once")
        later, nothing = ask(shop, "monitor", "--once")
    wiring = open_small_project(shop)

    assert (code, again, looked, later) == (0, 0, 0, 0)
    assert (asked["body"]["kind"], asked["body"]["action"]) == ("manual", "opened")
    assert [entry["kind"] for entry in seen] == ["retrain", "run"]
    assert seen[1]["status"] == "succeeded", seen[1]["text"]
    assert "new law" in seen[0]["text"]
    assert nothing == []
    assert wiring.registry.get(MODEL, "champion").version == 2
    assert list_runs(wiring.ledger)[-1].parameters["reasons"] == ["manual"]
    wiring.close()


def test_two_loops_are_one_too_many(shop, ask):
    wiring = open_small_project(shop)
    with holding(wiring.ledger.database, "loop"):
        code, answer = ask(shop, "monitor", "--once")
    wiring.close()

    assert (code, answer["error"]["code"]) == (3, "LEASE-01")


def test_labels_that_cannot_be_read_are_told_once_and_the_window_waits(folder, watch):
    watched = watch()
    watched.answer(0)
    path = folder / "data" / "orders.csv"
    path.rename(folder / "data" / "away.csv")

    watched.tick_after(1)
    watched.loop.tick()

    assert [happening.kind for happening in watched.heard].count("error") == 2
    assert [title for title in watched.alerts() if "cannot look after" in title] == watched.alerts()
    assert len(watched.alerts()) == 1
    assert watched.loop.errors[0].code == "DATA-01"

    (folder / "data" / "away.csv").rename(path)
    watched.heard.clear()
    watched.loop.tick()
    assert "degradation" in [happening.kind for happening in watched.heard]


def test_what_nobody_foresaw_in_one_model_is_told_and_the_loop_goes_on(watch, monkeypatch):
    watched = watch()
    watched.answer(0)

    def burst(*arguments, **settings):
        raise OverflowError("a number nobody expected")

    with monkeypatch.context() as broken:
        broken.setattr("millrace.flow.observe.Observer.degradation", burst)
        watched.tick_after(1)

    assert watched.loop.errors[0].code == "MON-22"
    assert "OverflowError: a number nobody expected" in watched.loop.errors[0].what
    assert len([title for title in watched.alerts() if "cannot look after" in title]) == 1

    watched.heard.clear()
    watched.loop.tick()
    assert "degradation" in [happening.kind for happening in watched.heard]
