"""What people and machines do wrong, through the real command: a clear error, the right exit code, nothing lost."""

import json
import os
import random
import re
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from functools import partial

import pytest

from millrace.core.ids import canonical_json
from millrace.flow.endpoint import Endpoint
from millrace.flow.run import list_runs
from small_project import (
    COLUMNS,
    MODEL,
    copy_project,
    edit,
    live_servers,
    make_rows,
    millrace,
    open_small_project,
    read_rows,
    write_rows,
)

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def moving_shop(trained_project, tmp_path):
    """A project with version 1 in production; after the test its chain must hold."""
    folder = copy_project(trained_project, tmp_path / "orders")
    yield folder
    verified = read_record(folder)[0]
    assert verified["is_intact"], verified["problems"]


@pytest.fixture
def shop(moving_shop):
    """The same, and after the test production must run what it ran."""
    yield moving_shop
    (model,) = read_record(moving_shop)[1]["models"]
    assert {r["environment"]: (r["number"], r["version"]) for r in model["releases"]} == {
        "staging": (1, 1),
        "production": (1, 1),
    }


def read_record(folder):
    """What `ledger verify` and `status` say; neither runs the definitions, which may be what is wrong."""
    answers = []
    for words in (("ledger", "verify"), ("status",)):
        found = millrace(folder, *words, "--json")
        assert found.returncode == 0, found.stdout + found.stderr
        answers.append(json.loads(found.stdout))
    return answers


def run(shop, *words, **options):
    """`millrace run`: exit code and answer."""
    ended = millrace(shop, "run", *words, "--json", **options)
    assert "Traceback" not in ended.stderr, ended.stderr
    return ended.returncode, json.loads(ended.stdout)


def failure(answer):
    """The error of the step that failed, after exactly one attempt: what cannot be mended is not tried again."""
    (failed,) = [step for step in answer["steps"].values() if step["status"] == "failed"]
    assert failed["attempt"] == 1
    return failed["step"], failed["error"]


def without_suite(shop):
    edit(shop, ', suite="suites/orders.json"', "")


# ---- data


def test_a_missing_file(shop):
    (shop / "data" / "orders.csv").rename(shop / "data" / "order.csv")
    code, answer = run(shop)

    step, error = failure(answer)
    assert (code, step, error["code"]) == (1, "extract", "DATA-01")
    assert error["what"].startswith("there is no file 'orders.csv'")
    assert "orders.csv" in error["where"]
    assert error["fix"] == "did you mean 'order.csv'?"
    # The person who reads it sees the same.
    told = millrace(shop, "run")
    assert told.returncode == 1
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
    assert (exit_code, failed, error["code"]) == (1, step, code)
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
    assert (code, step) == (1, "train")
    assert "25 years" in error["what"]
    assert error["where"]
    assert error["fix"]


def test_columns_shifted_by_one_are_found_out(shop):
    write_rows(shop, [[*row[1:], row[0]] for row in read_rows(shop)])
    code, answer = run(shop)

    step, error = failure(answer)
    assert (code, step) == (1, "extract")
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
    assert (code, step, error["code"]) == (1, "extract", "DATA-40")
    assert "'orders' has no labelled row" in error["what"]
    assert error["where"].startswith(f"{shop}/project.py:")
    assert error["fix"]


def test_a_file_without_a_byte(shop):
    (shop / "data" / "orders.csv").write_bytes(b"")
    code, answer = run(shop)

    step, error = failure(answer)
    assert (code, step, error["code"]) == (1, "extract", "DATA-06")
    assert "is empty" in error["what"]


def test_a_file_cut_off_in_the_middle_of_a_line(shop):
    path = shop / "data" / "orders.csv"
    text = path.read_text()
    path.write_text(text[: text.rindex(",")])
    code, answer = run(shop)

    _, error = failure(answer)
    assert (code, error["code"]) == (1, "DATA-05")
    assert error["findings"][0]["what"].startswith("line 2001 has 4 fields, not 5")


