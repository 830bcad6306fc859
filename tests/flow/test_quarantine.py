"""Refused batches: kept, told, released on the record, and then learned from exactly as they were."""

import json
from datetime import timedelta

import pytest

from millrace.core.clock import ManualClock
from millrace.flow.artifacts import load_artifact
from millrace.flow.decisions import explain, replay
from millrace.flow.lifecycle import train_pipeline
from millrace.flow.run_step import run_step
from millrace.flow.runs import Runs
from millrace.validation.release import list_quarantined
from small_project import END, MODEL, edit, make_rows, open_small_project, write_rows, write_small_project

NOW = END + timedelta(hours=2)


@pytest.fixture
def folder(tmp_path):
    """The small project, nothing run yet."""
    return write_small_project(tmp_path / "orders")


def spoil(folder, *, rows=2000, amount=999_999_999, seed=7):
    found = make_rows(rows=rows, seed=seed)
    found[5] = [*found[5][:2], amount, *found[5][3:]]
    write_rows(folder, found)


def prepare(folder, *, at=NOW, model=MODEL):
    """The first two steps of a new run: (how validate_data ended, its facts, the snapshot)."""
    wiring = open_small_project(folder, ManualClock(at))
    run = Runs(wiring.project, ManualClock(at)).start("train", model)
    extracted = run_step(wiring, train_pipeline(), run.run_id, "extract")
    judged = run_step(wiring, train_pipeline(), run.run_id, "validate_data")
    facts = load_artifact(judged.outputs["validation"], wiring.blobs) if judged.outputs else {}
    snapshot = load_artifact(extracted.outputs["snapshot"], wiring.blobs)
    wiring.close()
    return judged, facts, snapshot


def events(folder, kind):
    wiring = open_small_project(folder)
    found = wiring.ledger.events(kind)
    wiring.close()
    return found


def alerts(folder):
    return [(event.body["severity"], event.body["title"]) for event in events(folder, "alert")]


UNFIT = ("critical", "batch of 'orders' is unfit: nothing was trained on it")


def test_a_released_batch_is_learned_from_exactly_and_once(folder, ask):
    spoil(folder)
    refused, _, blocked = prepare(folder)
    assert refused.status == "refused"
    code, listed = ask(folder, "data", "quarantine")
    assert (code, [(one["status"], one["rows"], one["model"]) for one in listed]) == (0, [("kept", 2000, MODEL)])
    assert listed[0]["batch"] == blocked["digest"]

    write_rows(folder, make_rows(rows=1500))  # the source moves on before anybody decides
    words = ["data", "release", blocked["digest"][:10], "--reason", "a bulk order, checked", "--by", "Ana"]
    first, again = ask(folder, *words)[1], ask(folder, *words)[1]
    assert (first["is_new"], again["is_new"], first["event"]) == (True, False, again["event"])
    taken, facts, snapshot = prepare(folder, at=NOW + timedelta(minutes=1))
    later, _, newer = prepare(folder, at=NOW + timedelta(minutes=2))

    assert (taken.status, snapshot["digest"], snapshot["rows"]) == ("succeeded", blocked["digest"], 2000)
    assert facts["orders"]["release"]["outcome"] == "pass"
    assert "released by Ana" in facts["orders"]["release"]["reason"]
    assert (later.status, newer["rows"]) == ("succeeded", 1500)
    assert alerts(folder) == [UNFIT, ("warning", "Ana released a refused batch of 'orders'")]
    shown = ask(folder, "data", "quarantine", "show", blocked["digest"][:10])[1]
    assert (shown["status"], shown["released"]["reason"]) == ("used", "a bulk order, checked")
    assert shown["report"]["statistics"]["unsuccessful_expectations"] == 1


