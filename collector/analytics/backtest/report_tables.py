"""The words and tables of a backtest's report as HTML; every name from outside is text, never markup."""

import json
from collections.abc import Iterable, Sequence
from html import escape

import numpy as np
import pandas as pd

from collector.analytics.backtest.metrics import Metrics
from collector.analytics.backtest.result import BacktestResult

NONE = "\u2013"  # an absent value is shown as a dash, zero as zero
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_LISTED = 200  # rows of a long list; the rest is counted
_FULL_TINT = 0.15  # a month of this size has the strongest colour
_PERCENT = {"total_return", "annual_return", "volatility", "max_drawdown", "hit_rate", "exposure"}
_COUNTS = {"bars", "max_drawdown_bars"}
_FIGURES = (
    ("total_return", "Total return"),
    ("annual_return", "Annual return"),
    ("volatility", "Volatility (annual)"),
    ("sharpe", "Sharpe ratio"),
    ("sortino", "Sortino ratio"),
    ("max_drawdown", "Maximum drawdown"),
    ("max_drawdown_bars", "Longest drawdown (bars)"),
    ("calmar", "Calmar ratio"),
    ("turnover", "Turnover (times a year)"),
    ("hit_rate", "Bars with a gain"),
    ("exposure", "Mean exposure"),
    ("bars", "Bars"),
)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, label: str) -> str:
    """Return a table that scrolls by itself where it is wider than the screen; cells are HTML already."""
    heads = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{row[0]}</th>{"".join(f"<td{_tint(cell)}</td>" for cell in row[1:])}</tr>' for row in rows
    )
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(label)}">'
        f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _tint(cell: str) -> str:
    """Return the rest of an opening tag and the cell: a cell may bring its style before a tab."""
    style, tab, text = cell.rpartition("\t")
    return f' style="{style}">{text}' if tab else f">{cell}"


def percent(value: float | None, digits: int = 1) -> str:
    """Return a fraction as percent."""
    return NONE if value is None or not np.isfinite(value) else f"{value:.{digits}%}"


def number(value: float | None) -> str:
    """Return a number with two places."""
    return NONE if value is None else f"{value:,.2f}"


def figures(result: BacktestResult) -> str:
    """Return the metrics of the strategy beside those of what it is compared with."""
    sides: list[tuple[str, Metrics]] = [(result.strategy, result.metrics)]
    sides += [(f"{benchmark.name} (without costs)", benchmark.metrics) for benchmark in result.benchmarks]
    rows = [[label, *(_figure(name, getattr(measured, name)) for _, measured in sides)] for name, label in _FIGURES]
    return table(["Figure", *(escape(name) for name, _ in sides)], rows, label="Metrics")


def _figure(name: str, value: float | None) -> str:
    if name in _COUNTS:
        return f"{value:,}"
    return percent(value) if name in _PERCENT else number(value)


def months(equity: pd.Series) -> str:
    """Return the return of each UTC month by year; the first month begins with the first bar."""
    ends = pd.DatetimeIndex(equity.index) - pd.Timedelta(1, "us")  # a bar belongs to the month of its last instant
    last = equity.groupby([ends.year, ends.month]).last()
    begun = pd.Series([equity.iloc[0], *last.iloc[:-1]], index=last.index)
    change = last / begun.where(begun > 0) - 1
    years = last.groupby(level=0).last()
    before = pd.Series([equity.iloc[0], *years.iloc[:-1]], index=years.index)
    whole = years / before.where(before > 0) - 1
    rows = []
    for year in years.index:
        cells = [_coloured(change.get((year, month))) for month in range(1, 13)]
        rows.append([str(year), *cells, percent(whole[year])])
    return table(["Year", *_MONTHS, "Whole year"], rows, label="Monthly returns")


def _coloured(value: float | None) -> str:
    if value is None or not np.isfinite(value):
        return NONE
    strength = min(abs(value) / _FULL_TINT, 1.0) * 0.55
    colour = "0,158,115" if value >= 0 else "213,94,0"
    return f"background:rgba({colour},{strength:.2f})\t{percent(value)}"


