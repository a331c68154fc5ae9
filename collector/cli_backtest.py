"""What `backtest` does: play a strategy over stored bars, print its figures, write its report, sweep parameters."""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from statistics import fmean, median
from typing import Any

from collector import status
from collector.analytics.backtest.engine import backtest as played
from collector.analytics.backtest.market import Market
from collector.analytics.backtest.parameters import BacktestParameters, WalkForward
from collector.analytics.backtest.result import BacktestResult
from collector.analytics.backtest.strategies import CapWeighted, EmaCross, FittedCross, Hold, Momentum, Strategy
from collector.analytics.backtest.sweep import SweepRow, sweep
from collector.cli_analytics import (
    Column,
    looking,
    number,
    packages_missing,
    percent,
    read_moment,
    share,
    show,
    signed,
    word,
)
from collector.cli_coverage import Screen
from collector.clock import SystemClock, floor_time
from collector.config import Settings
from collector.errors import ConfigError
from collector.exits import OK
from collector.printing import table
from collector.records import Interval
from collector.studies.backtests import CLOSES_ONLY, BlackLitterman, Wanted, load_market
from collector.studies.signals import signal_parameters

YEAR = timedelta(days=365)
INVESTED = 0.9  # less of the time is no comparison
MOST_PAIRS = 10_000
FIGURES: Sequence[tuple[str, str, Callable[[Any], str]]] = (
    ("total_return", "return", percent),
    ("annual_return", "a year", percent),
    ("volatility", "volatility", share),
    ("sharpe", "Sharpe", signed),
    ("sortino", "Sortino", signed),
    ("max_drawdown", "deepest fall", percent),
    ("max_drawdown_bars", "longest under water, bars", word),
    ("calmar", "Calmar", signed),
    ("turnover", "turnover a year", number),
    ("hit_rate", "bars with a gain", share),
    ("exposure", "invested", share),
)
CURVES: Sequence[Column] = (("bar_end", "bar end", word), ("equity", "equity", number))
SWEPT: Sequence[Column] = (
    ("fast", "fast", word),
    ("slow", "slow", word),
    ("mean_return", "mean return", percent),
    ("median_return", "median", percent),
    ("median_sharpe", "median Sharpe", signed),
    ("beats_holding", "better than holding", share),
    ("trades", "trades", word),
    ("assets", "assets", word),
)


def backtest(settings: Settings, arguments: argparse.Namespace) -> int:
    """Play one strategy, or sweep pairs of averages; print the figures and write the report."""
    wanted = _wanted(arguments)
    write_report = _report_writer(arguments.report, settings)
    with looking(settings, arguments) as work:
        market, notes = load_market(work.past, settings.analytics.venues, wanted)
    if arguments.sweep:
        return _sweep(settings, arguments, market)
    strategy = _strategy(settings, arguments)
    parameters = BacktestParameters(
        start=wanted.start,
        end=wanted.end,
        fee=arguments.fee,
        slippage_bps=arguments.slippage_bps,
        rebalance=arguments.rebalance,
        minimum_coverage=arguments.minimum_coverage,
        on_holes=arguments.on_holes,
        walk_forward=_walk_forward(arguments) if arguments.strategy == "ema_fitted" else None,
    )
    result = played(market, strategy, parameters)
    told = strategy.told() if isinstance(strategy, BlackLitterman) else []
    result = replace(result, warnings=(*notes, *told, *_idle(result), *result.warnings))
    if arguments.json:
        print(json.dumps(_as_json(result, simulated=settings.simulated), indent=1, default=str))
    elif arguments.csv:
        show(_curves(result), CURVES, arguments, nothing="")
    else:
        print(status.label(settings.simulated) + _render(result))
    write_report(result)
    return OK


def _idle(result: BacktestResult) -> list[str]:
    """Return which of the curves it is compared with were hardly invested, for want of data."""
    return [
        f"{item.name}: invested {item.metrics.exposure:.0%} of the time, for its caps or prices are not stored before"
        for item in result.benchmarks
        if item.metrics.exposure is not None and item.metrics.exposure < INVESTED
    ]


