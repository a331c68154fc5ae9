"""The collector's resident size after 10, 100 and 1 000 cycles in one process, cycle after cycle without a pause.

24 perpetuals and 45 assets without limits, so that a thousand cycles take minutes; candles come along whenever a minute
has ended. How large it gets with 550 perpetuals is told by `cycle` (peak_mb).
"""

from benchmarks import market
from benchmarks.asked import Asked
from benchmarks.harness import OURS, Comparison, Outcome, Reach, Side
from benchmarks.scratch import simulator

EACH = {"binance_futures": 12, "okx": 12}
CYCLES, QUICK_CYCLES = (10, 100, 1000), (2, 4, 8)
ASSETS, COINS = 45, 40
LIMIT_MB, FLAT = 250, 1.05


def measure(asked: Asked) -> Outcome:
    """Run the cycles and look three times."""
    cycles = QUICK_CYCLES if asked.quick else CYCLES
    with simulator(assets=ASSETS, latency_ms=0, limits=False) as simulated:
        universe = market.exact_universe(simulated, coins=COINS, each=EACH)
        work = {
            "addresses": simulated.addresses,
            "limits": False,
            "history": 499,
            "universe": universe.settings,
        }
        text = "CycleRunner in a process of its own, default settings, 16 threads a provider, no limits"
        parts = Comparison(
            sides=[Side(name=OURS, module="benchmarks.sides.memory_ours", configuration=text, work=work)],
            phases={str(number): f"after {number} cycles" for number in cycles},
            rounds=1,
            warm_ups=0,
        ).measure()
    sizes = [part.of(OURS, "resident_mb") for part in parts]
    return Outcome(
        title="Memory",
        work=__doc__ or "",
        parts=parts,
        reaches=[
            Reach(
                key="flat",
                text=f"resident after {cycles[2]} / {cycles[1]} cycles",
                value=sizes[2].over(sizes[1]),
                limit=FLAT,
            ),
            Reach(
                key="early",
                text=f"resident after {cycles[2]} / {cycles[0]} cycles",
                value=sizes[2].over(sizes[0]),
                limit=FLAT,
            ),
            Reach(key="resident", text=f"resident after {cycles[2]} cycles", value=sizes[2], limit=LIMIT_MB, unit="MB"),
        ],
        configurations={OURS: text},
    )
