"""`millrace data drift`: what is compared, what is written, and how it ends."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millrace.cli.main import main


def table(seed, *, shift=0.0, turned=False, rows=800):
    rng = np.random.default_rng(seed)
    amount = rng.normal(size=rows)
    return pa.table(
        {
            "at": pa.array(np.arange(rows) * 3_600_000_000).cast(pa.timestamp("us", tz="UTC")),
            "amount": amount + shift,
            "weight": (-1 if turned else 1) * amount + rng.normal(size=rows),
            "code": rng.integers(0, 4, rows),
            "shop": rng.choice(["north", "south"], rows),
        }
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pq.write_table(table(1), "then.parquet")
    pq.write_table(table(2), "now.parquet")
    pq.write_table(table(3, shift=1.0), "moved.parquet")
    pq.write_table(table(4, turned=True), "turned.parquet")
    pq.write_table(table(5, rows=20), "few.parquet")
    return tmp_path


@pytest.fixture
def run(capsys):
    def run(*words):
        code = main(["data", "drift", *words])
        told = capsys.readouterr()
        return code, told.out or told.err

    return run


def test_columns_and_the_whole_are_compared(folder, run):
    code, text = run("then.parquet", "now.parquet")

    assert code == 0
    assert "classifier    pass: rows are not told apart beyond chance" in text
    assert "left out      at: a time always moves" in text
    assert "false alarms  at most" in text
    assert "\x1b" not in text


def test_what_no_column_shows_is_found(folder, run):
    code, text = run("then.parquet", "turned.parquet")

    assert code == 1
    assert "by amount with weight" in text
    assert run("then.parquet", "turned.parquet", "--columns-only")[0] == 0


def test_json_holds_every_figure(folder, run):
    code, text = run("then.parquet", "moved.parquet", "--json")
    report = json.loads(text)

    assert (code, report["outcome"], report["drifted"]) == (1, "fail", ["amount"])
    assert report["parts"]["classifier"]["outcome"] == "fail"
    assert report["evidence"]["classifier"]["auc"] > 0.7


def test_a_profile_stands_for_the_reference(folder, run):
    assert run("then.parquet", "--save-profile", "then.json", "--types", "code=categorical")[0] == 0

    code, text = run("then.json", "moved.parquet", "--json")
    report = json.loads(text)

    assert (code, report["drifted"], report["left_out"]) == (1, ["amount"], ["at"])
    assert report["evidence"]["profile"]
    assert next(c for c in report["columns"] if c["name"] == "code")["kind"] == "categorical"
    assert "classifier" not in report["parts"]
    assert run("then.json", "now.parquet")[0] == 0


def test_saving_and_comparing_go_together(folder, run):
    assert run("then.parquet", "now.parquet", "--save-profile", "kept.json")[0] == 0
    assert (folder / "kept.json").stat().st_size > 1000


def test_reports_are_written(folder, run):
    assert run("then.parquet", "moved.parquet", "--report", "html", "page.html", "png", "one.png", "json")[0] == 1

    assert "<h1>moved: " in (folder / "page.html").read_text()
    assert "left out: at" in (folder / "page.html").read_text()
    assert (folder / "one.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert json.loads((folder / "moved.report.json").read_text())["drifted"] == ["amount"]


def test_colour_is_for_terminals_alone(folder, run, monkeypatch):
    import sys

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)

    assert "\x1b[31mdrift" in run("then.parquet", "moved.parquet")[1]


def test_columns_that_are_new_or_gone_are_told_everywhere(folder, run):
    now = table(2)
    pq.write_table(now.append_column("fresh", now["code"]).drop(["weight"]), "other.parquet")

    code, text = run("then.parquet", "other.parquet", "--columns", "amount", "--report", "page.html", "facts.json")

    assert code == 0
    assert "  new           fresh: not in the reference, so not compared" in text
    assert "  gone          weight: in the reference, and was not to be compared" in text
    page = (folder / "page.html").read_text()
    assert '<span class="warn">new</span> fresh: not in the reference' in page
    assert '<span class="warn">gone</span> weight: in the reference' in page
    facts = json.loads((folder / "facts.json").read_text())
    assert (facts["columns_added"], facts["columns_removed"]) == (["fresh"], ["weight"])
    code, text = run("then.parquet", "other.parquet")
    assert (code, "gone" in text) == (1, False)
    assert "  error         weight  the column is missing from the current data" in text


@pytest.mark.parametrize(
    ("change", "outcome", "reason"),
    [
        (lambda times: times, "ok", "its type and nulls hold; its values always move, and are not compared"),
        (lambda times: None, "error", "the column is missing from the current data"),
        (lambda times: times.cast(pa.string()), "error", "its type was timestamp[us, tz=UTC] and is string"),
        (lambda times: pa.nulls(len(times), times.type), "drift", "nulls went from 0.0% to 100.0%"),
    ],
)
@pytest.mark.parametrize("reference", ["then.parquet", "then.json"])
def test_of_a_time_that_always_moves_type_and_nulls_are_compared(folder, run, reference, change, outcome, reason):
    now = table(2)
    times = change(now["at"])
    rest = now.drop(["at"])
    pq.write_table(rest if times is None else rest.append_column("at", times), "other.parquet")
    run("then.parquet", "--save-profile", "then.json")

    code, text = run(reference, "other.parquet", "--json")
    column = next(column for column in json.loads(text)["columns"] if column["name"] == "at")

    assert (code, column["outcome"], column["reason"]) == (0 if outcome == "ok" else 1, outcome, reason)
    assert run(reference, "few.parquet")[0] == 2


@pytest.mark.parametrize("form", [pa.duration("us"), pa.time64("us")])
def test_durations_and_times_of_day_do_not_always_move_and_are_compared(folder, run, form):
    rng = np.random.default_rng(0)
    for name, most in (("short.parquet", 1_000_000), ("long.parquet", 3_000_000)):
        pq.write_table(pa.table({"spent": pa.array(rng.integers(0, most, 500), form)}), name)
    run("short.parquet", "--save-profile", "short.json")

    for reference in ("short.parquet", "short.json"):
        code, text = run(reference, "long.parquet")
        assert (code, "left out" in text) == (1, False)
        assert "drift         spent  major: the distribution moved" in text


def test_columns_that_share_a_name_are_broken_on_either_side(folder, run):
    now = table(2)
    pq.write_table(now.append_column("code", pa.array(now["code"].to_numpy() + 50)), "twice.parquet")

    code, text = run("then.parquet", "twice.parquet")
    assert code == 1
    assert "error         code    it could not be tested: 2 columns of the current data have this name" in text
    code, text = run("twice.parquet", "then.parquet", "--save-profile", "twice.json")
    assert code == 1
    assert "2 columns of the reference data have this name" in text
    code, text = run("twice.json", "then.parquet")
    assert code == 1
    assert "2 columns of the reference data have this name" in text


def test_it_is_said_when_the_classifier_was_not_asked(folder, run):
    run("then.parquet", "--save-profile", "then.json")

    assert "classifier    not asked: a profile keeps no rows" in run("then.json", "now.parquet")[1]
    assert "classifier" not in run("then.json", "now.parquet", "--columns-only")[1]


def test_nothing_comparable_is_neither_good_nor_bad(folder, run):
    assert run("then.parquet", "few.parquet")[0] == 2


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["then.parquet"], "DRIFT-23"),
        (["then.parquet", "now.parquet", "--types", "code"], "DRIFT-24"),
        (["then.parquet", "now.parquet", "--types", "code=nummeric"], "PROJ-36"),
        (["then.parquet", "now.parquet", "--report", "pdf"], "VALID-60"),
        (["then.parquet", "now.parquet", "--types", "cod=categorical"], "DATA-02"),
        (["then.parquet", "--save-profile", "p.json", "--types", "cod=categorical,shp=string"], "DATA-02"),
        (["then.parquet", "now.parquet", "--columns", ","], "DRIFT-09"),
        (["then.parquet", "now.parquet", "--columns", "amont"], "DATA-02"),
        (["then.parquet", "now.parquet", "--effect", "nan"], "PROJ-35"),
        (["gone.json", "now.parquet"], "DRIFT-05"),
    ],
)
def test_what_cannot_be_done_exits_2_with_its_code(folder, run, words, error):
    code, text = run(*words)

    assert (code, text.split()[0]) == (2, error)


def test_a_file_that_is_no_profile_is_refused(folder, run):
    (folder / "other.json").write_text("{}")

    assert run("other.json", "now.parquet")[1].split()[0] == "DRIFT-02"
