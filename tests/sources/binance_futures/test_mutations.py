"""Binance futures: broken answers end in our own errors, whatever is broken."""

import json
from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.errors import PayloadError, VenueError
from collector.records import (
    Answer,
    Dataset,
    Interval,
    Record,
    Reject,
)
from collector.sources.base import Cost
from collector.sources.binance_futures import BinanceFuturesCollector
from tests.sources.binance_futures.samples import BTC, FOLDER, JOBS, NOON, answer, body, job, parse

ODD_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.sampled_from([10**4200, -(10**4200), 253402300799999, -62135596800000, 0]),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["", "NaN", "Infinity", "1e99", "-0", "1_000", "٣", "9" * 70, "BTCUSDT", "\ud800", "\x00"]),
    st.builds(list),  # built anew: they may be changed again
    st.builds(dict),
    st.builds(lambda: [[[]]]),
)
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))


def spots(document: object) -> list[tuple[object, object]]:
    """Return every (container, key) of a document."""
    found: list[tuple[object, object]] = []
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in items:
        found.append((document, key))
        found.extend(spots(value))
    return found


@st.composite
def mutated(draw: st.DrawFn, name: str) -> bytes:
    original = body(name)
    if draw(st.integers(0, 9)) == 0:
        return original[: draw(st.integers(0, len(original)))]
    document = json.loads(original)
    for _ in range(draw(st.integers(1, 3))):
        places = spots(document)
        if not places:
            return json.dumps(draw(ODD_VALUES)).encode()
        container, key = draw(st.sampled_from(places))
        if draw(st.booleans()):
            del container[key]
        else:
            container[key] = draw(ODD_VALUES)
    return json.dumps(document).encode()


@pytest.mark.parametrize("name", NAMES)
def test_a_mutated_payload_fails_with_nothing_but_a_payload_error(name):
    @settings(max_examples=40, deadline=None)
    @given(content=mutated(name))
    def holds(content: bytes) -> None:
        try:
            records = parse(JOBS[Dataset(name.partition("__")[0])], content)
        except PayloadError:
            return
        assert all(isinstance(record, Record | Reject) for record in records)

    holds()


@pytest.mark.parametrize("name", NAMES)
def test_no_answer_fails_the_check_with_anything_but_a_venue_error(name):
    @settings(max_examples=25, deadline=None)
    @given(content=mutated(name), status=st.sampled_from([200, 204, 302, 400, 403, 418, 429, 451, 500]))
    def holds(content: bytes, status: int) -> None:
        try:
            BinanceFuturesCollector.check(answer(status, content))
        except VenueError:
            return
        assert status in (200, 204)

    holds()


class Replay:
    """Hands one body to every call, without the SDK, which has its own opinion of broken bodies."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def call(self, _use: Callable[[object], object], _cost: Cost) -> Answer:
        return answer(200, self.content)


@pytest.mark.parametrize("name", ["candles__normal", "funding__normal"])
def test_paging_over_a_mutated_page_ends_or_fails_with_a_payload_error(name):
    dataset = Dataset(name.partition("__")[0])
    work = job(dataset, BTC, interval=Interval.M1, since=NOON - timedelta(minutes=3), until=NOON)

    @settings(max_examples=100, deadline=None)
    @given(content=mutated(name))
    def holds(content: bytes) -> None:
        try:
            assert len(list(BinanceFuturesCollector(Replay(content)).fetch(work))) <= 2
        except PayloadError:
            return

    holds()