def test_the_data_mended_the_next_run_succeeds(moving_shop):
    path = moving_shop / "data" / "orders.csv"
    path.rename(moving_shop / "elsewhere.csv")
    assert run(moving_shop)[0] == 1
    (moving_shop / "elsewhere.csv").rename(path)

    assert run(moving_shop, "--dry-run")[0] == 0
    code, answer = run(moving_shop)
    assert (code, answer["status"]) == (0, "succeeded")


# ---- what the user wrote


def complain(shop, *words):
    """A command that must fail at once: exit code and error."""
    ended = millrace(shop, *words, "--json")
    assert "Traceback" not in ended.stderr, ended.stderr
    return ended.returncode, json.loads(ended.stdout)["error"]


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


# ---- machines


def test_a_port_that_is_taken(shop):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, error = complain(shop, "serve", "--port", str(port))

    assert (code, error["code"]) == (5, "SERVE-01")
    assert error["what"] == f"the address 127.0.0.1:{port} is already in use"
    assert error["fix"]


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


def files_no_larger_than(count):
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, count))


@pytest.mark.parametrize(
    ("limit", "rows", "code", "place"),
    [(4096, 2100, 4, "ledger.db"), (60_000, 2100, 4, "ledger.db"), (200_000, 40_000, 1, "blobs/")],
    ids=["ledger at once", "ledger in the middle", "blobs"],
)
def test_a_full_disk_stops_the_run_whole_and_with_room_again_it_goes_on(moving_shop, limit, rows, code, place):
    """A limit on the size of files stands for the disk: the same write is refused, by EFBIG instead of ENOSPC."""
    write_rows(moving_shop, make_rows(rows=rows, start=LONG_AGO))
    before = read_record(moving_shop)[1]
    exit_code, answer = run(moving_shop, preexec_fn=partial(files_no_larger_than, limit))

    error = answer["error"] if "error" in answer else failure(answer)[1]
    assert (exit_code, error["code"]) == (code, "STORE-01")
    assert error["where"].startswith(str(moving_shop / ".millrace" / place))
    assert "intact" in error["why"]
    assert "free space" in error["fix"]
    verified, after = read_record(moving_shop)
    assert verified["is_intact"]
    assert after["models"] == before["models"]
    assert not list((moving_shop / ".millrace" / "blobs").rglob("*.tmp"))

    exit_code, answer = run(moving_shop)
    assert (exit_code, answer["status"]) == (0, "succeeded")
    if code == 4 and limit > 4096:  # the run had begun: the same one went on
        assert answer["run_id"] == after["runs"][-1]["run_id"]


def settle(shop):
    """The path of the ledger's file, everything in it and nothing beside it."""
    path = shop / ".millrace" / "ledger.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path


