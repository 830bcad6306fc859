"""Judge the rows of a request by the rules on data that came with the model."""

from __future__ import annotations

from collections.abc import Sequence

from millrace.core.errors import MillraceError, ModelError
from millrace.serving.inputs import InputReader, Rows, row_place
from millrace.serving.metrics import Metrics

_SHOWN = 20
_NOTHING: Sequence[str] = ()


def judge_rows(reader: InputReader, rows: Rows, metrics: Metrics) -> list[Sequence[str]]:
    """For each row, which rules it breaks that somebody should know of; everything is counted in `metrics`.

    Raises
    ------
    ModelError
        SERVE-36 when the rules refuse a row, with every finding of every row.
    """
    rules = reader.rules
    if rules is None:
        return [_NOTHING] * len(rows.values)
    names = reader.names
    flags: list[Sequence[str]] = []
    errors: list[MillraceError] = []
    refused = 0
    for place, values in enumerate(rows.values):
        row = dict(zip(names, values, strict=True))
        verdict = rules.judge(row, row_place(place, rows.is_batch))
        if rows.coerced[place]:
            metrics.coerced.update(rows.coerced[place].keys())
        if verdict is None:
            metrics.rows["passed"] += 1
            flags.append(_NOTHING)
            continue
        metrics.broken.update(verdict.broken)
        refused += bool(verdict.errors)
        metrics.rows["rejected" if verdict.errors else "flagged" if verdict.flags else "passed"] += 1
        errors.extend(verdict.errors)
        flags.append(verdict.flags)
    if errors:
        raise _refusal(errors, refused, len(rows.values))
    return flags


def _refusal(errors: Sequence[MillraceError], refused: int, count: int) -> ModelError:
    more = len(errors) - _SHOWN
    what = "the row breaks" if count == 1 else f"{refused} of {count} rows break"
    return ModelError(
        "SERVE-36",
        f"{what} rules on data" + (f"; the first {_SHOWN} of {len(errors)} findings are listed" if more > 0 else ""),
        why="nothing was predicted",
        fix="mend each of the findings, and send the request again",
        findings=errors[:_SHOWN],
    )
