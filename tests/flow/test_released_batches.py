"""A released batch and the runs that take it: used once a model of it was judged, given back when none was."""

from datetime import timedelta

import pytest

from millrace.cli.main import main
from millrace.core.clock import ManualClock
from millrace.flow.lifecycle import has_extracted, has_judged, train_pipeline
from millrace.flow.pipeline import Pipeline, Step
from millrace.flow.prepare import extract
from millrace.flow.project import load_project
from millrace.flow.run_step import run_step
from millrace.flow.runner import Runner
from millrace.validation.release import list_quarantined
from small_project import END, MODEL, edit, make_rows, open_small_project, write_rows, write_small_project

NOW = END + timedelta(hours=2)
BROKEN = "    assert X is None, 'the code is broken'\n    from sklearn.impute import SimpleImputer\n"
SOUND = "    from sklearn.impute import SimpleImputer\n"
SECOND = """

@mr.model(inputs=["amount"], labels=mr.Labels(orders, "late"), holdout="random")
def late_too(X, y):
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression().fit(X, y)
"""


@pytest.fixture
def folder(tmp_path):
    """The small project with one price that cannot be."""
    found = write_small_project(tmp_path / "orders")
    spoil(found)
    return found


def spoil(folder):
    rows = make_rows()
    rows[5] = [*rows[5][:2], 999_999_999, *rows[5][3:]]
    write_rows(folder, rows)


def run(folder, minutes=0, *, model=MODEL, step=None):
    """A run as `millrace run` starts it, so many minutes later."""
    clock = ManualClock(NOW + timedelta(minutes=minutes))
    with Runner(load_project(folder), executor="inline", clock=clock) as runner:
        if step is not None:
            record = runner.start_from(step, "train", model)
        else:
            record = runner.resume_or_start("train", model)
        return runner.execute(record.run_id)


def entries(folder):
    wiring = open_small_project(folder)
    found = list_quarantined(wiring.ledger)
    assert wiring.ledger.verify().is_intact
    wiring.close()
    return found


def events(folder, kind):
    wiring = open_small_project(folder)
    found = wiring.ledger.events(kind)
    wiring.close()
    return found


def release(folder, ask):
    """Release what is kept."""
    (batch,) = {entry.batch for entry in entries(folder)}
    code, answer = ask(folder, "data", "release", batch[:12], "--reason", "checked", "--by", "Ana")
    assert code == 0
    return answer


def alerts(folder):
    return [(event.body["severity"], event.body["title"]) for event in events(folder, "alert")]


WAITS_AGAIN = ("warning", "a released batch of 'orders' waits again: no model of it was judged")


def test_a_batch_whose_run_failed_waits_again_and_is_taken_by_the_next(folder, ask):
    assert run(folder).status == "refused"
    release(folder, ask)
    write_rows(folder, make_rows(rows=1500))
    edit(folder, SOUND, BROKEN)
    failed = run(folder, 1)
    assert failed.status == "failed"
    (one,) = ask(folder, "data", "quarantine")[1]
    assert (one["status"], one["run"], one["run_status"], one["failures"]) == (
        "released",
        failed.run.run_id,
        "failed",
        1,
    )
    assert alerts(folder)[-1] == WAITS_AGAIN
    assert "the code is broken" in events(folder, "alert")[-1].body["text"]

    edit(folder, BROKEN, SOUND)
    again = run(folder, 2)
    assert again.status == "succeeded"
    (entry,) = entries(folder)
    assert (entry.status, entry.facts["run"]) == ("used", again.run.run_id)
    wiring = open_small_project(folder)
    assert wiring.registry.get(MODEL, 1).lineage["snapshot"]["digest"] == entry.batch
    wiring.close()
    assert len(events(folder, "batch_return")) == 1


def test_after_three_failed_runs_a_batch_is_given_up_and_can_be_released_once_more(folder, ask, capsys):
    run(folder)
    release(folder, ask)
    edit(folder, SOUND, BROKEN)
    write_rows(folder, make_rows(rows=1500))
    assert [run(folder, minute).status for minute in (1, 2, 3)] == ["failed"] * 3
    assert [(entry.status, entry.facts["failures"]) for entry in entries(folder)] == [("given up", 3)]
    assert alerts(folder)[-1] == ("critical", "a released batch of 'orders' is given up: 3 runs failed")
    (batch,) = [entry.batch for entry in entries(folder)]
    main(["data", "quarantine", "show", batch[:8], "--project", str(folder)])
    assert "mend the cause, then: millrace data release" in capsys.readouterr().out
    run(folder, 4)  # it no longer stands before what came later
    assert len(events(folder, "batch_use")) == 3

    first, again = release(folder, ask), release(folder, ask)
    assert (first["is_new"], first["models"][0]["status"], again["is_new"]) == (True, "released", False)
    edit(folder, BROKEN, SOUND)
    assert run(folder, 5).status == "succeeded"
    assert [(entry.status, entry.facts["failures"]) for entry in entries(folder)] == [("used", 0)]


