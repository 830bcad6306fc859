"""Writes data/snapshots.parquet: who was a customer at the start of each week, and who bought in the 30 days after.

    python snapshots.py

The answer of a snapshot is known when its 30 days are over, so the last snapshot is 31 days before the log ends.
"""

from datetime import date, timedelta
from pathlib import Path

import polars as pl

FIRST, LAST = date(2011, 3, 1), date(2011, 11, 8)
HORIZON = timedelta(days=30)
FOLDER = Path(__file__).parent / "data"


def snapshots(log: pl.DataFrame) -> pl.DataFrame:
    """One row per customer and week: `buys` is 1 for an order in [at, at + 30 days)."""
    orders = log.filter(pl.col("CustomerID").is_not_null() & ~pl.col("InvoiceNo").str.starts_with("C"))
    orders = orders.select("CustomerID", "InvoiceDate").unique()
    weeks = []
    at = FIRST
    while at <= LAST:
        start, end = pl.lit(at).cast(pl.Datetime), pl.lit(at + HORIZON).cast(pl.Datetime)
        known = orders.filter(pl.col("InvoiceDate") < start).select("CustomerID").unique()
        later = orders.filter(pl.col("InvoiceDate").is_between(start, end, closed="left"))
        buys = pl.col("CustomerID").is_in(later["CustomerID"].unique().implode()).cast(pl.Int8)
        weeks.append(known.sort("CustomerID").select("CustomerID", start.alias("at"), buys.alias("buys")))
        at += timedelta(days=7)
    return pl.concat(weeks)


if __name__ == "__main__":
    made = snapshots(pl.read_parquet(FOLDER / "online_retail.parquet"))
    made.write_parquet(FOLDER / "snapshots.parquet", compression="zstd", compression_level=19)
