"""What the tests of Binance futures share: three instruments, a job for each dataset, and the answers kept as files."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from collector.records import (
    Answer,
    Dataset,
    Instrument,
    Interval,
    Job,
    Kind,
    Payload,
    Record,
    Reject,
)
from collector.sources.binance_futures import BinanceFuturesCollector

FOLDER = Path(__file__).parents[2] / "payloads" / "binance_futures"
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
NOON_MS = 1772452800000
RECEIVED = NOON + timedelta(seconds=1)
MINUTE_MS = 60_000
EIGHT_HOURS_MS = 28_800_000


def instrument(symbol: str, base: str, quote: str = "USDT", kind: Kind = Kind.PERP) -> Instrument:
    return Instrument(venue="binance_futures", base=base, quote=quote, kind=kind, venue_symbol=symbol)


BTC = instrument("BTCUSDT", "BTC")
PEPE = instrument("1000PEPEUSDT", "1000PEPE")
DATED = instrument("BTCUSDT_260327", "BTC", "USDT-260327", Kind.FUTURE)


def body(name: str) -> bytes:
    return (FOLDER / f"{name}.json").read_bytes()


def job(dataset: Dataset, *instruments: Instrument, **more: object) -> Job:
    return Job(source="binance_futures", dataset=dataset, instruments=instruments, **more)


def candle_job(**more: object) -> Job:
    return job(Dataset.CANDLES, BTC, interval=Interval.M1, **more)


JOBS = {
    Dataset.INSTRUMENTS: job(Dataset.INSTRUMENTS),
    Dataset.TICKERS: job(Dataset.TICKERS, BTC, DATED),
    Dataset.MARK_PRICES: job(Dataset.MARK_PRICES, BTC, DATED),
    Dataset.OPEN_INTEREST: job(Dataset.OPEN_INTEREST, BTC),
    Dataset.ORDER_BOOKS: job(Dataset.ORDER_BOOKS, BTC, limit=5),
    Dataset.CANDLES: candle_job(),
    Dataset.FUNDING: job(Dataset.FUNDING, BTC),
    Dataset.FUNDING_TERMS: job(Dataset.FUNDING_TERMS, BTC, PEPE, DATED),
}


def parse(work: Job, content: bytes, received_at: datetime = RECEIVED) -> Sequence[Record | Reject]:
    payload = Payload(job=work, status=200, body=content, received_at=received_at)
    return BinanceFuturesCollector.parsers[work.dataset](payload)


def parse_file(name: str, work: Job | None = None) -> Sequence[Record | Reject]:
    return parse(work or JOBS[Dataset(name.partition("__")[0])], body(name))


def answer(status: int, content: bytes, headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(status=status, headers=headers or {}, body=content, received_at=RECEIVED)
