"""The collector's cycle against simulated providers, in this process; and its reads alone, with nothing stored.

Phase "reads": the calls of a cycle by the same workers in the same threads, parsed and checked. Every other phase: the
whole cycle, stored, with indicators.
"""

import queue
import tempfile
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import text

from benchmarks import market
from benchmarks.sides.cycle_told import read, stored
from benchmarks.sides.reads import Bar, Values, told
from collector.clock import SystemClock, floor_time
from collector.log import set_up_logging, tear_down_logging
from collector.providers import build_source, close_source
from collector.records import Batch, CycleReport, CycleState, Dataset, Instrument, Interval, Job
from collector.wiring import open_collecting
from collector.worker import Run, Tally, Worker

CLOCK = SystemClock()
QUIET_S = 76  # a minute and the quarter by which slow answers can lengthen a window: then every window is empty
MINUTE_MARGIN_S = 3  # into a minute, so that the candle before it has settled
LATEST_START_S = 50  # into a minute: a cycle that starts later may meet the next candle
# A minute that is taken back: what a cycle of that minute adds, and would not add again.
FORGET = (
    "DELETE FROM candles WHERE interval = '1m' AND open_time >= :cut",
    "DELETE FROM indicators WHERE interval = '1m' AND open_time >= :cut",
    "UPDATE coverage SET until = :cut WHERE dataset = 'candles' AND interval = '1m' AND until > :cut",
    "DELETE FROM market_snapshots WHERE cycle_id = :cycle",
    "DELETE FROM global_snapshots WHERE cycle_id = :cycle",
)
EACH = (Dataset.ORDER_BOOKS, Dataset.CANDLES)


class Ours:
    """A collector with its own database; the first cycle, which fetches the history, is part of getting ready."""

    def __init__(self, work: Mapping[str, Any]) -> None:
        self.stack = ExitStack()
        self.work = work
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-cycle-")))
        made = market.tree(folder, work["addresses"], limits=work["limits"], history=work["history"])
        settings = market.settings_of(made, work["universe"])
        set_up_logging(settings.logs, console=None)
        self.stack.callback(tear_down_logging)
        self.collecting = self.stack.enter_context(open_collecting(settings, lambda _: None))
        self.report: CycleReport = self.collecting.runner.run("market")
        self._must_be_ok()
        followed = [row.instrument for row in self.collecting.reader.load_instruments(followed=True)]
        self.instruments = {name: [item for item in followed if item.venue == name] for name in market.VENUES}
        self.sources = {name: build_source(name, settings, CLOCK) for name in market.SOURCES}
        for source in self.sources.values():
            self.stack.callback(close_source, source)
        self.batches: list[Batch] = []
        self.before: Mapping[str, Any] = {}
        self.quiet_at = CLOCK.monotonic() + QUIET_S

    def prepare(self, phase: str) -> None:
        """Bring about that candles of a minute are due, and where asked for that nothing of the last cycle counts."""
        if phase != "reads":
            now = CLOCK.now().timestamp()
            ready = now + (max(0.0, self.quiet_at - CLOCK.monotonic()) if self.work.get("patient") else 0.0)
            second = (ready - MINUTE_MARGIN_S) % 60
            late = second > (0 if self.work.get("patient") else LATEST_START_S)
            CLOCK.sleep(ready - now + (60 - second if late else 0.0))
            self._forget_minute()
        warm_up(self.work["addresses"])
        self.batches = []
        self.before = market.state(self.work["addresses"])

    def _forget_minute(self) -> None:
        """Take back the newest closed minute where the last cycle has it already, so that no round waits for one."""
        values = {"cut": floor_time(CLOCK.now(), Interval.M1) - Interval.M1.width, "cycle": self.report.cycle_id}
        with self.collecting.database.transaction() as connection:
            for statement in FORGET:
                connection.execute(text(statement), values)
        with self.collecting.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM candles, indicators, coverage, market_snapshots, global_snapshots")

    def run(self, phase: str) -> None:
        if phase == "reads":
            self.batches = self._read()
        else:
            self.report = self.collecting.runner.run("market")
            self.quiet_at = CLOCK.monotonic() + QUIET_S

    def answer(self, phase: str) -> dict[str, Any]:
        if phase == "reads":
            values, bars = read(self.batches)
            return self._told(values, bars, None, rows=0)
        self._must_be_ok()
        rows = sum(sum(part.rows.values()) for part in self.report.sources) + self.report.indicator_rows
        with self.collecting.database.reading() as connection:
            return self._told(*stored(connection, self.report.cycle_id), rows=rows)

    def close(self) -> None:
        self.stack.close()

    def _told(self, values: Values, bars: Sequence[Bar], fresh: Sequence[str] | None, *, rows: int) -> dict[str, Any]:
        state = market.state(self.work["addresses"])
        requests = {
            call: count - self.before["requests"].get(call, 0)
            for call, count in state["requests"].items()
            if count > self.before["requests"].get(call, 0)
        }
        facts: dict[str, float] = {
            "requests": sum(requests.values()),
            "weight": market.weight_of(requests),
            "refused": sum(state["refused"].values()) - sum(self.before["refused"].values()),
            "rows": rows,
        }
        if self.work["limits"]:
            facts |= {
                f"{part.source}_s": part.duration_s for part in self.report.sources if part.source in market.VENUES
            }
            facts["forced_s"] = market.forced_s(requests, self.work["latency_s"])
        return told(values, bars, facts, requests, fresh)

    def _must_be_ok(self) -> None:
        if self.report.state is not CycleState.OK:
            raise RuntimeError(f"cycle {self.report.state}: {self.report}")

    def _read(self) -> list[Batch]:
        """Make the calls of a cycle and return the checked batches."""
        done: queue.Queue[Batch] = queue.Queue()
        run = Run(0, "market", None, {name: Tally() for name in self.sources}, CLOCK.now())
        jobs = list(jobs_of(self.instruments))
        for source in self.sources.values():
            source.venue.begin(CLOCK.monotonic() + 600)
        for job in jobs:
            worker = Worker(
                run=run, source=self.sources[job.source], job=job, done=done, clock=CLOCK, refusal=lambda: ""
            )
            self.sources[job.source].pool.submit(worker)
        return [done.get(timeout=600) for _ in jobs]


