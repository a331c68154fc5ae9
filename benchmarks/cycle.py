"""A steady cycle under the documented limits: 250 coins, 300 Binance and 250 OKX perpetuals, answers after 80 ms.

Read are books of 50 levels, open interest, mark prices, funding rates, 24-hour tickers and the newest 1m candles. The
bound is what the limits alone force on the requests that the collector made. ccxt makes the same reads with its own
throttler. Each side has a simulator of its own, so that neither uses up the other's limits, and starts with empty
windows. The collector stores everything and computes the indicators; ccxt only reads. The answer: the same calls,
values of the same instruments as near as the minutes between leave them, and equal closed bars of each.
"""

from contextlib import ExitStack

from benchmarks import market
from benchmarks.agreement import Agreement
from benchmarks.asked import Asked
from benchmarks.harness import OURS, Comparison, Outcome, Reach, Side
from benchmarks.scratch import SimulatorProcess, simulator

CCXT = "ccxt async"
LATENCY_MS = 80
COINS, EACH = 250, {"binance_futures": 300, "okx": 250}
QUICK_EACH = {"binance_futures": 30, "okx": 30}
HISTORY = 20  # bars of the first cycle; a steady one does not depend on it
CONFIGURATIONS = {
    OURS: "the shipped settings with only coingecko, binance_futures and okx, candles of 1m, no hourly funding history",
    CCXT: (
        "ccxt.async_support.binanceusdm and okx, enableRateLimit on (default), one object each, markets loaded before; "
        "unified methods, bulk ones where there are any, all gathered at once"
    ),
}


def measure(asked: Asked) -> Outcome:
    """Measure a steady cycle of both."""
    each = QUICK_EACH if asked.quick else EACH
    with ExitStack() as stack:
        ours, theirs = (stack.enter_context(simulator(assets=market.ASSETS, latency_ms=LATENCY_MS)) for _ in range(2))
        with simulator(assets=market.ASSETS, latency_ms=0) as looked_at:
            universe = market.exact_universe(looked_at, coins=COINS, each=each)
        (part,) = Comparison(
            sides=[_ours(ours, universe, patient=not asked.quick), _theirs(theirs, universe)],
            phases={"limited": f"{COINS} coins, {each['binance_futures']} + {each['okx']} perpetuals"},
            rounds=asked.times(2),  # limits make rounds alike, within 2 %, and each takes three minutes
            warm_ups=0,
            agree=Agreement(),
        ).measure()
    bound = part.of(OURS).over(part.of(OURS, "forced_s"))
    faster, weight = part.ratio(CCXT, OURS), part.ratio(OURS, CCXT, "weight")
    binance, refused = part.ratio(CCXT, OURS, "binance_futures_s"), part.of(OURS, "refused")
    return Outcome(
        title="Full cycle under the documented limits",
        work=__doc__ or "",
        parts=[part],
        reaches=[
            Reach(key="bound", text="ours / what the limits force", value=bound, limit=1.1),
            Reach(key="ccxt", text="ccxt / ours", value=faster, limit=10, at_least=True),
            Reach(key="ccxt_binance", text="ccxt / ours, Binance alone", value=binance, limit=10, at_least=True),
            Reach(key="weight", text="weight and calls used, ours / ccxt", value=weight, limit=1.0),
            Reach(
                key="memory", text="highest resident size, ours", value=part.of(OURS, "peak_mb"), limit=250, unit="MB"
            ),
            Reach(key="refused", text="answers that refused us", value=refused, limit=0, unit="answers"),
        ],
        configurations=CONFIGURATIONS,
        method="Before each round the collector waits until all windows are empty and a minute has begun.",
        notes=[
            "binance_futures_s, okx_s: from the first to the last job of a provider; until its last answer with ccxt.",
            "OKX's 250 books alone need 12 s under its limit: nobody reads both venues 10 times as fast as ccxt.",
            "forced_s: worked out from the requests that the simulator counted and the providers' documents.",
        ],
    )


def _ours(simulated: SimulatorProcess, universe: market.Universe, *, patient: bool) -> Side:
    work = {
        "addresses": simulated.addresses,
        "limits": True,
        "patient": patient,
        "history": HISTORY,
        "universe": universe.settings,
        "latency_s": LATENCY_MS / 1000,
    }
    return Side(name=OURS, module="benchmarks.sides.cycle_ours", configuration=CONFIGURATIONS[OURS], work=work)


def _theirs(simulated: SimulatorProcess, universe: market.Universe) -> Side:
    work = {"addresses": simulated.addresses, "limits": True, "symbols": universe.symbols, "mode": "async"}
    return Side(
        name=CCXT, module="benchmarks.sides.cycle_ccxt", configuration=CONFIGURATIONS[CCXT], work=work, peer=True
    )