def test_a_batch_whose_model_the_gates_refused_was_learned_from(folder, ask, capsys):
    run(folder)
    release(folder, ask)
    edit(folder, "mr.Threshold(accuracy=0.6)", "mr.Threshold(accuracy=0.999)")
    refused = run(folder, 1)
    assert (refused.status, list(refused.steps)[-1]) == ("refused", "validate_model")

    (one,) = ask(folder, "data", "quarantine")[1]
    assert (one["status"], one["run_status"]) == ("used", "refused")
    assert not events(folder, "batch_return")
    main(["data", "quarantine", "--project", str(folder)])
    assert "used (run refused)" in capsys.readouterr().out
    main(["data", "quarantine", "show", one["batch"], "--project", str(folder)])
    assert f"used by   {refused.run.run_id}, refused: " in capsys.readouterr().out


def test_a_run_that_another_source_stopped_gives_the_batch_back(folder, ask):
    log = 'log = mr.Source("log", "data/log.csv", event_time="ts", delay="1h", suite="suites/log.json")\n'
    edit(folder, 'customer = mr.Entity("customer"', f'{log}customer = mr.Entity("customer"')
    edit(folder, "source=orders,", "source=log,")
    suite = (folder / "suites" / "orders.json").read_text().replace('"max_value": 10000', '"max_value": 1')
    (folder / "suites" / "log.json").write_text(suite)
    write_rows(folder, make_rows())
    (folder / "data" / "log.csv").write_text((folder / "data" / "orders.csv").read_text())
    spoil(folder)
    run(folder)
    (batch,) = [entry.batch for entry in entries(folder) if entry.source == "orders"]
    ask(folder, "data", "release", batch, "--reason", "checked")
    for minute in range(1, 5):
        assert run(folder, minute).status == "refused"

    status = {entry.source: (entry.status, entry.facts.get("failures")) for entry in entries(folder)}
    assert status == {"orders": ("released", 0), "log": ("kept", None)}
    assert alerts(folder).count(WAITS_AGAIN) == 4


def test_a_run_that_goes_on_from_the_failed_one_keeps_hold_of_its_batch(folder, ask):
    edit(folder, 'delay="1h", suite', 'delay="1h", incidents=mr.Incidents(max_age="1d"), suite')
    run(folder)
    release(folder, ask)
    write_rows(folder, make_rows(rows=1500))
    edit(folder, SOUND, BROKEN)
    # Released, it is judged as of when it was refused, and again so by the runs that go on from its results.
    assert [run(folder, 3000).status, run(folder, 3001, step="validate_data").status] == ["failed"] * 2
    edit(folder, BROKEN, SOUND)
    last = run(folder, 3002, step="validate_data")
    assert last.status == "succeeded"

    (entry,) = entries(folder)
    assert (entry.status, entry.facts["run"], entry.facts["failures"]) == ("used", last.run.run_id, 2)
    assert len(events(folder, "batch_use")) == 3
    assert len(events(folder, "snapshot")) == 1


def test_an_interrupted_run_that_is_not_gone_on_with_gives_its_batch_to_the_next(folder, ask):
    run(folder)
    release(folder, ask)
    write_rows(folder, make_rows(rows=1500))
    with Runner(load_project(folder), executor="inline", clock=ManualClock(NOW)) as runner:
        held = runner.start("train", MODEL).run_id
        wiring = open_small_project(folder, ManualClock(NOW))
        run_step(wiring, train_pipeline(), held, "extract")
        wiring.close()
    assert [(entry.status, entry.facts["run"]) for entry in entries(folder)] == [("used", held)]
    edit(folder, "mr.Latency(p95_ms=1000)", "mr.Latency(p95_ms=1001)")  # other code: the run may not go on
    done = run(folder, 1)

    assert (done.status, done.run.run_id != held) == ("succeeded", True)
    assert [(entry.status, entry.facts["run"]) for entry in entries(folder)] == [("used", done.run.run_id)]
    assert [event.body["status"] for event in events(folder, "batch_return")] == ["released"]
    assert WAITS_AGAIN not in alerts(folder)


def test_a_run_that_goes_on_from_an_interrupted_one_has_its_batch_alone(folder, ask):
    run(folder)
    release(folder, ask)
    write_rows(folder, make_rows(rows=1500))
    with Runner(load_project(folder), executor="inline", clock=ManualClock(NOW)) as runner:
        held = runner.start("train", MODEL).run_id
        wiring = open_small_project(folder, ManualClock(NOW))
        run_step(wiring, train_pipeline(), held, "extract")
        wiring.close()
    done = run(folder, 1, step="validate_data")
    assert (done.status, done.run.parameters["base"]) == ("succeeded", held)
    later = run(folder, 2)

    assert (later.status, later.run.run_id not in (held, done.run.run_id)) == ("succeeded", True)
    assert [(entry.status, entry.facts["run"]) for entry in entries(folder)] == [("used", done.run.run_id)]
    assert [event.body["run"] for event in events(folder, "batch_use")] == [held, done.run.run_id]


