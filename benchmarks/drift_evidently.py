"""Evidently's own report over two Parquet files: once per line of the standard input, in the peers' environment."""

from __future__ import annotations

import json
import sys
import time


def main(reference: str, current: str) -> None:
    """Answer each line with the milliseconds of one report, the files being read already."""
    import pandas as pd
    from evidently import Report
    from evidently.presets import DataDriftPreset

    before, after = pd.read_parquet(reference), pd.read_parquet(current)
    while True:
        started = time.perf_counter()
        report = Report([DataDriftPreset()]).run(after, before)
        assert len(report.dict()["metrics"]) > len(before.columns)
        print(json.dumps({"ms": (time.perf_counter() - started) * 1000}), flush=True)
        if not sys.stdin.readline():
            return


if __name__ == "__main__":
    main(*sys.argv[1:])
