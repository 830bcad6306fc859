"""The nine steps on a small project: what reaches production, what is kept out, and what stands on the record."""

import json

import pytest

from millrace.cli.main import main
from millrace.core.ids import canonical_json
from millrace.core.verdict import Verdict
from millrace.deployment.quarantine import find_quarantine
from millrace.deployment.smoke import Golden
from millrace.flow.run import list_runs
from small_project import MODEL, STEPS, edit, live_servers, make_rows, open_small_project, write_rows


@pytest.fixture
def opened(shop):
    wiring = open_small_project(shop)
    yield wiring
    wiring.close()


@pytest.fixture
def served(shop):
    """The project with live servers of staging and production."""
    with live_servers(shop) as servers:
        yield servers


def production(wiring):
    return [(release.number, release.version) for release in wiring.releases.history("production", MODEL)]


def champion(wiring):
    return wiring.registry.get(MODEL, "champion").version


def verdicts(wiring, rule):
    found = [event.body["verdict"] for event in wiring.ledger.events("decision", MODEL)]
    return [verdict["outcome"] for verdict in found if verdict["rule"] == rule]


def add_orders(shop):
    write_rows(shop, make_rows(rows=2300))


def test_the_first_run_ends_with_version_one_in_staging_and_production(opened):
    (run,) = list_runs(opened.ledger)
    ended = [e.body for e in opened.ledger.events("step", run.run_id) if e.body["status"] != "started"]

    assert (run.status, run.model) == ("succeeded", MODEL)
    assert [(step["step"], step["status"], step["attempt"]) for step in ended] == [(s, "succeeded", 1) for s in STEPS]
    assert champion(opened) == 1
    assert [opened.releases.current(stage, MODEL).version for stage in ("staging", "production")] == [1, 1]
    assert verdicts(opened, "deploy.smoke") == ["pass"] * 3  # staging, production, and once more afterwards
    assert opened.ledger.verify().is_intact
    assert not opened.ledger.events("alert")


def test_the_same_data_again_takes_the_training_of_the_first_run(shop, served, opened, ask):
    code, run = ask(shop, "run")

    assert (code, run["status"]) == (0, "succeeded")
    assert [name for name, step in run["steps"].items() if step.get("cached")] == ["train"]
    assert len(opened.registry.versions(MODEL)) == 1  # the same bytes are the same version
    assert production(opened) == [(1, 1), (2, 1)]


def test_new_data_makes_a_new_version_that_the_live_servers_take(shop, served, opened, ask):
    add_orders(shop)
    code, run = ask(shop, "run")

    assert (code, run["status"]) == (0, "succeeded")
    assert not run["steps"]["train"].get("cached")
    assert champion(opened) == 2
    assert verdicts(opened, "drift.columns")[-1:] == ["pass"]
    newest = opened.registry.get(MODEL, 2).digest
    assert [server.slot.current.release.digest for server in served.values()] == [newest, newest]


def test_a_refused_candidate_leaves_everything_as_it_was(shop, opened, ask):
    edit(shop, "accuracy=0.6)", "accuracy=0.99)")
    code, run = ask(shop, "run")

    assert (code, run["status"]) == (1, "refused")
    assert list(run["steps"]) == STEPS[: STEPS.index("validate_model") + 1]
    assert run["steps"]["validate_model"]["attempt"] == 1
    assert len(opened.registry.versions(MODEL)) == 1
    assert production(opened) == [(1, 1)]
    assert champion(opened) == 1
    # Every gate was put to it, not only the first that said no.
    decided = [e.body["verdict"] for e in opened.ledger.events("decision") if e.body.get("run") == run["run_id"]]
    gates = {verdict["rule"]: verdict["outcome"] for verdict in decided if verdict["rule"].startswith("gate.")}
    assert gates == {
        "gate.threshold": "fail",
        "gate.beats_baseline": "pass",
        "gate.no_regression": gates["gate.no_regression"],
        "gate.latency": "pass",
        "gate.robustness": "pass",
    }
    (alert,) = opened.ledger.events("alert")
    assert alert.body["facts"] == {"run": run["run_id"], "gates": ["gate.threshold"]}
    assert "0.99" in alert.body["text"]


def test_an_unfit_batch_is_put_aside_and_nothing_is_trained_on_it(shop, opened, ask):
    rows = make_rows()
    rows[5] = [*rows[5][:2], 999_999_999, *rows[5][3:]]
    write_rows(shop, rows)
    code, run = ask(shop, "run")

    assert (code, run["status"]) == (1, "refused")
    assert list(run["steps"]) == ["extract", "validate_data"]
    (put_aside,) = opened.ledger.events("quarantine")
    (alert,) = opened.ledger.events("alert")
    assert (alert.body["severity"], alert.body["facts"]["quarantine"]) == ("critical", put_aside.seq)
    assert "amount" in run["message"]
    assert production(opened) == [(1, 1)]


