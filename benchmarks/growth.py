"""How the time of a cycle grows with the instruments, and that of two questions with the candles that are stored.

Cycles of 50, 500 and 5 000 perpetuals, half at each venue, without limits and with answers at once: each size has a
simulator and a collector of its own, which take turns; before a cycle the newest closed minute is taken back, as in
`calls`. Linear is: ten times the instruments take at most eleven times as long. Questions: the newest 1 000 bars of a
series as the API reads them, and what is held of each of 400 series, with 1, 10 and 50 million bars in the table, which
are counted, and windows that grow with them; the time must stay within 1.5 times.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from benchmarks import market, stand
from benchmarks.agreement import plausible
from benchmarks.asked import Asked
from benchmarks.big_market import big_simulator
from benchmarks.harness import OURS, Comparison, Disagreement, Outcome, Part, Reach, Side
from benchmarks.sides.growth_tables import BARS as BARS_ASKED
from benchmarks.sides.growth_tables import END, SERIES, SERIES_ASKED

# instruments: assets of the simulated market that has so many at each venue
SIZES, QUICK_SIZES = {50: 90, 500: 420, 5000: 3600}, {10: 45, 50: 90}
BARS, QUICK_BARS = (1_000_000, 10_000_000, 50_000_000), (400_000, 500_000, 600_000)
LINEAR, FLAT = 1.1, 1.5
CALLS_EACH = 2.5  # of an instrument: book and candles, and open interest at Binance
CYCLE = "CycleRunner in a process of its own, default settings, 16 threads a provider, no limits"
TABLES = "the queries of the API and of `inventory` by one process; PostgreSQL with the settings of the embedded server"


def agree(phase: str, answers: Mapping[str, Any]) -> None:
    """Raise Disagreement unless every cycle read each kind of all its instruments, and as many calls as that takes."""
    for name, answer in answers.items():
        wanted = int(name.split()[0])
        plausible(f"{phase}: {name}", answer)
        calls = sum(answer["requests"].values())
        if set(answer["counts"].values()) != {wanted} or calls < CALLS_EACH * wanted:
            raise Disagreement(f"{phase}: {name} read {answer['counts']} with {calls} calls")


def answered(phase: str, answers: Mapping[str, Any]) -> None:
    """Raise Disagreement unless the table really holds the bars that the phase is named by, and the answer is right."""
    question, asked = phase.split("_")
    each = int(asked) // SERIES
    answer = answers[OURS]
    if answer["counted"] != [each * SERIES, SERIES, each, each]:
        raise Disagreement(f"{phase}: bars, series, fewest and most bars of one are {answer['counted']}")
    wanted: dict[str, Any] = {"series": SERIES, "least": each, "most": each}
    if question == "latest":
        price, newest = 100 + SERIES_ASKED, int(END.timestamp() * 1000) - 60_000
        figures = [price, price + 1, price - 1, price + 0.5, 12.345]
        wanted = {"bars": BARS_ASKED, "oldest": [newest - 60_000 * (BARS_ASKED - 1), *figures]}
        wanted["newest"] = [newest, *figures]
    found = {key: answer[key] for key in wanted}
    if found != wanted:
        raise Disagreement(f"{phase}: answered {found} instead of {wanted}")


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
                "history": 5,
                "universe": universe.settings,
            }
            module = "benchmarks.sides.cycle_ours"
            sides.append(Side(name=_name(count), module=module, configuration=CYCLE, work=work))
        return Comparison(
            sides=sides,
            phases={"cycle": "a steady cycle"},
            rounds=asked.times(3),
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
        return Comparison(sides=[side], phases=phases, rounds=1, warm_ups=0, agree=answered).measure()


def _name(count: int) -> str:
    return f"{count} instruments"