def costs(result: BacktestResult) -> str:
    """Return what was paid, by kind."""
    paid, initial = result.costs, result.parameters.initial
    kinds = [("Fees", paid.fees), ("Slippage", paid.slippage), ("Funding", paid.funding), ("Together", paid.total)]
    rows = [[name, number(value), percent(value / initial, 2)] for name, value in kinds]
    note = f"<p>{len(result.trades):,} orders filled. Funding below zero was received.</p>"
    return table(["Kind", "Paid", "Of the initial money"], rows, label="Costs") + note


def warnings(result: BacktestResult) -> str:
    """Return every warning."""
    if not result.warnings:
        return "<p>Nothing to warn of.</p>"
    listed = "".join(f"<li>{escape(text)}</li>" for text in result.warnings[:_LISTED])
    return f"<ul>{listed}</ul>{_more(len(result.warnings))}"


def _more(count: int) -> str:
    return f"<p>and {count - _LISTED:,} more</p>" if count > _LISTED else ""


def looked_ahead(result: BacktestResult) -> str:
    """Return what the look-ahead test did and found."""
    seen = result.look_ahead
    if seen.passed is None:
        return "<p>The look-ahead test was switched off: nothing is known about it.</p>"
    if seen.passed:
        return (
            f"<p><b>Passed.</b> {len(seen.sampled)} decisions were repeated on data that ends at their moment and "
            "came out the same.</p>"
        )
    rows = [
        [
            f"{entry.decided_at:%Y-%m-%d %H:%M}",
            escape(entry.asset),
            _weight(entry.whole),
            _weight(entry.truncated),
            escape(entry.reason),
        ]
        for entry in seen.differences[:_LISTED]
    ]
    head = ["Decision", "Asset", "With later rows", "Without", "What"]
    failed = f"<p><b>Failed.</b> {len(seen.differences):,} differences: these results cannot be believed.</p>"
    return failed + table(head, rows, label="Look-ahead differences") + _more(len(seen.differences))


def _weight(value: float | None) -> str:
    return NONE if value is None else f"{value:.6f}"


def coverage(result: BacktestResult) -> str:
    """Return the coverage of every asset, the worst first."""
    ordered = sorted(result.coverage, key=lambda entry: (entry.coverage, entry.asset))
    rows = [
        [
            escape(entry.asset),
            percent(entry.coverage, 2),
            f"{entry.bars:,} of {entry.expected_bars:,}",
            NONE if entry.first_bar is None else f"{entry.first_bar:%Y-%m-%d %H:%M}",
            f"{len(entry.holes):,}",
        ]
        for entry in ordered[:_LISTED]
    ]
    whole = sum(entry.coverage >= 1 for entry in ordered)
    said = f"<p>{whole} of {len(ordered)} assets have every bar.</p>"
    head = ["Asset", "Coverage", "Bars", "First bar", "Holes"]
    return said + _folded("All assets", table(head, rows, label="Coverage") + _more(len(ordered)))


def _folded(summary: str, content: str) -> str:
    return f"<details><summary>{summary}</summary>{content}</details>"


def waits(result: BacktestResult) -> str:
    """Return the orders that found no price in their bar."""
    if not result.waits:
        return "<p>Every order found a price in its bar.</p>"
    rows = [
        [escape(wait.asset), f"{wait.decided_at:%Y-%m-%d %H:%M}", f"{wait.waited_bars:,}", escape(wait.outcome)]
        for wait in result.waits[:_LISTED]
    ]
    told = table(["Asset", "Decided", "Bars waited", "Then"], rows, label="Orders that waited")
    return _folded(f"{len(result.waits):,} orders waited for a price", told + _more(len(result.waits)))


def inputs(result: BacktestResult) -> str:
    """Return everything that makes this result and no other one."""
    asked = result.parameters.as_row()
    rows = [[escape(str(name)), escape(_said(value))] for name, value in asked.items()]
    rows += [[escape(f"strategy: {name}"), escape(_said(value))] for name, value in result.strategy_details.items()]
    marks = [
        ("data hash (SHA-256)", result.data_hash),
        ("code version", result.code_version),
        ("result key (SHA-256)", result.result_key),
    ]
    rows += [[name, f"<code>{escape(value)}</code>"] for name, value in marks]
    if result.fits:
        rows.append(["walk-forward fits", f"{len(result.fits):,}"])
    return f'<div class="words">{table(["Parameter", "Value"], rows, label="Parameters")}</div>'


def _said(value: object) -> str:
    if value is None:
        return NONE
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
