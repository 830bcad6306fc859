"""A profile as a page that stands alone. Standard library only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from millrace.core.page import histogram, page, share_bar, table, text

if TYPE_CHECKING:
    from millrace.validation.profiling.profile import ColumnProfile, TableProfile

_QUANTILES = (0.05, 0.5, 0.95)


def profile_page(profile: TableProfile, *, batch: str) -> str:
    """Every column with its missing share, range, quantiles, histogram and most frequent values."""
    note = (
        "" if profile.sampled == profile.rows else f" Quantiles and histograms come from {profile.sampled:,} of them."
    )
    rows = [_row(column) for column in profile.columns]
    names = ["column", "missing", "different", "range", "5 %", "median", "95 %", "distribution", "most often"]
    body = [
        f"<h1>{text(batch)}</h1>",
        f'<p class="dim">{profile.rows:,} rows, {len(profile.columns)} columns.{note}</p>',
        "<h2>Columns</h2>",
        table(names, rows, figures=("different", "5 %", "median", "95 %")),
    ]
    return page(f"Profile of {batch}", body)


def _row(column: ColumnProfile) -> list[str]:
    from millrace.validation.profiling.profile import shorten

    share = column.missing / column.rows if column.rows else 0.0
    about = "" if column.is_distinct_exact else "≈ "
    infinite = f'<br><span class="warn">{column.infinite:,} infinite</span>' if column.infinite else ""
    length = " (length)" if column.kind == "text" else ""
    quantiles = [text(shorten(column.quantiles[q])) if q in column.quantiles else "" for q in _QUANTILES]
    top = [f"<code>{text(shorten(value))}</code> {part:.1%}" for value, part in column.top[:4]]
    return [
        f'{text(column.name)}<br><span class="dim">{text(column.type)}</span>',
        f"{column.missing:,}{share_bar(share, f'{share:.2%} missing', width=80)}",
        f"{about}{column.distinct:,}",
        ("" if column.least is None else f"{text(shorten(column.least))} to {text(shorten(column.greatest))}{length}")
        + infinite,
        *quantiles,
        histogram(column.histogram, f"distribution of {column.name}") if column.histogram else "",
        "<br>".join(top),
    ]
