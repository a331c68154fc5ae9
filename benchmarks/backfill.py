"""A year of one minute bars of one pair (525 600) from the simulated Binance, every limit off, answers at once.

Collector and freqtrade are whole programs, their start included; the ccxt script is timed without its imports. The
collector and the script store in PostgreSQL, freqtrade in its files. The answer is every bar, to the last digit.
"""

from collections.abc import Mapping

from benchmarks import stand
from benchmarks.asked import Asked
from benchmarks.harness import OURS, Comparison, Outcome, Reach, Side, Spread
from benchmarks.scratch import simulator

FREQTRADE, CCXT = "freqtrade", "ccxt and to_sql"
DAYS, QUICK_DAYS = 365, 7
CONFIGURATIONS = {
    OURS: "`python main.py backfill`: only binance_spot enabled, a million calls a second, raw answers kept",
    FREQTRADE: "`freqtrade download-data`: binance spot, only_from_ccxt, enableRateLimit off, feather files (default)",
    CCXT: (
        "ccxt.binance (sync), enableRateLimit off, fetch_ohlcv in pages of 1 000, one frame, "
        "to_sql(chunksize=10000, method=COPY as in its user guide) into a new table, primary key at the end"
    ),
}


def measure(asked: Asked) -> Outcome:
    """Measure the three ways."""
    days = asked.size(DAYS, QUICK_DAYS)
    with stand.server() as server, simulator(assets=45, latency_ms=0, limits=False) as simulated:
        work = {"spot": simulated.addresses["binance_spot"], "days": days}
        sides = (
            _side(OURS, "ours", {**work, "url": server.database("ours")}),
            _side(FREQTRADE, "freqtrade", work, peer=True),
            _side(CCXT, "ccxt", {**work, "url": server.database("ccxt")}, peer=True),
        )
        parts = Comparison(
            sides=sides,
            phases={"year": f"{days * 1440:,} bars"},
            rounds=asked.times(3),
            warm_ups=0,
            server_pid=server.pid,
        ).measure()
    (part,) = parts
    for figures in part.figures.values():
        figures["rows_per_s"] = figures["rows"].over(figures["wall_s"])
    times = zip(part.of(FREQTRADE).rounds, part.of(CCXT).rounds, strict=True)
    best = Spread(tuple(map(min, times))).over(part.of(OURS))
    return Outcome(
        title="Candle backfill of a year",
        work=__doc__ or "",
        parts=parts,
        reaches=[Reach(key="best", text="the faster peer / ours", value=best, limit=3, at_least=True)],
        configurations=CONFIGURATIONS,
    )


def _side(name: str, module: str, work: Mapping[str, object], *, peer: bool = False) -> Side:
    module = f"benchmarks.sides.backfill_{module}"
    return Side(name=name, module=module, configuration=CONFIGURATIONS[name], work=work, peer=peer)
