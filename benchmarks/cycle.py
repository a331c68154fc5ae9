"""A whole cycle against the time that the providers' limits alone force, and the collector's memory.

250 ranked coins, 300 Binance perpetuals (book, open interest, candles) and 250 OKX swaps, against the simulator with
answers after 80 ms and the documented limits on. The first cycle fills the history and is not judged. The steady
cycles are: each starts when every window is empty, and may take 1.2 times the bound of `forced_s`. Memory is the
highest of the process that collects (VmHWM), all cycles included; the limit is 250 MB.

Run from anywhere: .venv/bin/python benchmarks/cycle.py [--cycles 3] [--profile FILE]
"""

import argparse
import cProfile
import os
import pstats
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a file, not only with -m

from benchmarks.scratch import Line, SimulatorProcess, clean_up_when_told_to_stop, judge, scratch_tree, simulator
from collector.clock import SystemClock
from collector.config import Layer, Settings, load_settings
from collector.log import set_up_logging, tear_down_logging
from collector.records import CycleReport, CycleState
from collector.storage.reader import Reader
from collector.wiring import Collecting, open_collecting

ASSETS, COINS, PERPETUALS, SWAPS = 450, 250, 300, 250
LATENCY_MS = 80
TIMES_FORCED = 1.2
MEMORY_MB = 250
QUIET_S = 76  # a minute and the quarter by which slow answers can lengthen a window: then every window is empty
CLOCK = SystemClock()
MINUTE_MARGIN_S = 3  # into a minute, so that the candle before it has settled

# The providers' documents, written down once more and not taken from the collector: weight of a call, and what each
# scope allows in how many seconds.
BINANCE_WEIGHTS = {"depth": 2, "openInterest": 1, "klines": 1, "ticker/24hr": 40, "premiumIndex": 10, "exchangeInfo": 1}
BINANCE = (2400, 60.0)
OKX = {
    "market/candles": (40, 2.0),
    "market/books": (40, 2.0),
    "market/tickers": (20, 2.0),
    "market/history-candles": (20, 2.0),
    "public/mark-price": (10, 2.0),
    "public/funding-rate": (10, 2.0),
    "public/open-interest": (20, 2.0),
}
COINGECKO = (30, 60.0)
SCOPES = {
    "coingecko": ("calls",),
    "binance_futures": ("weight",),
    "okx": ("candles", "books", "tickers", "history_candles", "mark_price", "funding_rate", "open_interest"),
}


