"""The payload files of a source, as answers that came at one moment; what the tests of the sources share."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from collector.records import Answer, Dataset, Instrument, Job, Payload
from collector.sources.base import Collector

PAYLOADS = Path(__file__).parents[1] / "payloads"


@dataclass(frozen=True)
class Samples:
    """What a source makes of its payload files, all received at one time."""

    collector: type[Collector]
    received_at: datetime

    def body(self, name: str) -> bytes:
        return (PAYLOADS / self.collector.name / f"{name}.json").read_bytes()

    def answer(self, body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
        return Answer(status=status, headers=headers or {}, body=body, received_at=self.received_at)

    def job(self, dataset: Dataset, *instruments: Instrument, **facts: Any) -> Job:
        return Job(source=self.collector.name, dataset=dataset, instruments=instruments, **facts)

    def payload(self, job: Job, body: bytes) -> Payload:
        return Payload(job=job, status=200, body=body, received_at=self.received_at)

    def parse(self, dataset: Dataset, situation: str, *instruments: Instrument, **facts: Any) -> list[Any]:
        """Parse the file of a dataset and situation for a job with these facts."""
        origin = self.payload(self.job(dataset, *instruments, **facts), self.body(f"{dataset}__{situation}"))
        return list(self.collector.parsers[dataset](origin))