def test_the_decision_to_let_it_through_is_explained_and_replayed(folder, ask):
    spoil(folder)
    prepare(folder)
    (entry,) = ask(folder, "data", "quarantine")[1]
    ask(folder, "data", "release", str(entry["event"]), "--reason", "checked")
    prepare(folder, at=NOW + timedelta(minutes=1))

    (decision,) = [e for e in events(folder, "decision") if e.body["verdict"]["rule"] == "validation.release"]
    assert decision.body["verdict"]["outcome"] == "pass"
    assert replay(decision).is_same
    assert "it covers all 1 findings" in "\n".join(explain(decision))


def test_a_release_covers_neither_another_batch_nor_another_rule(folder, ask):
    spoil(folder)
    prepare(folder)
    (entry,) = ask(folder, "data", "quarantine")[1]
    ask(folder, "data", "release", entry["batch"], "--reason", "checked")
    edit(folder, '"max_value": 20', '"max_value": 3', file="suites/orders.json")
    stricter, facts, snapshot = prepare(folder, at=NOW + timedelta(minutes=1))

    assert (stricter.status, snapshot["digest"]) == ("refused", entry["batch"])
    assert "does not cover: items: values between 1 and 3" in facts["orders"]["release"]["reason"]
    assert [(q.status, len(q.findings), len(q.covered)) for q in quarantined(folder)] == [("kept", 2, 1)]

    edit(folder, '"max_value": 3', '"max_value": 20', file="suites/orders.json")
    spoil(folder, amount=999_999_998)
    other, _, _ = prepare(folder, at=NOW + timedelta(minutes=2))
    assert other.status == "refused"
    assert [q.status for q in quarantined(folder)] == ["kept", "kept"]


def quarantined(folder):
    wiring = open_small_project(folder)
    found = list_quarantined(wiring.ledger)
    wiring.close()
    return found


def test_of_two_released_batches_the_later_released_is_taken_and_the_other_passed_over(folder, ask):
    digests = []
    for amount in (999_999_999, 888_888_888):
        spoil(folder, amount=amount)
        digests.append(prepare(folder)[2]["digest"])
    for digest in reversed(digests):
        ask(folder, "data", "release", digest, "--reason", "checked")
    _, _, snapshot = prepare(folder, at=NOW + timedelta(minutes=1))

    assert snapshot["digest"] == digests[0]
    assert {q.batch: q.status for q in quarantined(folder)} == {digests[0]: "used", digests[1]: "passed over"}
    assert len(alerts(folder)) == 4


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["quarantine", "show", "nothing"], "VALID-63"),
        (["quarantine", "show"], "VALID-63"),
        (["release", "nothing", "--reason", "x"], "VALID-63"),
        (["release", "1", "--reason", " "], "VALID-66"),
    ],
)
def test_a_batch_that_is_not_there_is_told(folder, ask, words, error):
    code, answer = ask(folder, "data", *words)

    assert (code, answer["error"]["code"]) == (2, error)


def test_the_commands_say_what_a_release_covers(folder, capsys):
    from millrace.cli.main import main

    assert main(["data", "quarantine", "--project", str(folder)]) == 0
    assert capsys.readouterr().out == "no batch was refused\n"
    spoil(folder)
    prepare(folder)
    main(["data", "quarantine", "--project", str(folder)])
    line = capsys.readouterr().out.splitlines()[1]
    main(["data", "release", line.split()[0], "--reason", "checked", "--project", str(folder)])
    told = capsys.readouterr().out
    main(["data", "quarantine", "show", line.split()[0], "--project", str(folder)])
    shown = capsys.readouterr().out

    assert "kept" in line
    assert "  covered      amount: values between 0 and 10,000 (1 of 2,000" in told
    assert "not covered  any other batch" in told
    assert f"millrace run {MODEL} learns from exactly these 2,000 rows, once" in told
    assert shown.startswith("released  batch ")
    assert "covered   amount: values between 0 and 10,000" in shown