def forced_s(requests: Mapping[str, int], reserve: float) -> tuple[float, dict[str, float]]:
    """Return the seconds that the limits force on these requests ("venue path" -> count), and by scope.

    A window takes its limit less the reserve at once; what exceeds it waits for the next one. Scopes and providers run
    side by side, so the slowest decides; the last call still needs its answer.
    """
    spent: dict[str, tuple[int, int, float]] = {}  # scope -> (weight, limit, window)
    for call, count in requests.items():
        venue, _, path = call.partition(" ")
        scope, weight, (limit, window) = venue, 1, COINGECKO
        if venue == "binance_futures":
            weight, (limit, window) = BINANCE_WEIGHTS[path.partition("/fapi/v1/")[2]], BINANCE
        elif venue == "okx":
            name = path.partition("/api/v5/")[2]
            scope, (limit, window) = f"okx {name}", OKX[name]
        spent[scope] = (spent.get(scope, (0, 0, 0.0))[0] + weight * count, limit, window)
    waits = {
        scope: window * ((weight - 1) // int(limit * (1 - reserve) + 1e-9))
        for scope, (weight, limit, window) in spent.items()
    }
    return max(waits.values()) + LATENCY_MS / 1000, waits


def memory_mb(field: str) -> float:
    """Return VmRSS or VmHWM of this process, in MB of a million bytes."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024 / 1e6


def exact_universe(folder: Path, simulated: SimulatorProcess, tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return universe settings under which exactly the wanted numbers are followed.

    One instrument per coin and venue is chosen by itself; after a look at that choice the numbers are filled up with
    further contracts, or cut.
    """
    settings = settings_of({**tree, "logs": {"directory": str(folder / "look")}}, {"top": COINS}, only_lists=True)
    with open_collecting(settings, lambda _: None) as collecting:
        assert collecting.runner.run("market").state is CycleState.OK
        stored = collecting.reader.load_instruments()
    include: list[str] = []
    exclude: list[str] = []
    for venue, wanted in (("binance_futures", PERPETUALS), ("okx", SWAPS)):
        mine = [
            row for row in stored if row.instrument.venue == venue and row.tradable and row.instrument.kind == "perp"
        ]
        followed = [row.instrument.id for row in mine if row.followed]
        others = [row.instrument.id for row in mine if not row.followed and row.category == "crypto"]
        print(f"{venue}: {len(mine)} tradable perpetuals, {len(followed)} chosen by rank")
        include += others[: max(0, wanted - len(followed))]
        exclude += followed[wanted:]
    assert simulated.state()["refused"] == {}
    return {"top": COINS, "include_instruments": include, "exclude_instruments": exclude}


def settings_of(tree: Mapping[str, Any], universe: Mapping[str, Any], *, only_lists: bool = False) -> Settings:
    sources = {name: dict(part) for name, part in tree["sources"].items()}
    if only_lists:
        for name, unwanted in (
            ("binance_futures", ("open_interest", "order_books", "candles", "funding")),
            ("okx", ("order_books", "candles", "funding")),
        ):
            sources[name]["datasets"] = {dataset: {"enabled": False} for dataset in unwanted}
    layer = Layer("benchmark", {**tree, "universe": dict(universe), "sources": sources})
    return load_settings(environment={}, overrides=(layer,))[0]


def check_counts(reader: Reader) -> None:
    followed = [row.instrument for row in reader.load_instruments(followed=True)]
    perpetuals = sum(item.venue == "binance_futures" for item in followed)
    swaps = sum(item.venue == "okx" for item in followed)
    coins = len(reader.load_assets(followed=True))
    assert (coins, perpetuals, swaps) == (COINS, PERPETUALS, SWAPS), (coins, perpetuals, swaps)


def wait_for_empty_windows() -> None:
    """Sleep until nothing of the last cycle counts any more and a minute has begun."""
    now = CLOCK.now().timestamp()
    ready = now + QUIET_S
    start = -(-(ready - MINUTE_MARGIN_S) // 60) * 60 + MINUTE_MARGIN_S
    while start % 3600 < 120:  # an hour has just ended: its candles come on top of those of the minute
        start += 60
    CLOCK.sleep(max(0.0, start - now))


def warm_up(simulated: SimulatorProcess) -> None:
    """Let the simulator work out the lists of this minute, half a second each, so that its answers do take 80 ms."""
    simulated.get("binance_futures", "/fapi/v1/ticker/24hr")
    simulated.get("okx", "/api/v5/market/tickers?instType=SWAP")


class Measured:
    """One cycle, measured from outside."""

    def __init__(self, collecting: Collecting, simulated: SimulatorProcess, profile: cProfile.Profile | None) -> None:
        before, cpu, started = simulated.state()["requests"], time.process_time(), time.perf_counter()
        if profile is not None:
            profile.enable()
        self.report: CycleReport = collecting.runner.run("market")
        if profile is not None:
            profile.disable()
        self.wall_s = time.perf_counter() - started
        self.cpu_s = time.process_time() - cpu
        state = simulated.state()
        self.refused = sum(state["refused"].values())
        self.requests = {
            call: count - before.get(call, 0)
            for call, count in state["requests"].items()
            if count > before.get(call, 0)
        }

    def describe(self) -> str:
        stored = sum(sum(part.rows.values()) for part in self.report.sources)
        asked, load = sum(self.requests.values()), os.getloadavg()[0]
        return (
            f"{self.report.state}: {self.wall_s:.2f} s, {asked} requests, {self.refused} refused, {stored} rows, "
            f"{self.report.indicator_rows} of indicators, {self.cpu_s:.2f} s of CPU, load {load:.1f}, "
            f"RSS {memory_mb('VmRSS'):.0f} MB (highest {memory_mb('VmHWM'):.0f})"
        )


def changed_tree(folder: Path, simulated: SimulatorProcess, options: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of a scratch folder with what the options change."""
    tree = scratch_tree(folder, simulated.addresses)
    if options.history:
        for source in ("binance_futures", "okx"):
            tree["sources"][source]["datasets"] = {"candles": {"history": options.history}}
    if options.no_limits:
        for source, scopes in SCOPES.items():
            tree["sources"][source]["limits"] = {scope: {"capacity": 1_000_000, "window": "1s"} for scope in scopes}
    if options.debug:
        tree["logs"]["level"] = "DEBUG"
    return tree


def run(options: argparse.Namespace, stack: ExitStack) -> list[Line]:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-cycle-")))
    simulated = stack.enter_context(simulator(assets=ASSETS, latency_ms=LATENCY_MS, limits=not options.no_limits))
    tree = changed_tree(folder, simulated, options)
    settings = settings_of(tree, exact_universe(folder, simulated, tree))
    set_up_logging(settings.logs, console=None)
    stack.callback(tear_down_logging)
    profile = cProfile.Profile() if options.profile else None
    with open_collecting(settings, lambda _: None) as collecting:
        if not options.no_limits:
            wait_for_empty_windows()
        print("first cycle    ", Measured(collecting, simulated, None).describe(), flush=True)
        check_counts(collecting.reader)
        lines = run_steady(options, collecting, simulated, settings.http.reserve_pct / 100, profile)
    if profile is not None:
        profile.dump_stats(options.profile)
        pstats.Stats(profile).sort_stats("cumulative").print_stats(40)
    return lines


def run_steady(
    options: argparse.Namespace,
    collecting: Collecting,
    simulated: SimulatorProcess,
    reserve: float,
    profile: cProfile.Profile | None,
) -> list[Line]:
    judged: list[tuple[Measured, float]] = []
    memory: list[float] = []
    for number in range(1, options.cycles + 1):
        patient = number <= options.judged and not options.no_limits
        if patient:
            wait_for_empty_windows()
            warm_up(simulated)
        one = Measured(collecting, simulated, profile if patient else None)
        memory.append(memory_mb("VmRSS"))
        print(f"steady cycle {number:2}", one.describe(), flush=True)
        assert one.report.state is CycleState.OK, one.report
        assert one.refused == 0, one.refused
        if patient:
            bound, waits = forced_s(one.requests, reserve)
            slowest = max(waits, key=lambda scope: waits[scope])
            print(
                f"{'':15} forced by the limits: {bound:.2f} s ({slowest}), ratio {one.wall_s / bound:.2f}", flush=True
            )
            judged.append((one, bound))
    if len(memory) > 5:
        print(f"resident after cycle 5: {memory[4]:.0f} MB, after cycle {len(memory)}: {memory[-1]:.0f} MB")
    return _lines(judged)


def _lines(steady: Sequence[tuple[Measured, float]]) -> list[Line]:
    memory = Line("highest resident memory", memory_mb("VmHWM"), MEMORY_MB, "MB")
    if not steady:
        return [memory]
    one, bound = sorted(steady, key=lambda item: item[0].wall_s / item[1])[len(steady) // 2]
    return [
        Line("steady cycle (median) / 1.2 x forced by the limits", one.wall_s, TIMES_FORCED * bound, "s"),
        memory,
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=3, help="steady cycles (default 3)")
    parser.add_argument(
        "--judged", type=int, default=3, help="how many of them start with empty windows and are judged (default 3)"
    )
    parser.add_argument(
        "--no-limits", action="store_true", help="no limits, no waiting, no ratio: memory over many cycles"
    )
    parser.add_argument("--history", type=int, help="bars of the first cycle (default: as in the settings)")
    parser.add_argument("--debug", action="store_true", help="log every call")
    parser.add_argument("--profile", metavar="FILE", help="profile the thread that runs the cycles into FILE")
    options = parser.parse_args()
    clean_up_when_told_to_stop()
    print(f"{COINS} coins, {PERPETUALS} Binance perpetuals, {SWAPS} OKX swaps, {os.cpu_count()} cores")
    with ExitStack() as stack:
        lines = run(options, stack)
        return judge(lines)


if __name__ == "__main__":
    raise SystemExit(main())
