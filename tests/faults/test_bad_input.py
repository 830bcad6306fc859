"""What people do wrong, through the real command: a clear error, the right exit code, nothing lost."""

import random

import pytest
from complaints import complain, failure, run

from small_project import COLUMNS, MODEL, edit, millrace, open_small_project, read_rows, write_rows


def without_suite(shop):
    edit(shop, ', suite="suites/orders.json"', "")


# ---- data


def test_a_missing_file(shop):
    (shop / "data" / "orders.csv").rename(shop / "data" / "order.csv")
    code, answer = run(shop)

    step, error = failure(answer)
    assert (code, step, error["code"]) == (2, "extract", "DATA-01")
    assert error["what"].startswith("there is no file 'orders.csv'")
    assert "orders.csv" in error["where"]
    assert error["fix"] == "did you mean 'order.csv'?"
    # The person who reads it sees the same.
    told = millrace(shop, "run")
    assert told.returncode == 2
    assert "DATA-01" in told.stdout
    assert "did you mean 'order.csv'?" in told.stdout


def rename(shop, old, new):
    write_rows(shop, read_rows(shop), header=[new if name == old else name for name in COLUMNS])


def test_a_renamed_column_is_refused_by_the_suite(shop):
    rename(shop, "amount", "amuont")
    code, answer = run(shop)

    assert (code, answer["status"], list(answer["steps"])) == (1, "refused", ["extract", "validate_data"])
    assert "amuont" in answer["message"]


@pytest.mark.parametrize(
    ("column", "renamed", "step", "code"),
    [
        ("amount", "amuont", "build_features", "DATA-42"),
        ("ts", "tss", "extract", "DATA-02"),
        ("late", "latee", "build_features", "DATA-42"),
    ],
)
def test_a_renamed_column_without_a_suite_is_named_with_the_nearest(shop, column, renamed, step, code):
    without_suite(shop)
    rename(shop, column, renamed)
    exit_code, answer = run(shop)

    failed, error = failure(answer)
    assert (exit_code, failed, error["code"]) == (2, step, code)
    assert f"'{column}'" in error["what"]
    assert error["fix"] == f"did you mean '{renamed}'?"
    assert error["where"]


def change(shop, column, make, *, every=1):
    """`make(value)` in every so many rows of a column."""
    place, rows = COLUMNS.index(column), read_rows(shop)
    for row in rows[::every]:
        row[place] = make(row[place])
    write_rows(shop, rows)


