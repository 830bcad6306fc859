"""Batches larger than what may be held: a suite is judged in a bounded memory, measured in a process of its own."""

import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millrace.validation.suite import Suite

PIECE = 1_000_000
PROGRAM = """
import json, sys
from pathlib import Path
from millrace.validation.engine import validate
from millrace.validation.suite import Suite
result = validate(sys.argv[1], Suite.load(sys.argv[2]))
# Not the peak of getrusage, which begins with that of whoever started this process.
line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
peak_mb = int(line.split()[1]) / 1024
failed = {rule.expectation.type: rule.result["unexpected_count"] for rule in result.failed}
print(json.dumps({"peak_mb": peak_mb, "failed": failed}))
"""


def write(file, pieces, make):
    writer = None
    for number in range(pieces):
        table = pa.table(make(number, np.random.default_rng(number)))
        writer = writer or pq.ParquetWriter(file, table.schema)
        writer.write_table(table)
    writer.close()


def judged(file, suite):
    suite.save(file.parent / "suite.json")
    words = [sys.executable, "-c", PROGRAM, str(file), str(file.parent / "suite.json")]
    return json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)


@pytest.mark.slow
def test_ten_million_rows_are_judged_in_less_than_a_gigabyte(tmp_path):
    def users(number, rng):
        return {
            "id": rng.permutation(PIECE) + number * PIECE,
            "age": rng.integers(18, 90, PIECE),
            "income": pa.array(rng.lognormal(10, 0.5, PIECE), mask=rng.random(PIECE) < 0.05),
            "plan": pa.array(np.array(["free", "basic", "pro"])[rng.integers(0, 3, PIECE)]),
        }

    write(tmp_path / "users.parquet", 10, users)
    suite = (
        Suite("users")
        .expect_column_values_to_be_unique("id")
        .expect_column_values_to_be_between("age", 18, 89)
        .expect_column_values_to_not_be_null("income", mostly=0.9)
        .expect_column_values_to_be_in_set("plan", ["free", "basic", "pro"])
        .expect_column_mean_to_be_between("age", 50, 57)
        .expect_column_stdev_to_be_between("income", 0)
        .expect_column_distinct_values_to_equal_set("plan", ["free", "basic", "pro"])
    )

    found = judged(tmp_path / "users.parquet", suite)

    assert found["failed"] == {}
    assert found["peak_mb"] < 1024


@pytest.mark.slow
def test_keys_far_apart_of_forty_million_rows_are_compared_in_parts(tmp_path):
    def keys(number, _rng):
        # A product with an odd number is another number for every row, and all over 64 bits.
        spread = (np.arange(PIECE, dtype=np.uint64) + np.uint64(number * PIECE)) * np.uint64(11400714819323198485)
        if number == 39:
            spread[-3:] = spread[:3]
        return {"key": spread.view(np.int64)}

    write(tmp_path / "keys.parquet", 40, keys)

    found = judged(tmp_path / "keys.parquet", Suite("keys").expect_column_values_to_be_unique("key"))

    assert found["failed"] == {"expect_column_values_to_be_unique": 6}
    assert found["peak_mb"] < 2048
