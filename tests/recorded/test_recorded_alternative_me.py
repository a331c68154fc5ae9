"""The Fear & Greed Index over recorded answers; expected values are read off the recordings by eye."""

from datetime import UTC, datetime

from collector.records import Answer, Dataset, Job, Payload
from collector.sources.alternative_me import AlternativeMeCollector

RECEIVED = datetime(2026, 7, 31, tzinfo=UTC)
JOB = Job(source="alternative_me", dataset=Dataset.SENTIMENT)


def test_every_recorded_index_passes_the_check_and_its_parser(recorded):
    found = {}
    for file in ("rec2022_fng_limit2.json", "rec2026_fng_latest.json", "doc_fng_latest.json"):
        body = recorded("alternative_me", file)
        AlternativeMeCollector.check(Answer(status=200, headers={}, body=body, received_at=RECEIVED))
        rows = AlternativeMeCollector.parsers[Dataset.SENTIMENT](
            Payload(job=JOB, status=200, body=body, received_at=RECEIVED)
        )
        found[file] = [(row.observed_at, row.value, row.classification) for row in rows]
    assert found["rec2022_fng_limit2.json"] == [
        (datetime(2022, 9, 12, tzinfo=UTC), 25, "Extreme Fear"),
        (datetime(2022, 9, 11, tzinfo=UTC), 26, "Fear"),
    ]
    assert found["doc_fng_latest.json"] == [(datetime(2019, 2, 26, tzinfo=UTC), 40, "Fear")]
    assert found["rec2026_fng_latest.json"] == [(datetime(2026, 6, 23, tzinfo=UTC), 23, "Extreme Fear")]
