"""The tables of docs/drift.md: their shares and intervals agree, keep what is promised, and come out again."""

import math
import re
from functools import partial
from pathlib import Path

import pytest
from benchmarks.drift_rates import false_alarms, interval, levels, numbers, power

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "drift.md").read_text(encoding="utf-8")
SHARE = re.compile(r"([\d.]+) (?:%|of (\d+)) \(([\d.]+) to ([\d.]+)\)")
COLUMNS, MOVED = 20, 5


def rows_of(heading):
    section = TEXT.partition(f"### {heading}\n")[2].partition("\n#")[0]
    lines = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("|")]
    return lines[2:]


ALARMS = rows_of("Measured without drift")
POWER = rows_of("Measured with drift")


def counts(cell, trials):
    """The numbers of trials that round to the share of a cell, and have its interval."""
    share, of, *bounds = SHARE.fullmatch(cell).groups()
    assert of is None or int(of) == trials, cell
    near = float(share) / 100 * trials if of is None else float(share)
    spread = 0.0 if of else 0.0005 * trials + 1
    tried = range(max(0, math.floor(near - spread)), min(trials, math.ceil(near + spread)) + 1)
    found = [hits for hits in tried if of or abs(100 * hits / trials - float(share)) < 0.0501]
    found = [hits for hits in found if is_interval(hits, trials, bounds)]
    assert found, cell
    return found


def is_interval(hits, trials, bounds):
    measured = interval(hits, trials)
    return all(abs(100 * one - float(said)) < 0.0501 for one, said in zip(measured, bounds, strict=True))


def trials_of(row):
    """Batches of a row; one that stands for six kinds of columns says how many of each."""
    kinds = 6 if row[2].endswith(" each") else 1
    return kinds * int(row[2].removesuffix(" each"))


def test_no_row_of_the_tables_is_left_out():
    assert (len(ALARMS), len(POWER)) == (15, 11)
    assert {row[0] for row in ALARMS} == {"1,000", "10,000", "1,000,000"}


@pytest.mark.parametrize("row", ALARMS, ids=" ".join)
def test_false_alarms_are_as_promised(row):
    trials = trials_of(row)
    flagged, significant = (max(counts(cell, trials)) for cell in row[3:5])

    assert flagged <= significant
    assert flagged / trials <= 0.08
    assert significant / trials <= 0.08


@pytest.mark.parametrize("row", POWER, ids=" ".join)
def test_what_moved_is_found_as_promised(row):
    batches = int(row[2])
    found, still = power_told(row)

    assert max(still) / (batches * (COLUMNS - MOVED)) <= 0.05
    assert max(found) / (batches * MOVED) >= 0.9 or row[1].startswith("0.1")


def measured_alarms(row):
    n, what = int(row[0].replace(",", "")), row[1].partition(",")[0] if "profile" in row[1] else row[1]
    k = what.removesuffix(" levels").replace(",", "")
    draw = partial(levels, n=n, k=int(k)) if k.isdigit() else partial(numbers, n=n)
    rate = false_alarms(n, int(row[2]), draw, by_profile="profile" in row[1])
    assert rate.untested == 0
    return rate.flagged, rate.significant


def measured_power(row):
    n, by_profile = int(row[0].replace(",", "")), "profile" in row[1]
    if "levels" in row[1]:
        k = int(re.search(r"([\d,]+) levels", row[1]).group(1).replace(",", ""))
        before, after = partial(levels, n=n, k=k), partial(levels, n=n, k=k, moved=MOVED, share=0.1)
    else:
        before = partial(numbers, n=n)
        after = partial(numbers, n=n, shifts=[float(re.match(r"[\d.]+", row[1]).group())] * MOVED)
    found, _, false, _ = power(int(row[2]), before, after, MOVED, by_profile=by_profile)
    return found, false


def alarms_told(row):
    return tuple(counts(cell, int(row[2])) for cell in row[3:5])


def power_told(row):
    return counts(row[3], int(row[2]) * MOVED), counts(row[4], int(row[2]) * (COLUMNS - MOVED))


def are_told(measured, told):
    return [one in numbers for one, numbers in zip(measured, told, strict=True)] == [True, True]


def test_two_rows_come_out_again():
    (healthy,) = (row for row in ALARMS if row[:2] == ["1,000", "2 levels"])
    (moved,) = (row for row in POWER if row[:2] == ["1,000", "0.5"])

    assert are_told(measured_alarms(healthy), alarms_told(healthy))
    assert are_told(measured_power(moved), power_told(moved))


@pytest.mark.slow
@pytest.mark.parametrize("row", [row for row in ALARMS if row[0] != "1,000,000"], ids=" ".join)
def test_every_rate_of_false_alarms_comes_out_again(row):
    assert are_told(measured_alarms(row), alarms_told(row))


@pytest.mark.slow
@pytest.mark.parametrize("row", POWER, ids=" ".join)
def test_every_power_comes_out_again(row):
    assert are_told(measured_power(row), power_told(row))