def test_every_model_that_refused_a_batch_takes_it_once_after_its_release(folder, ask):
    (folder / "project.py").write_text((folder / "project.py").read_text() + SECOND)
    assert (run(folder).status, run(folder, model="late_too").status) == ("refused", "refused")
    answer = release(folder, ask)
    assert [(one["model"], one["is_new"], one["status"]) for one in answer["models"]] == [
        (MODEL, True, "released"),
        ("late_too", True, "released"),
    ]
    write_rows(folder, make_rows(rows=1500))
    taken = [run(folder, minutes, model=model) for minutes in (1, 2) for model in (MODEL, "late_too")]

    assert [result.status for result in taken] == ["succeeded"] * 4
    assert [(e.facts["model"], e.status, e.facts["run"]) for e in entries(folder)] == [
        (MODEL, "used", taken[0].run.run_id),
        ("late_too", "used", taken[1].run.run_id),
    ]
    released = [event for event in events(folder, "alert") if "released a refused batch" in event.body["title"]]
    assert [event.subject for event in released] == [MODEL, "late_too"]


def test_a_batch_can_be_released_for_one_of_its_models(folder, ask):
    (folder / "project.py").write_text((folder / "project.py").read_text() + SECOND)
    run(folder)
    run(folder, model="late_too")
    first, second = entries(folder)
    code, wrong = ask(folder, "data", "release", first.batch, "--reason", "checked", "--model", "late_to")
    assert (code, wrong["error"]["code"], "late_too" in wrong["error"]["fix"]) == (2, "VALID-68", True)
    code, unclear = ask(folder, "data", "quarantine", "show", first.batch[:8])
    assert (code, unclear["error"]["code"]) == (2, "VALID-64")
    assert ask(folder, "data", "quarantine", "show", str(second.event))[1]["model"] == "late_too"
    assert ask(folder, "data", "quarantine", "show", first.batch[:8], "--model", MODEL)[1]["model"] == MODEL
    assert [one["model"] for one in ask(folder, "data", "quarantine", "--model", "late_too")[1]] == ["late_too"]

    ask(folder, "data", "release", first.batch, "--reason", "checked", "--model", "late_too")
    assert [entry.status for entry in entries(folder)] == ["kept", "released"]
    rest = ask(folder, "data", "release", first.batch, "--reason", "for all", "--by", "Ben")[1]
    assert [one["is_new"] for one in rest["models"]] == [True, False]
    assert [entry.facts["released"]["reason"] for entry in entries(folder)] == ["for all", "checked"]


def test_a_model_that_is_gone_takes_nothing(folder, capsys):
    text = (folder / "project.py").read_text()
    (folder / "project.py").write_text(text + SECOND)
    run(folder, model="late_too")
    (folder / "project.py").write_text(text)
    (entry,) = entries(folder)

    assert main(["data", "release", str(entry.event), "--reason", "checked", "--project", str(folder)]) == 0
    assert "next         nothing takes it: the project has no model 'late_too' now" in capsys.readouterr().out


def test_a_refused_batch_is_shown_while_the_definitions_are_broken(folder, ask):
    run(folder)
    (folder / "project.py").write_text("import nothing_of_this_name\n")
    (one,) = ask(folder, "data", "quarantine")[1]
    code, shown = ask(folder, "data", "quarantine", "show", one["batch"])

    assert (code, shown["status"], shown["report"]["source"]) == (0, "kept", "orders")
    assert ask(folder, "data", "release", one["batch"], "--reason", "checked")[0] == 2


def test_a_batch_is_found_by_every_event_that_told_of_it(folder, ask):
    run(folder)
    edit(folder, '"max_value": 20', '"max_value": 3', file="suites/orders.json")
    run(folder, 1)
    first, second = [event.seq for event in events(folder, "quarantine")]

    shown = [ask(folder, "data", "quarantine", "show", str(event))[1]["event"] for event in (first, second)]
    assert shown == [second, second]
    assert len(release(folder, ask)["covered"]) == 2


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["quarantine", "list", "3f2a"], "VALID-63"),
        (["release", "1", "--reason", "x", "--by", " "], "VALID-66"),
        (["release", "1" * 5000, "--reason", "x"], "VALID-63"),
    ],
)
def test_what_cannot_be_meant_is_told(folder, ask, words, error):
    code, answer = ask(folder, "data", *words)

    assert (code, answer["error"]["code"]) == (2, error)


def test_what_counts_as_learned_from():
    train = train_pipeline()
    own = Pipeline("own", [Step("take", extract, outputs=["snapshot"])])

    assert has_extracted(own, ["take"])
    assert not has_extracted(train, ["train"])
    assert has_judged(train, {"validate_model": "refused"})
    assert has_judged(train, {"validate_model": "succeeded", "register": "succeeded", "deploy": "failed"})
    assert not has_judged(train, {"validate_model": "succeeded", "register": "failed"})
    assert not has_judged(train, {"validate_data": "refused"})
    assert has_judged(own, {"take": "refused"})
    assert not has_judged(own, {"take": "failed"})
