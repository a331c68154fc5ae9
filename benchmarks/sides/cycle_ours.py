"""The collector's cycle against simulated providers, in this process; and its reads alone, with nothing stored.

Phase "reads": the calls of a cycle by the same workers in the same threads, parsed and checked. Every other phase: the
whole cycle, stored, with indicators.
"""

import queue
import tempfile
import urllib.request
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import text

from benchmarks import market
from benchmarks.sides.reads import Bar, told
from collector.clock import SystemClock, floor_time
from collector.log import set_up_logging, tear_down_logging
from collector.providers import build_source, close_source
from collector.records import (
    Batch,
    Candle,
    CycleReport,
    CycleState,
    Dataset,
    FundingForecast,
    Instrument,
    Interval,
    Job,
    MarkPrice,
    OpenInterest,
    OrderBook,
    Record,
)
from collector.wiring import open_collecting
from collector.worker import Run, Tally, Worker

CLOCK = SystemClock()
QUIET_S = 76  # a minute and the quarter by which slow answers can lengthen a window: then every window is empty
MINUTE_MARGIN_S = 3  # into a minute, so that the candle before it has settled
BARS = """
    SELECT i.venue, i.venue_symbol, extract(epoch FROM c.open_time)::bigint, c.open::float8, c.high::float8,
        c.low::float8, c.close::float8, c.volume::float8
    FROM candles c JOIN instruments i USING (instrument_id)
    WHERE c.interval = '1m' AND c.open_time > now() - interval '15 minutes'
"""
READ = """
    SELECT dataset, count(DISTINCT instrument_id) FROM (
        SELECT 'books' AS dataset, instrument_id FROM order_books WHERE cycle_id = :cycle
        UNION ALL SELECT 'marks', instrument_id FROM mark_prices WHERE cycle_id = :cycle
        UNION ALL SELECT 'open_interest', instrument_id FROM open_interest WHERE cycle_id = :cycle
        UNION ALL SELECT 'funding', instrument_id FROM funding_forecasts WHERE cycle_id = :cycle
    ) AS found JOIN instruments USING (instrument_id) WHERE followed GROUP BY dataset
"""
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
        """Wait until candles of a new minute are due, and where asked for until nothing of the last cycle counts."""
        if phase != "reads" and not self.work.get("hurried"):
            now = CLOCK.now().timestamp()
            ready = now + (max(0.0, self.quiet_at - CLOCK.monotonic()) if self.work.get("patient") else 0.0)
            ready = max(ready, self.report.started_at.timestamp() // 60 * 60 + 60 + MINUTE_MARGIN_S)
            start = -(-(ready - MINUTE_MARGIN_S) // 60) * 60 + MINUTE_MARGIN_S if self.work.get("patient") else ready
            CLOCK.sleep(max(0.0, start - now))
        warm_up(self.work["addresses"])
        self.batches = []
        self.before = market.state(self.work["addresses"])

    def run(self, phase: str) -> None:
        if phase == "reads":
            self.batches = self._read()
        else:
            self.report = self.collecting.runner.run("market")
            self.quiet_at = CLOCK.monotonic() + QUIET_S

    def answer(self, phase: str) -> dict[str, Any]:
        if phase == "reads":
            return self._told(*read(self.batches), rows=0)
        self._must_be_ok()
        rows = sum(sum(part.rows.values()) for part in self.report.sources) + self.report.indicator_rows
        with self.collecting.database.reading() as connection:
            counts = {
                str(name): int(count) for name, count in connection.execute(text(READ), {"cycle": self.report.cycle_id})
            }
            bars: Sequence[Any] = connection.execute(text(BARS)).all()
        return self._told(counts, bars, rows=rows)

    def close(self) -> None:
        self.stack.close()

    def _told(self, counts: Mapping[str, int], bars: Iterable[Any], *, rows: int) -> dict[str, Any]:
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
        return told(counts, (tuple(bar) for bar in bars), facts)

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


KINDS: Mapping[str, type[OrderBook | MarkPrice | OpenInterest | FundingForecast]] = {
    "books": OrderBook,
    "marks": MarkPrice,
    "open_interest": OpenInterest,
    "funding": FundingForecast,
}


def read(batches: Sequence[Batch]) -> tuple[dict[str, int], list[Bar]]:
    """Return how many instruments each dataset was read for, and the closed bars."""
    failed = [batch.error for batch in batches if batch.state != "ok"]
    if failed:
        raise RuntimeError(f"{len(failed)} jobs failed, the first: {failed[0]}")
    records: list[Record] = [record for batch in batches for record in batch.records]
    seen = {
        (kind, record.instrument.id)
        for kind, wanted in KINDS.items()
        for record in records
        if isinstance(record, wanted)
    }
    bars = [_bar(record) for record in records if isinstance(record, Candle) and record.closed]
    return dict(Counter(kind for kind, _ in seen)), bars


def _bar(candle: Candle) -> Bar:
    item, opened = candle.instrument, int(candle.open_time.timestamp())
    numbers = (candle.open, candle.high, candle.low, candle.close, candle.volume or 0)
    first, second, third, fourth, fifth = map(float, numbers)
    return item.venue, item.venue_symbol, opened, first, second, third, fourth, fifth


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
