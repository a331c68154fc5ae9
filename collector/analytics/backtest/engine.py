"""The backtest from end to end: check, decide, play, measure, compare, and look for a look ahead. Deterministic."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd

from collector.analytics.backtest.deciding import Decider
from collector.analytics.backtest.holes import asset_coverage, judge_holes
from collector.analytics.backtest.lookahead import LookAhead, at_bar, planned_bars, sample
from collector.analytics.backtest.market import BacktestRefused, Market, checked, data_hash
from collector.analytics.backtest.metrics import metrics
from collector.analytics.backtest.parameters import BacktestParameters
from collector.analytics.backtest.result import CODE_VERSION, BacktestResult, Benchmark, Costs, result_key
from collector.analytics.backtest.simulation import Played, Rates, play
from collector.analytics.backtest.strategies import CapWeighted, Hold, Strategy

FREE = Rates(fee=0.0, slippage=0.0, funding=False)
PERPETUAL = ":perp"  # how the id of a perpetual instrument ends


def backtest(market: Market, strategy: Strategy, parameters: BacktestParameters) -> BacktestResult:
    """Return what a strategy would have made of the initial money, with its benchmarks and the look-ahead test.

    Rows after `parameters.end` are cut off first and change nothing. Raises `BacktestRefused` for data that is not what
    `Market` says, holes below the minimum coverage (if so asked), and weights that cannot be traded.
    """
    ready = checked(market.until(parameters.end))
    bars = planned_bars(ready, parameters)
    if not bars or bars[0] + 1 >= len(ready.index):
        raise BacktestRefused(f"fewer than two bars between {parameters.start} and {parameters.end}")
    coverage = asset_coverage(ready, parameters)
    warnings = judge_holes(coverage, parameters)
    decider = Decider(ready, strategy, parameters, first=bars[0])
    rates = Rates(fee=parameters.fee, slippage=parameters.slippage, funding=True)
    played = play(ready, decider.weights, np.array(bars), parameters, rates)
    seen = _look_ahead(ready, strategy, parameters, bars)
    benchmarks = tuple(_benchmarks(ready, parameters, bars))
    data = data_hash(ready)
    details = strategy.details()
    return BacktestResult(
        strategy=strategy.name,
        strategy_details=details,
        parameters=parameters,
        equity=played.equity,
        returns=returns_of(played.equity),
        weights=played.weights,
        targets=played.targets,
        trades=played.trades,
        costs=Costs(**{kind: float(played.costs[kind].sum()) for kind in ("fees", "slippage", "funding")}),
        costs_by_bar=played.costs,
        traded=played.traded,
        metrics=metrics(played.equity, exposure=played.weights.abs().sum(axis=1), traded=played.traded),
        benchmarks=benchmarks,
        coverage=coverage,
        waits=played.waits,
        fits=tuple(decider.fits),
        look_ahead=seen,
        warnings=(*_doubts(ready, parameters, played, seen, benchmarks), *warnings),
        data_hash=data,
        code_version=CODE_VERSION,
        result_key=result_key(data, parameters, strategy.name, details),
    )


def returns_of(equity: pd.Series) -> pd.Series:
    """Return the change of each bar against the one before; the first bar has none and is left out."""
    before = equity.shift(1)
    return (equity / before.where(before > 0) - 1).iloc[1:].fillna(0.0)


def _look_ahead(market: Market, strategy: Strategy, parameters: BacktestParameters, bars: list[int]) -> LookAhead:
    chosen = sample(bars, parameters.look_ahead_samples)
    found = [difference for bar in chosen for difference in at_bar(market, strategy, parameters, bar, bars)]
    sampled = tuple(market.index[bar].to_pydatetime() for bar in chosen)
    return LookAhead(sampled=sampled, differences=tuple(found))


def _benchmarks(market: Market, parameters: BacktestParameters, bars: list[int]) -> Iterator[Benchmark]:
    """Yield what holding one asset and the cap-weighted market made, without any cost, where the data allows."""
    compared: list[Strategy] = [Hold(parameters.benchmark)] if parameters.benchmark in market.assets else []
    if market.caps is not None:
        compared.append(CapWeighted())
    for strategy in compared:
        plain = replace(parameters, walk_forward=None)
        decider = Decider(market, strategy, plain, first=bars[0])
        played = play(market, decider.weights, np.array(bars), plain, FREE)
        if len(played.trades):
            figures = metrics(played.equity, exposure=played.weights.abs().sum(axis=1), traded=played.traded)
            yield Benchmark(name=strategy.name, equity=played.equity, metrics=figures)


def _doubts(
    market: Market, parameters: BacktestParameters, played: Played, seen: LookAhead, compared: tuple[Benchmark, ...]
) -> Iterator[str]:
    """Yield what a reader must know before believing the numbers, the worst first."""
    if seen.differences:
        moments = len({difference.decided_at for difference in seen.differences})
        yield f"LOOK AHEAD: {moments} of {len(seen.sampled)} sampled decisions knew more than their moment"
    if not seen.sampled:
        yield "the look-ahead test was switched off"
    if played.ruined_at is not None:
        yield f"nothing was left at {played.ruined_at:%Y-%m-%d %H:%M}: the rest was not played"
    if not played.trades:
        yield "no order was filled: the curve is the initial money"
    if played.waits:
        assets = sorted({wait.asset for wait in played.waits})
        yield f"{len(played.waits)} orders found no price in their bar and waited: {', '.join(assets)}"
    for asset, bars in played.stale_bars.items():
        yield f"{asset} was held through {bars} bars without a close and valued at the last known one"
    yield from _not_told(market, parameters, played, compared)


def _not_told(
    market: Market, parameters: BacktestParameters, played: Played, compared: tuple[Benchmark, ...]
) -> Iterator[str]:
    """Yield what the data does not hold."""
    if market.index[-1] + (market.index[1] - market.index[0]) <= pd.Timestamp(parameters.end):
        yield f"the bars end at {market.index[-1]:%Y-%m-%d %H:%M}, before the end that was asked for"
    told = [] if market.funding is None else [str(name) for name in market.funding.columns]
    held = {trade.asset for trade in played.trades}
    for asset in sorted(name for name in held if name.endswith(PERPETUAL) and name not in told):
        yield f"{asset} is a perpetual without funding rates: its costs are not complete"
    names = {benchmark.name for benchmark in compared}
    if Hold(parameters.benchmark).name not in names:
        yield f"not compared with holding {parameters.benchmark}: no bars of it"
    if CapWeighted().name not in names:
        yield "not compared with the cap-weighted market: no market capitalisations for this window"
