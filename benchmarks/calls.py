"""The processor time of a cycle's calls and rows: the same market without limits, answers after 5 ms.

Phase `reads`: the calls, parsed and checked, nothing stored. Phase `stored`: the collector's whole cycle with
indicators, ledger and raw answers; ccxt's reads with a DataFrame for each kind and to_sql. Before a cycle the newest
closed minute is taken back from the collector's tables, so that it reads and stores that of every instrument again. The
answer is compared as in `cycle`. Judged are processor seconds per 1 000 requests of the one and per 1 000 stored rows
of the other, parse included.
"""

from benchmarks import market, stand
from benchmarks.agreement import Agreement
from benchmarks.asked import Asked
from benchmarks.cycle import COINS, EACH, QUICK_EACH
from benchmarks.harness import OURS, Comparison, Outcome, Reach, Side
from benchmarks.scratch import simulator

SYNC, ASYNC = "ccxt sync", "ccxt async"
LATENCY_MS = 5
CONFIGURATIONS = {
    OURS: "as in `cycle`, every limit a million a second; 16 threads a provider (default)",
    SYNC: "ccxt.binanceusdm and okx, enableRateLimit off, one call after the other; to_sql by COPY",
    ASYNC: "ccxt.async_support, enableRateLimit off, all calls gathered at once; to_sql by COPY",
}


def measure(asked: Asked) -> Outcome:
    """Measure all three."""
    each = QUICK_EACH if asked.quick else EACH
    with stand.server() as server, simulator(assets=market.ASSETS, latency_ms=LATENCY_MS, limits=False) as simulated:
        universe = market.exact_universe(simulated, coins=COINS, each=each)
        shared = {"addresses": simulated.addresses, "limits": False}
        own = {
            **shared,
            "history": 20,
            "universe": universe.settings,
        }
        sides = [Side(name=OURS, module="benchmarks.sides.cycle_ours", configuration=CONFIGURATIONS[OURS], work=own)]
        for name, mode in ((SYNC, "sync"), (ASYNC, "async")):
            work = {**shared, "symbols": universe.symbols, "mode": mode, "url": server.database(mode)}
            module = "benchmarks.sides.cycle_ccxt"
            sides.append(Side(name=name, module=module, configuration=CONFIGURATIONS[name], work=work, peer=True))
        parts = Comparison(
            sides=sides,
            phases={"reads": "the calls of a cycle, parsed", "stored": "the same, stored"},
            rounds=asked.times(5),
            warm_ups=asked.size(1, 0),
            agree=Agreement(),
        ).measure()
    calls, stored = parts
    for figures in calls.figures.values():
        figures["cpu_ms_per_request"] = figures["cpu_s"].over(figures["requests"]).times(1000)
    for figures in stored.figures.values():
        figures["cpu_ms_per_row"] = figures["cpu_s"].over(figures["rows"]).times(1000)
    ratios = (
        ("sync_request", "CPU per request, ours / ccxt sync", calls.ratio(OURS, SYNC, "cpu_ms_per_request"), 1.0),
        ("async_request", "CPU per request, ours / ccxt async", calls.ratio(OURS, ASYNC, "cpu_ms_per_request"), 2.0),
        ("sync_row", "CPU per stored row, ours / ccxt sync", stored.ratio(OURS, SYNC, "cpu_ms_per_row"), 1.0),
        ("async_row", "CPU per stored row, ours / ccxt async", stored.ratio(OURS, ASYNC, "cpu_ms_per_row"), 1.0),
    )
    return Outcome(
        title="Processor time of calls and rows",
        work=__doc__ or "",
        parts=parts,
        reaches=[Reach(key=key, text=text, value=value, limit=limit) for key, text, value, limit in ratios],
        configurations=CONFIGURATIONS,
        notes=[
            "The tables of ccxt have no key and take duplicates; the collector's upsert does not.",
            "cpu_s is that of the side's own process; a millisecond per request is a second per 1 000 requests.",
            "Rows of the collector include those of indicators; its ledger and raw answers are in the time only.",
        ],
    )