@pytest.mark.parametrize(
    ("spoilt", "code"), [(lambda text: text.splitlines()[0] + "\n", "DATA-40"), (lambda text: text[3:], "DATA-05")]
)
def test_a_source_that_cannot_be_read_is_told_though_there_is_no_batch_to_keep(folder, spoilt, code):
    path = folder / "data" / "orders.csv"
    path.write_text(spoilt(path.read_text()))
    wiring = open_small_project(folder, ManualClock(NOW))
    run = Runs(wiring.project, ManualClock(NOW)).start("train", MODEL)
    for _ in range(2):
        assert run_step(wiring, train_pipeline(), run.run_id, "extract").status == "failed"
    wiring.close()

    assert alerts(folder) == [("critical", "'orders' cannot be used: nothing was trained on it")]
    assert code in events(folder, "alert")[0].body["text"]


def test_releasing_a_batch_that_a_run_took_says_that_nothing_waits(folder, capsys):
    from millrace.cli.main import main

    spoil(folder)
    _, _, blocked = prepare(folder)
    words = ["data", "release", blocked["digest"][:10], "--reason", "checked", "--project", str(folder)]
    main(words)
    prepare(folder, at=NOW + timedelta(minutes=1))
    capsys.readouterr()

    assert main(words) == 0
    told = capsys.readouterr().out
    assert told.startswith("was released before")
    assert "nothing waits: run " in told
    assert "learns from" not in told


@pytest.mark.parametrize(("severity", "told"), [("warning", 1), ("info", 0)])
def test_a_warning_is_told_and_an_info_only_recorded(folder, severity, told):
    path = folder / "suites" / "orders.json"
    suite = json.loads(path.read_text())
    for rule in suite["expectations"]:
        rule["severity"] = severity
    path.write_text(json.dumps(suite))
    spoil(folder)
    judged, facts, _ = prepare(folder)

    assert (judged.status, facts["orders"]["outcome"]) == ("succeeded", "pass")
    assert f"({severity}, not blocking)" in facts["orders"]["reason"]
    assert len(alerts(folder)) == told
    assert {severity for severity, _ in alerts(folder)} <= {"warning"}
    assert not events(folder, "quarantine")


# --- incidents


def test_labels_of_one_kind_are_kept_back_though_every_rule_holds(folder):
    write_rows(folder, [[*row[:4], 1] for row in make_rows()])
    judged, facts, _ = prepare(folder)

    assert judged.status == "refused"
    assert judged.reason.startswith("orders: data incident: all 2,000 labels are 1")
    assert facts["orders"]["result"]["success"] is True
    assert alerts(folder) == [UNFIT]
    (decision,) = [e for e in events(folder, "decision") if e.body["verdict"]["rule"].endswith("incident")]
    assert replay(decision).is_same
    assert [list(q.findings) for q in quarantined(folder)] == [["validation.label_incident"]]


def test_stale_data_are_kept_back_once_an_age_is_set(folder):
    edit(folder, 'delay="1h", suite', 'delay="1h", incidents=mr.Incidents(max_age="1d"), suite')
    fresh, _, _ = prepare(folder)
    old, facts, _ = prepare(folder, at=NOW + timedelta(days=3))

    assert (fresh.status, old.status) == ("succeeded", "refused")
    assert "at most 24 h is allowed" in facts["orders"]["reason"]


def test_a_source_learns_its_own_habit_and_a_collapse_or_silence_is_seen(folder):
    edit(folder, 'holdout="random")', 'holdout="random", window="10d")')
    write_rows(folder, make_rows(rows=2000))
    for day in range(10):
        judged, _, snapshot = prepare(folder, at=NOW - timedelta(days=20 - day))
        assert (judged.status, snapshot["rows"]) == ("succeeded", 480)

    silent, facts, _ = prepare(folder, at=NOW + timedelta(days=2))
    assert silent.status == "refused"
    assert "by its habit at most" in facts["orders"]["reason"]

    rows = make_rows(rows=2000)
    write_rows(folder, [row for number, row in enumerate(rows) if number % 20 == 0 or number > 1990])
    fewer, facts, _ = prepare(folder, at=NOW)
    assert fewer.status == "refused"
    assert "rows after 480: it fell" in facts["orders"]["reason"]


