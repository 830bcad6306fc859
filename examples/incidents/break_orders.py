"""Makes a month of orders, the next day's batch as it should be, and that batch broken in every way that is in BROKEN.

    python examples/incidents/break_orders.py FOLDER [ROWS]

writes reference.parquet, sound.parquet and one file for each incident. README.md has the command that catches each.
"""

import io
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

DAY = 86_400_000_000
START = 1_709_251_200_000_000  # 2024-03-01
CITIES = ["Köln", "Łódź", "Málaga", "Paris", "Zürich"]
COUNTRIES = ["CH", "DE", "ES", "FR", "PL"]
TIME = pa.timestamp("us", tz="UTC")


def make_orders(rows, *, seed=0, start=START, days=30, first_id=100_000):
    """Orders of a shop: a key, times, money, whole numbers, places, a label."""
    chance = np.random.default_rng(seed)
    # People order by day: most at noon, few at night.
    moments = start + chance.integers(0, days, rows) * DAY + np.clip(chance.normal(12, 3, rows), 0, 23.99) * DAY / 24
    return pa.table(
        {
            "order_id": np.arange(first_id, first_id + rows),
            "customer_id": chance.integers(1, 50_000, rows),
            "ordered_at": pa.array(np.sort(moments.astype(np.int64))).cast(TIME),
            "price": np.round(chance.lognormal(3.2, 0.8, rows), 2),
            "age": chance.integers(18, 90, rows),
            "items": 1 + chance.poisson(1.5, rows),
            "country": pa.array(COUNTRIES).take(pa.array(chance.integers(0, 5, rows))),
            "city": pa.array(CITIES).take(pa.array(chance.integers(0, 5, rows))),
            "late": (chance.random(rows) < 0.2).astype(np.int64),
        }
    )


def replace(table, name, values):
    return table.set_column(table.column_names.index(name), name, values)


def where(table, share, name, value):
    """The column with `value` in that share of its rows, spread evenly."""
    is_hit = pa.array(np.arange(table.num_rows) % round(1 / share) == 0)
    return pc.if_else(is_hit, value, table[name])


def shifted(table, hours):
    return replace(
        table, "ordered_at", pc.add(table["ordered_at"], pa.scalar(hours * 3_600_000_000, pa.duration("us")))
    )


def twenty_five_years(table):
    return replace(table, "age", where(replace(table, "age", table["age"].cast(pa.string())), 0.001, "age", "25 years"))


def mojibake(table):
    wrong = [name.encode().decode("latin-1") for name in CITIES]
    return replace(table, "city", pa.array(wrong).take(pc.index_in(table["city"], pa.array(CITIES))))


def decimal_comma(table):
    return replace(table, "price", pc.replace_substring(table["price"].cast(pa.string()), ".", ","))


def nulls(table):
    keep = pa.array(np.arange(table.num_rows) % 5 == 0)
    return replace(table, "price", pc.if_else(keep, table["price"], pa.scalar(None, pa.float64())))


def one_column_on(table):
    """Every value stands one column further to the right: the header is as ever, and so is the number of fields."""
    names = table.column_names
    moved = [table[names[-1]], *(table[name] for name in names[:-1])]
    return pa.table(moved, names=names)


# Name of the file to (how the batch is broken, as which file).
BROKEN = {
    "renamed_column": (lambda t: t.rename_columns(["order_id", "customerId", *t.column_names[2:]]), "parquet"),
    "text_in_numbers": (twenty_five_years, "csv"),
    "huge_prices": (lambda t: replace(t, "price", where(t, 0.001, "price", 999_999_999.0)), "parquet"),
    "missing_values": (nulls, "parquet"),
    "unseen_category": (lambda t: replace(t, "country", where(t, 0.05, "country", "XX")), "parquet"),
    "repeated_keys": (lambda t: pa.concat_tables([t, t.slice(0, 10)]), "parquet"),
    "shifted_columns": (one_column_on, "csv"),
    "empty": (lambda t: t.slice(0, 0), "parquet"),
    "stale": (lambda t: shifted(t, -24 * 31), "parquet"),
    "labels_all_1": (lambda t: replace(t, "late", pa.array(np.ones(t.num_rows, np.int64))), "parquet"),
    "labels_all_0": (lambda t: replace(t, "late", pa.array(np.zeros(t.num_rows, np.int64))), "parquet"),
    "mojibake": (mojibake, "csv"),
    "decimal_comma": (decimal_comma, "csv"),
    "cents": (lambda t: replace(t, "price", pc.multiply(t["price"], 100.0)), "parquet"),
    "timezone_behind": (lambda t: shifted(t, -5), "parquet"),
    "timezone_ahead": (lambda t: shifted(t, 5), "parquet"),
    "constant_column": (lambda t: replace(t, "items", pa.array(np.full(t.num_rows, 2))), "parquet"),
    "infinite": (lambda t: replace(t, "price", where(t, 0.001, "price", float("inf"))), "parquet"),
}
# What no rule of a suite sees, or says as well: these are compared with the reference too.
AGAINST = ("sound", "labels_all_1", "labels_all_0", "timezone_behind", "timezone_ahead", "cents")
# Files that cannot be read as what they are: (the sound file's form, what becomes of its bytes).
DAMAGED = {
    "truncated": ("parquet", lambda data: data[: len(data) // 2]),
    "truncated_line": ("csv", lambda data: data[: -len(data.splitlines()[-1]) // 2 - 1]),
    "not_utf8": ("csv", lambda data: data.replace("Zürich".encode(), "Zürich".encode("latin-1"))),
}


def as_bytes(table, form):
    sink = io.BytesIO()
    if form == "parquet":
        pq.write_table(table, sink)
    else:
        pa.csv.write_csv(table, sink, pa.csv.WriteOptions(quoting_style="needed"))
    return sink.getvalue()


def write_all(folder, rows):
    """Reference, sound batch and every broken one; the files of the broken ones."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    reference = make_orders(rows)
    sound = make_orders(rows, seed=1, start=START + DAY, first_id=100_000 + rows)
    for form in ("parquet", "csv"):
        (folder / f"reference.{form}").write_bytes(as_bytes(reference, form))
        (folder / f"sound.{form}").write_bytes(as_bytes(sound, form))
    written = {}
    for name, (change, form) in BROKEN.items():
        written[name] = folder / f"{name}.{form}"
        written[name].write_bytes(as_bytes(change(sound), form))
    for name, (form, change) in DAMAGED.items():
        written[name] = folder / f"{name}.{form}"
        written[name].write_bytes(change(as_bytes(sound, form)))
    return written


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    files = write_all(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 10_000)
    sys.stdout.write("\n".join(map(str, files.values())) + "\n")
