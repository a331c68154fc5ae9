"""How the time of a cycle grows with the instruments, and that of two questions with the candles that are stored.

Cycles of 50, 500 and 5 000 perpetuals, half at each venue, without limits and with answers at once: each size has a
simulator and a collector of its own, which take turns. Linear is: ten times the instruments take at most eleven times
as long. Questions: the newest 1 000 bars of a series as the API reads them, and what is held of each of 400 series,
with 1, 10 and 50 million bars in the table; the time must stay within 1.5 times.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from benchmarks import market, stand
from benchmarks.asked import Asked
from benchmarks.big_market import big_simulator
from benchmarks.harness import OURS, Comparison, Disagreement, Outcome, Part, Reach, Side

# instruments: assets of the simulated market that has so many at each venue
SIZES, QUICK_SIZES = {50: 90, 500: 420, 5000: 3600}, {10: 45, 50: 90}
BARS, QUICK_BARS = (1_000_000, 10_000_000, 50_000_000), (400_000, 500_000, 600_000)
LINEAR, FLAT = 1.1, 1.5
CYCLE = "CycleRunner in a process of its own, default settings, 16 threads a provider, no limits"
TABLES = "the queries of the API and of `inventory` by one process; PostgreSQL with the settings of the embedded server"


def agree(phase: str, answers: Mapping[str, Any]) -> None:
    """Raise Disagreement unless every cycle read as many of each kind as it has instruments."""
    for name, answer in answers.items():
        wanted = int(name.split()[0])
        if set(answer["counts"].values()) != {wanted}:
            raise Disagreement(f"{phase}: {name} read {answer['counts']}")


def measure(asked: Asked) -> Outcome:
    """Measure cycles and questions."""
    sizes = QUICK_SIZES if asked.quick else SIZES
    bars = QUICK_BARS if asked.quick else BARS
    parts = [*_cycles(sizes, asked), *_questions(bars)]
    cycles, by_key = parts[0], {part.key: part for part in parts}
    reaches = []
    for less, more in zip(list(sizes), list(sizes)[1:], strict=False):
        ratio = cycles.ratio(_name(more), _name(less)).times(less / more)
        text = f"cycle of {more} / {less} instruments, per instrument"
        reaches.append(Reach(key=f"cycle_{more}", text=text, value=ratio, limit=LINEAR))
    for question in ("latest", "inventory"):
        first, *_, last = (by_key[f"{question}_{count}"].of(OURS, "median_ms") for count in bars)
        text = f"{question}, {bars[-1]:,} / {bars[0]:,} bars"
        reaches.append(Reach(key=question, text=text, value=last.over(first), limit=FLAT))
    return Outcome(
        title="Growth",
        work=__doc__ or "",
        parts=parts,
        reaches=reaches,
        configurations={"cycles": CYCLE, OURS: TABLES},
    )


def _cycles(sizes: Mapping[int, int], asked: Asked) -> list[Part]:
    with ExitStack() as stack:
        sides = []
        for count, assets in sizes.items():
            simulated = stack.enter_context(big_simulator(assets))
            each = dict.fromkeys(market.VENUES, count // 2)
            universe = market.exact_universe(simulated, coins=min(assets - 10, 250), each=each)
            work = {
                "addresses": simulated.addresses,
                "limits": False,
                "hurried": asked.quick,
                "history": 5,
                "universe": universe.settings,
            }
            module = "benchmarks.sides.cycle_ours"
            sides.append(Side(name=_name(count), module=module, configuration=CYCLE, work=work))
        return Comparison(
            sides=sides,
            phases={"cycle": "a steady cycle"},
            rounds=asked.times(2),
            warm_ups=asked.size(1, 0),
            agree=agree,
        ).measure()


def _questions(bars: tuple[int, ...]) -> list[Part]:
    phases = {
        f"{question}_{count}": f"{question}, {count:,} bars" for count in bars for question in ("latest", "inventory")
    }
    with stand.server() as server:
        work = {"url": server.database("growth")}
        side = Side(name=OURS, module="benchmarks.sides.growth_tables", configuration=TABLES, work=work)
        return Comparison(sides=[side], phases=phases, rounds=1, warm_ups=0).measure()


def _name(count: int) -> str:
    return f"{count} instruments"