def test_a_rollback_is_live_at_once_and_keeps_the_bad_bundle_out(shop, served, opened, ask):
    add_orders(shop)
    ask(shop, "run")
    bad = opened.registry.get(MODEL, 2)

    code, done = ask(shop, "rollback", "--reason", "complaints")

    assert (code, done["version"], done["previous"], done["is_live"]) == (0, 1, 2, True)
    assert production(opened) == [(1, 1), (2, 2), (3, 1)]
    assert champion(opened) == 1
    assert find_quarantine(opened.ledger, bad.digest)["reason"] == "complaints"
    assert served["production"].slot.current.release.version == 1
    assert [e.body["severity"] for e in opened.ledger.events("alert")] == ["critical"]
    # What was rolled back from is not deployed again by mistake.
    code, refused = ask(shop, "deploy", "2")
    assert (code, refused["outcome"]) == (1, "refused")
    assert production(opened)[-1] == (3, 1)


def test_a_rollback_without_anything_before_it_changes_nothing(shop, opened, ask):
    code, answer = ask(shop, "rollback")

    assert (code, answer["error"]["code"]) == (2, "DEPLOY-03")
    assert production(opened) == [(1, 1)]


def test_a_rollback_never_goes_back_to_the_same_bytes(shop, served, opened, ask):
    first = opened.registry.get(MODEL, 1)
    register_by_hand(opened, first, first.digest, first.golden)
    ask(shop, "deploy", "2")

    code, answer = ask(shop, "rollback")

    assert (code, answer["error"]["code"]) == (2, "DEPLOY-03")
    assert find_quarantine(opened.ledger, first.digest) is None
    code, answer = ask(shop, "rollback", "--to", "1")
    assert (code, answer["error"]["code"]) == (2, "DEPLOY-04")
    assert "its bundle is that of v2" in answer["error"]["what"]


def register_other_answers(wiring):
    """Version 2: a bundle that does not answer as its golden rows say."""
    first = wiring.registry.get(MODEL, 1)
    manifest = {**wiring.manifest(first.digest).to_dict(), "classes": [1, 0]}
    digest = wiring.blobs.put(canonical_json(manifest).encode())
    return register_by_hand(wiring, first, digest, first.golden)


def register_by_hand(wiring, like, digest, golden):
    return wiring.registry.register(
        MODEL,
        digest=digest,
        golden=golden,
        run_id="by-hand",
        metrics={},
        parameters={},
        lineage={},
        files=like.files,
        key="by-hand",
    )


def test_a_failed_smoke_test_leaves_production_untouched(shop, served, opened, ask):
    version = register_other_answers(opened)
    code, result = ask(shop, "deploy", "2")

    assert (code, result["outcome"], result["environment"]) == (1, "rolled back", "staging")
    assert production(opened) == [(1, 1)]
    assert champion(opened) == 1
    assert opened.releases.current("staging", MODEL).version == 1
    assert verdicts(opened, "deploy.smoke")[-1] == "fail"
    assert find_quarantine(opened.ledger, version.digest)
    (alert,) = opened.ledger.events("alert")
    assert "smoke test in staging" in alert.body["title"]
    assert {server.slot.current.release.version for server in served.values()} == {1}


def test_another_version_of_the_same_bundle_is_proved_under_its_own_number(shop, served, opened, ask):
    first = opened.registry.get(MODEL, 1)
    register_by_hand(opened, first, first.digest, first.golden)
    code, result = ask(shop, "deploy", "2")

    assert (code, result["outcome"]) == (0, "deployed")
    answered = [row["version"] for verdict in result["verdicts"] for row in verdict["evidence"]["rows"]]
    assert set(answered) == {2}
    assert champion(opened) == 2


def test_a_version_whose_golden_rows_were_changed_is_not_deployed(shop, served, opened, ask):
    first = opened.registry.get(MODEL, 1)
    golden = Golden.from_json(opened.blobs.get(first.golden))
    wrong = Golden(golden.requests, [{**answer, "output": 1 - answer["output"]} for answer in golden.answers])
    register_by_hand(opened, first, first.digest, opened.blobs.put(wrong.to_json()))
    code, result = ask(shop, "deploy", "2")

    assert (code, result["outcome"]) == (1, "rolled back")
    assert production(opened) == [(1, 1)]


def test_every_decision_of_a_history_is_explained_and_comes_out_the_same_again(shop, served, opened, ask, capsys):
    add_orders(shop)
    ask(shop, "run")
    edit(shop, "accuracy=0.6)", "accuracy=0.99)")
    ask(shop, "run")
    register_other_answers(opened)
    ask(shop, "deploy", "3")
    ask(shop, "trigger", "--reason", "to see")
    events = [e for kind in ("decision", "evaluation", "trigger") for e in opened.ledger.events(kind)]
    rules = set()
    for event in events:
        code, again = ask(shop, "replay", str(event.seq))
        assert (code, again["is_same"]) == (0, True)
        rules |= {pair["recorded"]["rule"] for pair in again["verdicts"]}

        assert main(["explain", str(event.seq), "--project", str(shop)]) == 0
        text = capsys.readouterr().out
        assert all(pair["recorded"]["reason"] in text for pair in again["verdicts"])

    assert rules == {
        "validation.suite",
        "drift.columns",
        "drift.classifier",
        "gate.threshold",
        "gate.beats_baseline",
        "gate.no_regression",
        "gate.latency",
        "gate.robustness",
        "deploy.smoke",
        "monitor.manual",
    }


