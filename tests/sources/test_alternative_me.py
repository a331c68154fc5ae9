"""The Fear & Greed Index over payloads in the documented shape."""

from datetime import UTC, datetime

import pytest

from collector.errors import AccessDenied, PayloadError, RateLimited, RequestRejected, VenueUnreachable
from collector.records import Dataset, Job, Reject, RejectReason, Sentiment
from collector.sources.alternative_me import AlternativeMeCollector
from collector.sources.base import Cost
from tests.sources.samples import Samples

RECEIVED = datetime(2026, 1, 1, 23, 0, tzinfo=UTC)
SAMPLES = Samples(AlternativeMeCollector, RECEIVED)
answer = SAMPLES.answer
JOB = Job(source="alternative_me", dataset=Dataset.SENTIMENT)


def body(situation):
    return SAMPLES.body(f"sentiment__{situation}")


def parse(situation):
    return SAMPLES.parse(Dataset.SENTIMENT, situation)


def day(year, month, number):
    return datetime(year, month, number, tzinfo=UTC)


def test_each_row_is_one_day_with_the_providers_own_word() -> None:
    first, *others = parse("normal")
    assert first == Sentiment(
        source="alternative_me", observed_at=day(2026, 1, 1), received_at=RECEIVED, value=61, classification="Greed"
    )
    assert [(row.observed_at, row.value) for row in others] == [(day(2025, 12, 31), 9), (day(2019, 2, 26), 47)]


def test_a_stamp_at_five_in_the_morning_is_about_that_day() -> None:
    assert parse("normal")[2].observed_at == day(2019, 2, 26)  # 1551157200 is 05:00 UTC


def test_an_empty_answer_has_no_days() -> None:
    assert parse("empty") == []


def test_both_ends_of_the_scale_are_values_and_beyond_it_is_refused() -> None:
    low, high, beyond = parse("zero")
    assert (low.value, high.value) == (0, 100)
    assert isinstance(beyond, Reject)
    assert (beyond.reason, beyond.detail) == (RejectReason.INCONSISTENT, "value is 101, not within 0 to 100")


def test_a_date_in_place_of_seconds_is_not_guessed_at() -> None:
    with pytest.raises(PayloadError, match=r"\$\.data\[0\]\.timestamp"):
        parse("with_date_format")


def test_an_error_that_comes_with_200_is_an_error() -> None:
    with pytest.raises(RequestRejected, match="the index is being calculated"):
        AlternativeMeCollector.check(answer(body("error")))


@pytest.mark.parametrize("situation", ["normal", "empty", "zero"])
def test_good_answers_pass_the_check(situation) -> None:
    assert AlternativeMeCollector.check(answer(body(situation))) is None


def test_what_is_no_json_is_left_to_the_parser() -> None:
    assert AlternativeMeCollector.check(answer(b"<html>")) is None
    with pytest.raises(PayloadError):
        AlternativeMeCollector.parsers[Dataset.SENTIMENT](SAMPLES.payload(JOB, b"<html>"))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (429, RateLimited),
        (401, AccessDenied),
        (403, AccessDenied),
        (451, AccessDenied),
        (500, VenueUnreachable),
        (503, VenueUnreachable),
        (404, RequestRejected),
        (400, RequestRejected),
    ],
)
def test_statuses_say_what_comes_next(status, kind) -> None:
    with pytest.raises(kind):
        AlternativeMeCollector.check(answer(b"", status))


def test_a_job_is_one_call_for_everything() -> None:
    asked = []

    class Wire:
        def get(self, path, params, cost):
            asked.append((path, dict(params), cost))
            return answer(body("normal"))

    (page,) = AlternativeMeCollector(Wire()).fetch(JOB)
    assert asked == [("/fng/", {"limit": 0}, Cost(scope="calls"))]
    assert (page.job, page.body) == (JOB, body("normal"))
    assert AlternativeMeCollector.calls(JOB) == [Cost(scope="calls")]
    assert AlternativeMeCollector.told_limits(page) == ()
    with pytest.raises(ValueError, match="no candles"):
        list(AlternativeMeCollector(Wire()).fetch(Job(source="alternative_me", dataset=Dataset.CANDLES)))