def test_a_run_of_the_past_neither_sees_later_batches_nor_stands_for_the_last(folder):
    for step in range(9):
        prepare(folder, at=NOW - timedelta(hours=9 - step))
    past, facts, snapshot = prepare(folder, at=NOW - timedelta(days=38))
    _, again, _ = prepare(folder, at=NOW)

    assert (past.status, snapshot["rows"] < 600) == ("succeeded", True)
    assert "0 earlier batches of the 8 needed" in facts["orders"]["incidents"][0]["reason"]
    assert "2,000 rows after 1,9" in again["orders"]["incidents"][0]["reason"]


def test_a_source_of_features_learns_its_habit_too(folder):
    edit(folder, 'holdout="random")', 'holdout="random", window="10d")')
    log = 'log = mr.Source("log", "data/log.csv", event_time="ts", delay="1h", incidents=mr.Incidents())\n'
    edit(folder, 'customer = mr.Entity("customer"', f'{log}customer = mr.Entity("customer"')
    edit(folder, "source=orders,", "source=log,")
    source = folder / "data" / "log.csv"
    lines = (folder / "data" / "orders.csv").read_text().splitlines(keepends=True)
    source.write_text("".join(lines))
    for day in range(9):
        judged, facts, _ = prepare(folder, at=NOW - timedelta(days=10 - day))
        assert judged.status == "succeeded"
    assert [(found["rule"], found["outcome"]) for found in facts["log"]["incidents"]] == [
        ("validation.row_count_incident", "pass"),
        ("validation.stale_incident", "pass"),
    ]

    source.write_text("".join(line for number, line in enumerate(lines) if number % 20 == 0))
    fewer, facts, _ = prepare(folder)
    assert fewer.status == "refused"
    assert "it fell" in facts["log"]["reason"]
    again, _, _ = prepare(folder, at=NOW + timedelta(minutes=1))
    assert again.status == "refused"  # a refused batch is no part of the habit

    source.write_text(lines[0])
    empty, facts, _ = prepare(folder)
    assert empty.status == "refused"
    assert "nothing came" in facts["log"]["reason"]


def test_another_population_than_the_champions_is_kept_back(shop):
    edit(shop, 'delay="1h", suite', 'delay="1h", incidents=mr.Incidents(groups="customer"), suite')
    rows = make_rows(seed=8)
    write_rows(shop, rows)
    same, _, _ = prepare(shop)
    write_rows(shop, [[row[0], f"new{n % 5}" if n % 2 else row[1], *row[2:]] for n, row in enumerate(rows)])
    other, facts, _ = prepare(shop, at=NOW + timedelta(minutes=1))

    assert (same.status, other.status) == ("succeeded", "refused")
    assert "50.0% of the rows are of groups the reference never held" in facts["orders"]["reason"]


def test_cents_for_euros_are_kept_back_though_every_rule_holds(shop):
    (shop / "suites" / "orders.json").write_text('{"name": "orders", "expectations": []}')
    rows = make_rows(seed=8)
    write_rows(shop, [[*row[:2], round(row[2] * 100), *row[3:]] for row in rows])
    cents, facts, _ = prepare(shop)

    assert cents.status == "refused"
    assert "amount: the numbers are the reference's times 1" in facts["orders"]["reason"]
    assert "a unit was changed" in facts["orders"]["reason"]


def test_a_label_rate_far_from_the_champions_is_kept_back_and_a_moved_one_is_not(shop):
    rows = make_rows(seed=8)
    write_rows(shop, [[*row[:4], row[4] if n % 3 else 1] for n, row in enumerate(rows)])
    moved, _, _ = prepare(shop)
    write_rows(shop, [[*row[:4], int(n % 50 > 0)] for n, row in enumerate(rows)])
    broken, facts, _ = prepare(shop, at=NOW + timedelta(minutes=1))

    assert (moved.status, broken.status) == ("succeeded", "refused")
    assert "the odds moved by a factor of" in facts["orders"]["reason"]
