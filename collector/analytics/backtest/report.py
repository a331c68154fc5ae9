"""The report of a backtest: one HTML file that opens without a network, on a phone and in the dark.

The only module that needs plotly. A policy in the file forbids every connection; asset names are text wherever they
stand.
"""

from collections.abc import Iterable
from html import escape

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from collector.analytics.backtest import report_tables as tables
from collector.analytics.backtest.metrics import DAYS_A_YEAR, drawdowns
from collector.analytics.backtest.result import BacktestResult

# Okabe and Ito: told apart by colour-blind people, readable on white and on black
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C8C3D", "#7F7F7F")
_MOST_POINTS = 2_000  # of one line; more cannot be seen and make the file heavy
_MOST_WEIGHTS = 10  # assets with a colour of their own
_WINDOW_DAYS = 90
_FEWEST = 20  # returns that make a rolling ratio worth drawing
_GRID = "rgba(128,128,128,0.25)"

_STYLE = """
:root{color-scheme:light
dark;--ink:#1b1f24;--dim:#59636e;--paper:#fff;--box:#f5f6f8;--line:#d5dae0;--warn:#b45309;--bad:#b42318}
@media(prefers-color-scheme:dark){:root{--ink:#e6e8eb;--dim:#9aa4af;--paper:#111418;--box:#1a1f25;--line:#333b44;
--warn:#f0b429;--bad:#ff8a7a}} *{box-sizing:border-box}
body{margin:0 auto;padding:1rem;max-width:72rem;font:16px/1.5
system-ui,sans-serif;color:var(--ink);background:var(--paper)} h1{font-size:1.5rem;margin:.2rem
0;overflow-wrap:anywhere}h2{font-size:1.15rem;margin:2rem 0 .5rem} p{margin:.4rem
0;overflow-wrap:anywhere}.dim{color:var(--dim)} .note{border-left:.35rem solid
var(--warn);background:var(--box);padding:.6rem .8rem;margin:.8rem 0;font-weight:600} .bad{border-color:var(--bad)}
.wide{overflow-x:auto;border:1px solid var(--line);border-radius:.4rem}
table{border-collapse:collapse;width:100%;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{padding:.35rem .6rem;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th[scope=row],thead th:first-child{text-align:left;font-weight:500;position:sticky;left:0;background:var(--paper)}
thead th{background:var(--box);font-weight:600}tbody tr:last-child>*{border-bottom:0}
thead th{white-space:normal}.words td,.words th+th{white-space:normal;overflow-wrap:anywhere;text-align:left}
code{overflow-wrap:anywhere;font-size:.85em}li{overflow-wrap:anywhere}
figure{margin:.5rem 0;padding:.3rem;background:var(--box);border-radius:.4rem}
figcaption{color:var(--dim);font-size:.85rem;padding:0 .4rem}summary{cursor:pointer;padding:.4rem 0}
.js-plotly-plot text{fill:var(--ink)!important}.js-plotly-plot .hoverlayer text{fill:#fff!important}
"""
_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"


def html_report(result: BacktestResult, *, title: str, simulated: bool) -> str:
    """Return a whole HTML document; `simulated`: the data is made up, which is then said on top.

    Lines of more than 2 000 bars are thinned, which their captions say; every table is computed from all bars.
    """
    parts = [
        _head(result, title=title, simulated=simulated),
        _section("Figures", tables.figures(result)),
        _section("Equity", _equity(result)),
        _section("Drawdown", _drawdown(result)),
        _section("Rolling Sharpe ratio", _rolling_sharpe(result)),
        _section("Weights", _weights(result)),
        _section("Costs", tables.costs(result) + _costs(result)),
        _section("Monthly returns", tables.months(result.equity)),
        _section("Warnings", tables.warnings(result)),
        _section("Look-ahead test", tables.looked_ahead(result)),
        _section("Coverage", tables.coverage(result)),
        _section("Orders without a price", tables.waits(result)),
        _section("Parameters", tables.inputs(result)),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style><script>{get_plotlyjs()}</script></head>"
        f"<body>{parts[0]}<main>{''.join(parts[1:])}</main></body></html>\n"
    )


def _section(name: str, content: str) -> str:
    return f"<section><h2>{name}</h2>{content}</section>"


def _head(result: BacktestResult, *, title: str, simulated: bool) -> str:
    first, last = result.equity.index[0], result.equity.index[-1]
    notes = []
    if simulated:
        notes.append('<p class="note">Simulated data: these prices were made up and say nothing of any market.</p>')
    if result.look_ahead.passed is False:
        notes.append('<p class="note bad">The look-ahead test failed: these results cannot be believed.</p>')
    if result.warnings:
        notes.append(f'<p class="note">{len(result.warnings)} warnings: see below.</p>')
    period = f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC"
    return (
        f"<header><h1>{escape(title)}</h1><p>{escape(result.strategy)}: {period}, "
        f"{tables.percent(result.metrics.total_return)} after costs of {tables.number(result.costs.total)}.</p>"
        f"{''.join(notes)}</header>"
    )


def _equity(result: BacktestResult) -> str:
    curves = [(result.strategy, result.equity)]
    curves += [(f"{benchmark.name} (without costs)", benchmark.equity) for benchmark in result.benchmarks]
    lines = [_line(name, _thin(curve), place) for place, (name, curve) in enumerate(curves)]
    scale = "log" if min(curve.min() for _, curve in curves) > 0 else "linear"
    said = "logarithmic" if scale == "log" else "linear"
    return _figure(_drawn(lines, scale), f"Money at the close of each bar, {said} scale.{_thinned(result)}")