def jobs_of(instruments: Mapping[str, Sequence[Instrument]]) -> Iterable[Job]:
    """Yield the jobs of a cycle: what there is in bulk first, then what is asked for each instrument."""
    until = floor_time(CLOCK.now(), Interval.M1)
    yield Job(source="coingecko", dataset=Dataset.MARKETS, limit=250)
    yield Job(source="coingecko", dataset=Dataset.GLOBAL)
    for name, own in instruments.items():
        bulk = [Dataset.TICKERS, Dataset.MARK_PRICES]
        bulk += [Dataset.OPEN_INTEREST, Dataset.FUNDING_FORECASTS] if name == "okx" else []
        for dataset in bulk:
            yield Job(source=name, dataset=dataset, instruments=tuple(own))
    for name, own in instruments.items():
        each = [*EACH, *([Dataset.OPEN_INTEREST] if name == "binance_futures" else [])]
        for dataset in each:
            for item in own:
                candles = dataset is Dataset.CANDLES
                yield Job(
                    source=name,
                    dataset=dataset,
                    instruments=(item,),
                    interval=Interval.M1 if candles else None,
                    since=until - timedelta(minutes=2) if candles else None,
                    until=until if candles else None,
                    limit=market.LEVELS if dataset is Dataset.ORDER_BOOKS else None,
                )


def warm_up(addresses: Mapping[str, str]) -> None:
    """Let the simulator work out the lists of this minute, half a second each, so that its answers take as told."""
    for path in (
        f"{addresses['binance_futures']}/fapi/v1/ticker/24hr",
        f"{addresses['okx']}/api/v5/market/tickers?instType=SWAP",
    ):
        with urllib.request.urlopen(path, timeout=30) as answer:  # noqa: S310 - loopback
            answer.read()


def open_side(work: Mapping[str, Any]) -> Ours:
    return Ours(work)