def test_what_was_decided_stays_when_a_killed_step_measures_again(opened):
    quick, slow = (Verdict("gate.latency", outcome, "", {}) for outcome in ("pass", "fail"))
    first = opened.record_verdict(quick, subject=MODEL, key="run/validate_model:3")
    again = opened.record_verdict(slow, subject=MODEL, key="run/validate_model:3")

    assert (first, again) == (quick, quick)
    assert verdicts(opened, "gate.latency") == ["pass", "pass"]  # the first run's, and this one


def test_what_is_not_a_decision_is_said_so_with_the_nearest(shop, ask):
    code, answer = ask(shop, "explain", "1")

    assert (code, answer["error"]["code"]) == (4, "LEDGER-05")
    assert answer["error"]["fix"].startswith("the nearest decision is ")


def test_a_run_from_a_step_does_not_train_again(shop, served, opened, ask):
    trained = list_runs(opened.ledger)[0]
    code, run = ask(shop, "run", "--from", "validate_model")

    assert (code, run["status"]) == (0, "succeeded")
    assert run["parameters"] == {"from": "validate_model", "base": trained.run_id}
    done = [e.body["step"] for e in opened.ledger.events("step", run["run_id"]) if e.body.get("status") == "succeeded"]
    assert done == STEPS[STEPS.index("validate_model") :]
    assert production(opened) == [(1, 1), (2, 1)]


def test_a_run_from_train_trains_even_on_the_same_data(shop, served, ask):
    code, run = ask(shop, "run", "--from", "train")

    assert (code, run["status"]) == (0, "succeeded")
    assert not run["steps"]["train"].get("cached")


def test_a_dry_run_shows_the_steps_and_runs_none(shop, opened, ask):
    before = opened.ledger.verify().events
    code, plan = ask(shop, "run", "--dry-run")

    assert code == 0
    assert [step["step"] for step in plan["steps"]] == STEPS
    assert opened.ledger.verify().events == before


def test_a_run_as_of_a_past_day_reads_nothing_later(shop, served, opened, ask):
    code, run = ask(shop, "run", "--as-of", "2024-01-25T00:00:00Z")

    assert (code, run["status"]) == (0, "succeeded")
    snapshot = opened.registry.get(MODEL, 2).lineage["snapshot"]
    assert snapshot["end"] == "2024-01-24T23:00:00.000000Z"  # an order is known to be late an hour after it


@pytest.mark.parametrize(
    "words",
    [
        ["status"],
        ["history"],
        ["history", MODEL, "--kind", "decision", "--last", "0"],
        ["ledger", "verify"],
        ["model", "list"],
        ["model", "show", "1"],
        ["model", "show", f"{MODEL}@champion"],
        ["features", "list"],
        ["features", "materialize"],
        ["features", "get", "history", "--key", "customer=c1"],
        ["promote", "1", "shadow"],
        ["run", "--dry-run"],
        ["trigger"],
        ["monitor", "--once"],
    ],
    ids=" ".join,
)
def test_every_command_answers_in_json_and_in_words(shop, ask, capsys, words):
    code, answer = ask(shop, *words)

    assert code == 0
    assert isinstance(answer, (dict, list))
    assert main([*words, "--project", str(shop)]) == 0
    printed = capsys.readouterr()
    assert (printed.out + printed.err).strip()
    with pytest.raises(ValueError):
        json.loads(printed.out)


def test_features_are_given_as_serving_sees_them(shop, ask):
    ask(shop, "features", "materialize")
    code, answer = ask(shop, "features", "get", "history:last_late", "--key", "customer=c1")
    _, nobody = ask(shop, "features", "get", "history", "--key", "customer=c99")

    last = [row for row in make_rows() if row[1] == "c1"][-1]
    assert code == 0
    assert [(one["feature"], one["value"], one["status"]) for one in answer] == [("last_late", last[4], "present")]
    assert [(row["value"], row["status"]) for row in nobody] == [(None, "missing")] * 2


def test_a_changed_ledger_is_found_out(shop, opened, ask):
    assert ask(shop, "ledger", "verify")[0] == 0
    with opened.ledger.database.transaction() as session:
        session.execute("UPDATE event SET body = replace(body, '\"pass\"', '\"fail\"') WHERE seq = 6")

    code, found = ask(shop, "ledger", "verify")

    assert (code, found["is_intact"]) == (4, False)
    assert found["problems"] == [f"event 6 (decision {MODEL}) was changed after it was written"]


def test_a_defect_of_ours_has_an_exit_code_of_its_own(shop, monkeypatch, capsys):
    def stumble(*arguments):
        raise ZeroDivisionError("ours")

    monkeypatch.setattr("millrace.flow.status.read_status", stumble)

    assert main(["status", "--project", str(shop)]) == 70
    assert "ZeroDivisionError: ours" in capsys.readouterr().err