REFUSED = {
    "text in a column of whole numbers": ("items", lambda value: "25 years", 500, "items"),
    "nulls in four of five rows": ("amount", lambda value: "", 1, "amount"),
    "a price of 999,999,999": ("amount", lambda value: 999_999_999, 400, "amount"),
    "a label that is none": ("late", lambda value: 7, 400, "late"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_unfit_batch_is_refused_and_kept(shop, case):
    column, make, every, named = REFUSED[case]
    if case.startswith("nulls"):
        chance = random.Random(1)
        change(shop, column, lambda value: "" if chance.random() < 0.8 else value)
    else:
        change(shop, column, make, every=every)
    code, answer = run(shop)

    assert (code, answer["status"], list(answer["steps"])) == (1, "refused", ["extract", "validate_data"])
    assert named in answer["message"]
    wiring = open_small_project(shop)
    (put_aside,) = wiring.ledger.events("quarantine")
    (alert,) = wiring.ledger.events("alert")
    assert alert.body["facts"]["quarantine"] == put_aside.seq
    wiring.close()


def test_text_among_numbers_without_a_suite_stops_the_training_once(shop):
    without_suite(shop)
    change(shop, "items", lambda value: "25 years", every=500)
    code, answer = run(shop)

    step, error = failure(answer)
    assert (code, step) == (2, "train")
    assert "25 years" in error["what"]
    assert error["where"]
    assert error["fix"]


def test_columns_shifted_by_one_are_found_out(shop):
    write_rows(shop, [[*row[1:], row[0]] for row in read_rows(shop)])
    code, answer = run(shop)

    step, error = failure(answer)
    assert (code, step) == (2, "extract")
    assert error["code"].startswith("DATA-")
    assert "'ts'" in error["what"]
    assert "source 'orders'" in error["where"]


def test_values_shifted_under_the_right_header_are_refused(shop):
    write_rows(shop, [[*row[:2], row[3], row[4], row[2]] for row in read_rows(shop)])
    code, answer = run(shop)

    assert (code, answer["status"], list(answer["steps"])) == (1, "refused", ["extract", "validate_data"])
    assert "items" in answer["message"] or "late" in answer["message"]


def test_a_batch_without_rows(shop):
    write_rows(shop, [])
    code, answer = run(shop)

    step, error = failure(answer)
    assert (code, step, error["code"]) == (2, "extract", "DATA-40")
    assert error["what"].startswith("'orders' has no row that was known at ")
    assert error["where"].startswith(f"{shop}/project.py:")
    assert error["fix"]


def test_a_file_without_a_byte(shop):
    (shop / "data" / "orders.csv").write_bytes(b"")
    code, answer = run(shop)

    step, error = failure(answer)
    assert (code, step, error["code"]) == (2, "extract", "DATA-06")
    assert "is empty" in error["what"]


def test_a_file_cut_off_in_the_middle_of_a_line(shop):
    path = shop / "data" / "orders.csv"
    text = path.read_text()
    path.write_text(text[: text.rindex(",")])
    code, answer = run(shop)

    _, error = failure(answer)
    assert (code, error["code"]) == (2, "DATA-05")
    assert error["findings"][0]["what"].startswith("line 2001 has 4 fields, not 5")


def test_the_data_mended_the_next_run_succeeds(moving_shop):
    path = moving_shop / "data" / "orders.csv"
    path.rename(moving_shop / "elsewhere.csv")
    assert run(moving_shop)[0] == 2
    (moving_shop / "elsewhere.csv").rename(path)

    assert run(moving_shop, "--dry-run")[0] == 0
    code, answer = run(moving_shop)
    assert (code, answer["status"]) == (0, "succeeded")


# ---- what the user wrote


def line_of(shop, text, file="project.py"):
    (number,) = [n for n, line in enumerate((shop / file).read_text().splitlines(), start=1) if text in line]
    return f"{shop / file}:{number}"


@pytest.mark.parametrize("words", [("run",), ("run", "--dry-run"), ("serve",), ("trigger",)], ids=" ".join)
def test_definitions_with_a_syntax_error(shop, words):
    edit(shop, "late_orders.deploy = mr.Direct()", "late_orders.deploy = mr.Direct(")
    code, error = complain(shop, *words)

    assert (code, error["code"]) == (2, "PROJ-13")
    assert error["where"] == line_of(shop, "mr.Direct(")
    assert error["fix"]


def test_every_unknown_name_of_the_definitions_is_told_at_once_with_line_and_nearest(shop):
    edit(shop, "features=[history]", 'features=["history:last_lat"]')
    edit(shop, "accuracy=0.6)", "acuracy=0.6)")
    edit(shop, "late_orders.deploy =", "late_orders.deplyo =")
    edit(shop, "min_samples=40", "min_sample=40")
    code, error = complain(shop, "run")

    assert (code, error["code"]) == (2, "PROJ-14")
    found = {finding["where"]: finding["fix"] for finding in error["findings"]}
    assert found[line_of(shop, "acuracy=0.6")] == "did you mean 'accuracy'?"
    assert found[line_of(shop, "deplyo")] == "did you mean 'deploy'?"
    assert found[line_of(shop, "min_sample=")] == "did you mean 'min_samples'?"
    assert found[line_of(shop, "@mr.model")] == "did you mean 'history:last_late'?"
    assert len(error["findings"]) == 4


def test_a_name_that_millrace_does_not_have(shop):
    edit(shop, "mr.Latency(p95_ms=1000)", "mr.Latencey(p95_ms=1000)")
    code, error = complain(shop, "run")

    assert (code, error["code"]) == (2, "PROJ-13")
    assert error["where"] == line_of(shop, "mr.Latencey")
    assert error["fix"] == "did you mean 'Latency'?"


def test_unknown_keys_in_the_settings_are_told_with_the_nearest(shop):
    settings = shop / "millrace.toml"
    before = settings.read_text()
    settings.write_text(before.replace("executor", "exectuor") + '\n[environments.production]\nsever = "http://x"\n')
    code, error = complain(shop, "status")
    settings.write_text(before)

    assert (code, error["code"]) == (2, "PROJ-03")
    assert [(finding["code"], finding["fix"]) for finding in error["findings"]] == [
        ("PROJ-08", "did you mean 'executor'?"),
        ("PROJ-08", "did you mean 'server'?"),
    ]
    assert error["where"] == str(settings)


def test_unknown_words_on_the_command_line_name_the_nearest(shop):
    assert complain(shop, "run", "late_order")[1]["fix"] == f"did you mean '{MODEL}'?"
    assert complain(shop, "run", "--from", "trian")[1]["fix"] == "did you mean 'train'?"
    code, error = complain(shop, "model", "show", f"{MODEL}@champoin")
    assert (code, error["code"]) == (2, "REG-03")


@pytest.mark.parametrize(
    "words",
    [
        ("run", "--as-of", "yesterday"),
        ("features", "materialize", "--end", "32nd"),
        ("data", "snapshot", "orders", "--end", "x"),
    ],
    ids=" ".join,
)
def test_a_time_that_is_none(shop, words):
    ended = millrace(shop, *words)

    assert ended.returncode == 2
    assert f"argument {words[-2]}: '{words[-1]}' is not a time" in ended.stderr
