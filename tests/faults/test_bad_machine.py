"""What machines do wrong, through the real command: a clear error, the right exit code, nothing lost."""

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
from complaints import complain, failure, read_record, run

from millrace.core.ids import canonical_json
from millrace.flow.endpoint import Endpoint
from millrace.flow.run import list_runs
from millrace.store.blobs import digest_file
from small_project import MODEL, edit, live_servers, make_rows, millrace, open_small_project, write_rows

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def test_a_port_that_is_taken(shop):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, error = complain(shop, "serve", "--port", str(port))

    assert (code, error["code"]) == (5, "SERVE-01")
    assert error["what"] == f"the address 127.0.0.1:{port} is already in use"
    assert error["fix"]


def files_no_larger_than(count):
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, count))


@pytest.mark.parametrize(
    ("limit", "rows", "code", "place"),
    [(4096, 2100, 4, "ledger.db"), (60_000, 2100, 4, "ledger.db"), (200_000, 40_000, 4, "blobs/")],
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
    if (
        limit > 4096 and place == "ledger.db"
    ):  # the run had begun and could not even record its end: the same one went on
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


def test_a_damaged_bundle_is_no_cached_result_and_is_made_again(moving_shop):
    wiring = open_small_project(moving_shop)
    manifest = wiring.manifest(wiring.registry.get(MODEL, 1).digest)
    path = flip_a_byte(wiring, manifest.files["model"])
    wiring.close()
    assert digest_file(path) != path.name

    code, answer = run(moving_shop)

    assert (code, answer["status"]) == (0, "succeeded")
    assert not answer["steps"]["train"].get("cached")
    assert digest_file(path) == path.name


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
