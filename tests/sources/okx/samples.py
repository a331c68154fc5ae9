"""Payload files, jobs and answers that the OKX tests share."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from collector.records import Answer, Dataset, Instrument, Interval, Job, Kind, Payload, Record, Reject
from collector.sources.base import Shape
from collector.sources.okx import OkxCollector

PAYLOADS = Path(__file__).parents[2] / "payloads" / "okx"
RECEIVED = datetime(2025, 10, 9, 9, 2, tzinfo=UTC)


def swap(base: str, contract_size: str) -> Instrument:
    return Instrument(
        venue="okx",
        base=base,
        quote="USDT",
        kind=Kind.PERP,
        venue_symbol=f"{base}-USDT-SWAP",
        contract_size=Decimal(contract_size),
    )


AAA = swap("AAA", "0.1")
BBB = swap("BBB", "1000")


def job_for(dataset: Dataset, **changes: Any) -> Job:
    facts: dict[str, Any] = {"source": "okx", "dataset": dataset}
    if OkxCollector.shapes[dataset] is Shape.BULK:
        facts["instruments"] = (AAA, BBB)
    elif OkxCollector.shapes[dataset] is Shape.EACH:
        facts["instruments"] = (AAA,)
    if dataset is Dataset.CANDLES:
        facts["interval"] = Interval.M1
    return Job(**(facts | changes))


def parse_body(dataset: Dataset, body: bytes, **changes: Any) -> list[Record | Reject]:
    origin = Payload(job=job_for(dataset, **changes), status=200, body=body, received_at=RECEIVED)
    return list(OkxCollector.parsers[dataset](origin))


def parse(dataset: Dataset, situation: str, **changes: Any) -> list[Any]:
    return parse_body(dataset, (PAYLOADS / f"{dataset}__{situation}.json").read_bytes(), **changes)


def answer(body: bytes | str, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    content = body.encode() if isinstance(body, str) else body
    return Answer(status=status, headers=headers or {}, body=content, received_at=RECEIVED)