def _walk_forward(arguments: argparse.Namespace) -> WalkForward:
    try:
        train, step = (int(word) for word in arguments.walk_forward.split("/"))
    except ValueError:
        raise ConfigError(f"--walk-forward: {arguments.walk_forward!r} is not N/M bars; write 180/30") from None
    return WalkForward(train=train, step=step)


def _wanted(arguments: argparse.Namespace) -> Wanted:
    now = SystemClock().now()
    interval = Interval(arguments.interval)
    end = read_moment(arguments.to, "--to") if arguments.to else floor_time(now, interval)
    start = read_moment(arguments.since, "--from") if arguments.since else end - YEAR
    if start >= end:
        raise ConfigError(f"--from: {arguments.since} is not before the end, {end:%Y-%m-%d}")
    return Wanted(
        start=start,
        end=end,
        interval=interval,
        assets=tuple(arguments.assets),
        top=arguments.top,
        perpetuals=arguments.perpetuals,
    )


def _strategy(settings: Settings, arguments: argparse.Namespace) -> Strategy:
    if arguments.strategy == "ema_cross":
        return EmaCross(pairs=_pairs("--pairs", arguments.pairs or "12/26"))
    if arguments.strategy == "ema_fitted":
        pairs = _pairs("--pairs", arguments.pairs or "5/20,10/30,12/26,20/50,50/100")
        return FittedCross(pairs=pairs, fee=arguments.fee, slippage_bps=arguments.slippage_bps)
    if arguments.strategy == "momentum":
        return Momentum(lookback=arguments.lookback, top=arguments.winners)
    if arguments.strategy == "cap_weighted":
        return CapWeighted()
    if arguments.strategy == "hold":
        return Hold(arguments.assets[0] if arguments.assets else "bitcoin")
    try:
        from collector.analytics.portfolio import build_portfolio  # noqa: PLC0415 - heavy packages
        from collector.studies.portfolio import portfolio_parameters  # noqa: PLC0415 - the same
    except ImportError as missing:
        packages_missing(missing)
    part = settings.analytics
    closes_only = part.signals.model_copy(
        update={"kinds": tuple(kind for kind in part.signals.kinds if kind in CLOSES_ONLY)}
    )
    return BlackLitterman(build_portfolio, portfolio_parameters(part.portfolio), signal_parameters(closes_only))


def _pairs(option: str, text: str) -> tuple[tuple[int, int], ...]:
    try:
        return tuple((int(fast), int(slow)) for fast, slow in (pair.split("/") for pair in text.split(",")))
    except ValueError:
        raise ConfigError(f"{option}: {text!r} is no list of pairs; write 12/26 or 12/26,50/200") from None


def _spans(text: str) -> list[int]:
    """Return the spans that `5..50:5` names, from, to and step; ConfigError for anything else."""
    ends, _, step = text.partition(":")
    first, dots, last = ends.partition("..")
    words = (first, last if dots else first, step or "1")
    if not all(word.isdecimal() and int(word) > 0 for word in words) or int(words[1]) < int(first):
        raise ConfigError(f"--sweep: {text!r} is no range of bars; write fast,slow as 5..25:5,30..120:10")
    return list(range(int(first), int(words[1]) + 1, int(words[2])))


# --------------------------------------------------------------------------- what is printed


def _render(result: BacktestResult) -> str:
    curves = [(result.strategy, result.metrics), *((item.name, item.metrics) for item in result.benchmarks)]
    first, last = result.equity.index[0], result.equity.index[-1]
    rows = [[heading, *(write(getattr(figures, key)) for _, figures in curves)] for key, heading, write in FIGURES]
    costs, seen = result.costs, result.look_ahead
    became = f"{result.parameters.initial:,.0f} became {float(result.equity.iloc[-1]):,.2f}"
    paid = f"fees {costs.fees:,.2f}, slippage {costs.slippage:,.2f}, funding {costs.funding:,.2f}"
    lines = [
        f"{result.strategy} from {first:%Y-%m-%d} to {last:%Y-%m-%d}, {len(result.equity)} bars\n",
        *table(["", *(name for name, _ in curves)], rows),
        "",
        f"  {became} in {len(result.trades)} trades; {paid}",
        f"  look-ahead test: {len(seen.sampled)} decisions repeated on cut data, {len(seen.differences)} differ",
        *(f"  WARNING: {text}" for text in result.warnings),
        f"  key {result.result_key[:16]}: the same data, parameters and version give the same numbers",
    ]
    return "\n".join(lines)