def _drawdown(result: BacktestResult) -> str:
    curves = [(result.strategy, result.equity), *((entry.name, entry.equity) for entry in result.benchmarks)]
    lines = []
    for place, (name, curve) in enumerate(curves):
        below = pd.Series(drawdowns(curve.to_numpy(dtype=float)), index=curve.index)
        lines.append(_line(name, _thin(below), place, fill=place == 0))
    return _figure(_drawn(lines, "linear", percent=True), f"Below the highest value so far.{_thinned(result)}")


def _rolling_sharpe(result: BacktestResult) -> str:
    index = pd.DatetimeIndex(result.equity.index)
    step_days = (index[1] - index[0]).total_seconds() / 86_400
    window = max(_FEWEST, round(_WINDOW_DAYS / step_days))
    if len(result.returns) <= window:
        return f"<p>Fewer bars than the window of {window}: nothing to draw.</p>"
    rolling = result.returns.rolling(window)
    deviation = rolling.std()
    ratio = rolling.mean() / deviation.where(deviation > 0) * np.sqrt(DAYS_A_YEAR / step_days)
    drawn = _drawn([_line(result.strategy, _thin(ratio.iloc[window - 1 :]), 0)], "linear")
    return _figure(drawn, f"Of the last {window} bars, annualised; a gap where nothing moved.{_thinned(result)}")


def _weights(result: BacktestResult) -> str:
    weights = result.weights
    order = weights.abs().mean().sort_values(ascending=False, kind="stable")
    shown = [name for name in order.index[:_MOST_WEIGHTS] if order[name] > 0]
    if not shown:
        return "<p>Nothing was held.</p>"
    stacked = not (weights.to_numpy() < 0).any()
    lines = [_line(str(name), _thin(weights[name]), place, stacked=stacked) for place, name in enumerate(shown)]
    rest = weights.drop(columns=shown)
    if (rest.to_numpy() != 0).any():
        lines.append(_line(f"{rest.shape[1]} others", _thin(rest.sum(axis=1)), len(shown), stacked=stacked))
    missing = " What is missing to 100 % is cash." if stacked else ""
    return _figure(_drawn(lines, "linear", percent=True), f"Share of the equity held.{missing}{_thinned(result)}")


def _costs(result: BacktestResult) -> str:
    paid = result.costs_by_bar.cumsum()
    lines = [_line(str(kind), _thin(paid[kind]), place) for place, kind in enumerate(paid.columns)]
    return _figure(_drawn(lines, "linear"), f"Paid since the first bar.{_thinned(result)}")


def _every(bars: int) -> int:
    return -(-bars // _MOST_POINTS)


def _thin(series: pd.Series) -> pd.Series:
    """Return every n-th bar counted from the last one."""
    return series.iloc[:: -_every(len(series))].iloc[::-1]


def _thinned(result: BacktestResult) -> str:
    every = _every(len(result.equity))
    return "" if every == 1 else f" One bar of {every} is drawn."


def _line(name: str, series: pd.Series, place: int, *, fill: bool = False, stacked: bool = False) -> go.Scatter:
    """Return one line; plotly reads its names as markup, so they are escaped once more than its JSON needs."""
    colour = _COLOURS[place % len(_COLOURS)]
    return go.Scatter(
        x=[moment.strftime("%Y-%m-%d %H:%M") for moment in pd.DatetimeIndex(series.index)],
        y=np.round(series.to_numpy(dtype=float), 8),
        name=escape(name),
        mode="lines",
        line={"color": colour, "width": 0.5 if stacked else 1.6, "dash": "solid" if place < len(_COLOURS) else "dot"},
        fill="tozeroy" if fill else None,
        stackgroup="held" if stacked else None,
    )


def _drawn(lines: Iterable[go.Scatter], scale: str, *, percent: bool = False) -> go.Figure:
    axis = {"gridcolor": _GRID, "zerolinecolor": _GRID, "automargin": True}
    formats = {"tickformat": ".0%", "hoverformat": ".2%"} if percent else {"hoverformat": ".5g"}
    return go.Figure(
        data=list(lines),
        layout={
            "height": 340,
            "margin": {"l": 10, "r": 10, "t": 10, "b": 10},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"color": "#808080"},  # the style sheet puts the colour of the page over it
            "hovermode": "x unified",
            "hoverlabel": {"bgcolor": "#20262d", "bordercolor": "#59636e"},
            "dragmode": False,  # a finger scrolls the page
            "showlegend": True,
            "legend": {"orientation": "h", "y": -0.15, "bgcolor": "rgba(0,0,0,0)"},
            "xaxis": axis,
            "yaxis": {**axis, "type": scale, **formats},
        },
    )


def _figure(drawn: go.Figure, caption: str) -> str:
    """Return a chart; its id comes from the caption, so that equal results give equal files."""
    settings = {"responsive": True, "displaylogo": False}
    html: str = drawn.to_html(full_html=False, include_plotlyjs=False, config=settings, div_id=_slug(caption))
    return f"<figure>{html}<figcaption>{escape(caption)}</figcaption></figure>"


def _slug(text: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in text.lower())