@pytest.mark.parametrize("place", ["head", "middle", "end", "everywhere"])
@pytest.mark.parametrize("words", [("ledger", "verify"), ("run",), ("status",)], ids=" ".join)
def test_a_damaged_ledger_is_said_to_be_damaged(shop, place, words):
    path = settle(shop)
    whole = path.read_bytes()
    size = len(whole)
    start, stop = {
        "head": (0, 100),
        "middle": (size // 4, 3 * size // 4),
        "end": (size // 2, size),
        "everywhere": (0, size),
    }[place]
    noise = random.Random(3).randbytes(stop - start)
    path.write_bytes(whole[:start] + noise + whole[stop:])

    ended = millrace(shop, *words, "--json")
    path.write_bytes(whole)
    for beside in ("-wal", "-shm"):
        path.with_name(path.name + beside).unlink(missing_ok=True)

    assert "Traceback" not in ended.stderr, ended.stderr
    answer = json.loads(ended.stdout)
    assert ended.returncode == 4, answer
    if "error" in answer:
        assert answer["error"]["code"] in ("STORE-03", "LEDGER-02")
        assert answer["error"]["fix"]
    else:
        assert (words, answer["is_intact"]) == (("ledger", "verify"), False)


def flip_a_byte(wiring, digest):
    path = wiring.blobs.get_file(digest)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    return path


def second_version(wiring):
    """Version 2, a good one with a model file of its own."""
    first = wiring.registry.get(MODEL, 1)
    manifest = wiring.manifest(first.digest).to_dict()
    model = wiring.blobs.put(wiring.blobs.get(manifest["files"]["model"]) + b"\x00" * 8)
    files = {**manifest["files"], "model": model}
    digest = wiring.blobs.put(canonical_json({**manifest, "files": files}).encode())
    version = wiring.registry.register(
        MODEL,
        digest=digest,
        golden=first.golden,
        run_id="by-hand",
        metrics={},
        parameters={},
        lineage={},
        files=files,
        key="by-hand",
    )
    return version, model


def test_a_bundle_with_one_byte_changed_is_not_deployed(shop):
    wiring = open_small_project(shop)
    _, model = second_version(wiring)
    path = flip_a_byte(wiring, model)
    wiring.close()
    code, error = complain(shop, "deploy", "2")

    assert (code, error["code"], error["where"]) == (4, "BLOB-02", str(path))
    assert "was changed on disk" in error["why"]
    assert "backup" in error["fix"]


def test_a_bundle_with_one_byte_changed_is_not_served_and_the_old_model_stays(moving_shop):
    with live_servers(moving_shop) as servers:
        wiring = open_small_project(moving_shop)
        version, model = second_version(wiring)
        flip_a_byte(wiring, model)
        wiring.releases.make("production", MODEL, 2, version.digest, "direct", "by hand", "by-hand")
        endpoint = Endpoint(servers["production"].url)
        health = await_failure(endpoint)
        answer = endpoint.predict({"inputs": {"amount": 50, "items": 3}, "key": {"customer": "c1"}})
        endpoint.close()
        wiring.close()

    assert (health["failure"]["code"], health["failure"]["version"]) == ("BLOB-02", 2)
    assert health["version"] == answer["version"] == 1


def await_failure(endpoint):
    for _ in range(2000):
        health = endpoint.health()
        if health["failure"]:
            return health
    raise AssertionError("the server never told of the damaged bundle")


def test_a_damaged_bundle_fails_the_run_once_and_is_made_again_when_asked(moving_shop):
    wiring = open_small_project(moving_shop)
    manifest = wiring.manifest(wiring.registry.get(MODEL, 1).digest)
    path = flip_a_byte(wiring, manifest.files["model"])
    wiring.close()

    code, answer = run(moving_shop)
    step, error = failure(answer)
    assert (code, step, error["code"], error["where"]) == (1, "validate_model", "BLOB-02", str(path))

    path.unlink()
    code, answer = run(moving_shop, "--from", "train")
    assert (code, answer["status"]) == (0, "succeeded")
    assert path.exists()


# ---- two at once


def test_two_runs_at_once_are_one_too_many(moving_shop):
    """The first run waits inside its training until the second has been told to go."""
    gate = moving_shop / "gate"
    os.mkfifo(gate)
    write_rows(moving_shop, make_rows(rows=2100))
    edit(moving_shop, "    from sklearn.impute", f"    open({str(gate)!r}).read()\n    from sklearn.impute")
    command = [sys.executable, "-m", "millrace", "run", "--json", "--project", str(moving_shop)]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        with open(gate, "w"):  # returns once the training reads
            code, error = complain(moving_shop, "run")
            told = millrace(moving_shop, "run", "--from", "extract")
        answer = json.loads(first.communicate(timeout=120)[0])
    finally:
        if first.poll() is None:
            first.send_signal(signal.SIGKILL)
            first.wait()

    assert (code, error["code"]) == (3, "LEASE-01")
    assert re.search(rf"'run:train/{MODEL}' is held by another process", error["what"])
    assert error["why"]
    assert error["fix"]
    assert told.returncode == 3
    assert (first.returncode, answer["status"]) == (0, "succeeded")
    wiring = open_small_project(moving_shop)
    assert wiring.registry.get(MODEL, "champion").version == 2
    assert [run.status for run in list_runs(wiring.ledger)] == ["succeeded"] * 2  # who came second left none behind
    wiring.close()