def _curves(result: BacktestResult) -> list[Mapping[str, Any]]:
    curves = {"equity": result.equity, **{item.name: item.equity for item in result.benchmarks}}
    return [
        {"bar_end": str(moment), **{name: float(curve.iloc[row]) for name, curve in curves.items()}}
        for row, moment in enumerate(result.equity.index)
    ]


def _as_json(result: BacktestResult, *, simulated: bool) -> Mapping[str, Any]:
    return {
        "strategy": result.strategy,
        "details": result.strategy_details,
        "parameters": result.parameters.as_row(),
        "simulated": simulated,
        "metrics": asdict(result.metrics),
        "benchmarks": {item.name: asdict(item.metrics) for item in result.benchmarks},
        "costs": asdict(result.costs),
        "trades": len(result.trades),
        "coverage": [asdict(item) for item in result.coverage],
        "look_ahead": {"sampled": result.look_ahead.sampled, "differences": len(result.look_ahead.differences)},
        "warnings": list(result.warnings),
        "data_hash": result.data_hash,
        "code_version": result.code_version,
        "result_key": result.result_key,
        "equity": {str(moment): value for moment, value in result.equity.items()},
    }


def _report_writer(file: Path | None, settings: Settings) -> Callable[[BacktestResult], None]:
    """Return what writes the report; what would keep it from that is found before the work, not after it."""
    if file is None:
        return lambda _: None
    try:
        from collector.analytics.backtest.report import html_report  # noqa: PLC0415 - plotly
    except ImportError as missing:
        packages_missing(missing)
    try:
        file.open("a", encoding="utf-8").close()
    except OSError as error:
        raise ConfigError(f"--report: {file} cannot be written ({error.strerror})") from error

    def write(result: BacktestResult) -> None:
        text = html_report(result, title=f"Backtest: {result.strategy}", simulated=settings.simulated)
        file.write_text(text, encoding="utf-8")

    return write


def _sweep(settings: Settings, arguments: argparse.Namespace, market: Market) -> int:
    fast, _, slow = arguments.sweep.partition(",")
    screen = Screen(sys.stderr, SystemClock())

    def progress(done: int, total: int) -> None:
        screen.show(f"{done:,} of {total:,} pairs and assets, {100 * done // max(total, 1)} %")

    fasts, slows = _spans(fast), _spans(slow)
    if len(fasts) * len(slows) > MOST_PAIRS:
        raise ConfigError(f"--sweep: {len(fasts) * len(slows):,} pairs are too many, {MOST_PAIRS:,} is the most")
    found = sweep(
        market.closes,
        fasts,
        slows,
        fee=arguments.fee,
        slippage_bps=arguments.slippage_bps,
        progress=progress,
    )
    screen.end()
    ranked = sorted(_by_pair(found), key=lambda row: -row["median_return"])
    if not (arguments.json or arguments.csv):
        print(status.label(settings.simulated) + f"EMA crosses on {len(market.assets)} assets, the best median first")
        print("  the best of many is the best by chance too: judge a pair by bars that it was not chosen on\n")
    show(ranked, SWEPT, arguments, nothing="the bars are too few for any of these pairs")
    return OK


def _by_pair(found: Sequence[SweepRow]) -> list[Mapping[str, Any]]:
    pairs: dict[tuple[int, int], list[SweepRow]] = defaultdict(list)
    for row in found:
        if row.total_return is not None:
            pairs[row.fast, row.slow].append(row)
    return [_pair(pair, rows) for pair, rows in pairs.items()]


def _pair(pair: tuple[int, int], rows: Sequence[SweepRow]) -> Mapping[str, Any]:
    returns = [row.total_return for row in rows if row.total_return is not None]
    ratios = [row.sharpe for row in rows if row.sharpe is not None]
    held = [(row.total_return or 0) > row.hold_return for row in rows if row.hold_return is not None]
    return {
        "fast": pair[0],
        "slow": pair[1],
        "mean_return": fmean(returns),
        "median_return": median(returns),
        "median_sharpe": median(ratios) if ratios else None,
        "beats_holding": fmean(held) if held else None,
        "trades": sum(row.trades for row in rows),
        "assets": len(rows),
    }
