"""What of a range can be fetched, in a line for each end that was cut; and whom it can be asked of."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from collector.backfill import Offer, Request, bounded, whom
from collector.coverage import Series
from collector.errors import ConfigError
from collector.records import Dataset, Instrument, Interval, Kind
from collector.storage.stored import StoredInstrument

NOW = datetime(2026, 2, 10, 12, 30, 30, tzinfo=UTC)
OFFER = Offer(intervals=(Interval.M1, Interval.D1), datasets=(Dataset.CANDLES, Dataset.FUNDING))


def instrument(venue="okx", kind=Kind.PERP):
    return Instrument(venue=venue, base="BTC", quote="USDT", kind=kind, venue_symbol="BTC")


def stored(item, listed_at=None):
    empty = dict.fromkeys(StoredInstrument.__slots__)
    return StoredInstrument(**{**empty, "instrument": item, "listed_at": listed_at})


class Listing:
    """A reader of known instruments."""

    def __init__(self, *rows):
        self._rows = rows

    def load_instruments(self):
        return list(self._rows)


def series(interval=Interval.M1, name="okx:BTC-USDT:perp"):
    dataset = Dataset.FUNDING if interval is None else Dataset.CANDLES
    return Series(instrument=name, dataset=dataset, interval=interval)


def moment(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def cut(since, until, *, of=None, listed_at=None):
    request = Request(series=of or series(), since=moment(since), until=moment(until))
    found = bounded(request, Listing(stored(instrument(), listed_at)), NOW)
    return f"{found.request.since:%Y-%m-%d %H:%M}", f"{found.request.until:%Y-%m-%d %H:%M}", list(found.notes)


# --------------------------------------------------------------------------- the ends


def test_a_range_that_can_be_had_whole_needs_no_words():
    assert cut("2026-01-31", "2026-02-01") == ("2026-01-31 00:00", "2026-02-01 00:00", [])


def test_a_range_is_of_whole_bars_without_words():
    assert cut("2026-01-31T00:00:20", "2026-02-01T00:00:20") == ("2026-01-31 00:01", "2026-02-01 00:01", [])


def test_a_range_to_now_ends_with_the_last_bar_that_is_over_without_words():
    since, until, notes = cut("2026-02-10", "2026-02-10T12:30:30")
    assert (since, until, notes) == ("2026-02-10 00:00", "2026-02-10 12:30", [])


def test_what_lies_before_the_listing_is_said():
    listed_at = datetime(2025, 6, 1, 8, 0, 20, tzinfo=UTC)
    since, _, notes = cut("0001-01-01", "2026-02-01", listed_at=listed_at)
    assert since == "2025-06-01 08:00"
    assert notes == [
        "--from 0001-01-01 00:00 UTC: fetched from 2025-06-01 08:00 UTC on, the listing of okx:BTC-USDT:perp at okx"
    ]


def test_without_a_known_listing_nothing_is_asked_for_before_the_first_coin():
    since, _, notes = cut("0001-01-01", "2026-02-01")
    assert since == "2009-01-03 00:00"
    assert notes == [
        "--from 0001-01-01 00:00 UTC: fetched from 2009-01-03 00:00 UTC on, before which no coin was traded"
    ]


@pytest.mark.parametrize(
    ("of", "until", "why"),
    [
        (series(), "2026-02-10 12:30", "the last bar that is over"),
        (series(Interval.D1), "2026-02-10 00:00", "the last bar that is over"),
        (series(Interval.W1), "2026-02-09 00:00", "the last bar that is over"),
        (series(None), "2026-02-10 12:30", "now"),
    ],
)
def test_what_lies_in_the_future_is_said(of, until, why):
    _, end, notes = cut("2026-01-01", "9999-12-31T23:59:59", of=of)
    assert end == until
    assert notes == [f"--to 9999-12-31 23:59 UTC is in the future: fetched to {until} UTC, {why}"]


def test_a_range_without_a_bar_is_refused_with_what_was_asked_and_the_listing():
    listed_at = datetime(2025, 6, 1, tzinfo=UTC)
    with pytest.raises(ConfigError) as refused:
        cut("2020-01-01", "2020-02-01", listed_at=listed_at)
    assert str(refused.value) == (
        "--from: no bar of okx:BTC-USDT:perp/1m (listed at 2025-06-01 00:00 UTC) ended between 2020-01-01 00:00 UTC "
        "and 2020-02-01 00:00 UTC; name another range"
    )


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("okx:BTC-USDT:prep", "did you mean okx:BTC-USDT:perp?"),
        ("coinbase", "the table instruments names those that are"),
    ],
)
def test_an_instrument_nobody_knows_is_refused_with_one_that_is_near(name, remedy):
    request = Request(series=series(name=name), since=NOW - timedelta(days=1), until=NOW)
    with pytest.raises(ConfigError) as refused:
        bounded(request, Listing(stored(instrument())), NOW)
    assert str(refused.value) == f"SERIES: {name}: no such instrument is known; {remedy}"


def test_before_anything_was_collected_a_range_is_refused_with_what_to_do_first():
    request = Request(series=series(), since=NOW - timedelta(days=1), until=NOW)
    with pytest.raises(ConfigError, match="nothing was collected yet, so begin with"):
        bounded(request, Listing(), NOW)


# --------------------------------------------------------------------------- whom to ask


def asked(source=None, *, of=None, offers=("okx", "binance_futures", "kraken"), equal=("binance_futures",), own=None):
    request = Request(series=of or series(), since=NOW - timedelta(days=1), until=NOW, source=source)
    known = dict(offers) if isinstance(offers, dict) else dict.fromkeys(offers, OFFER)
    row = stored(own or instrument())
    others = [instrument(name) for name in equal]
    return whom(request, row, [row], known, lambda _wanted, _stored: others).venue


def test_the_own_provider_is_asked_unless_another_is_named():
    assert asked() == "okx"
    assert asked("okx") == "okx"
    assert asked("binance_futures") == "binance_futures"


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("nowhere", "is no source that is enabled"),
        ("", "is no source that is enabled"),
        ("kraken", "has nothing that means the same as okx:BTC-USDT:perp/1m"),
    ],
)
def test_a_source_that_cannot_serve_the_series_is_refused_with_those_that_can(source, why):
    with pytest.raises(ConfigError) as refused:
        asked(source)
    assert str(refused.value) == f"--source: {source!r} {why}; use one of okx, binance_futures"


def test_a_source_without_such_bars_cannot_serve_them():
    hours = replace(OFFER, intervals=(Interval.H1,))
    with pytest.raises(ConfigError, match=r"--source: 'binance_futures' has nothing .*; use one of okx$"):
        asked("binance_futures", offers={"okx": OFFER, "binance_futures": hours})


def test_funding_is_a_venues_own_and_only_of_contracts_without_an_end():
    with pytest.raises(ConfigError, match=r"--source: 'binance_futures' has nothing .*; use one of okx$"):
        asked("binance_futures", of=series(None))
    with pytest.raises(ConfigError, match="okx:BTC-USDT:spot/funding: okx has no such data; no enabled source can"):
        asked(of=series(None, "okx:BTC-USDT:spot"), own=instrument(kind=Kind.SPOT), equal=())


def test_a_series_whose_own_provider_is_off_is_refused_with_others_to_name():
    with pytest.raises(ConfigError) as refused:
        asked(offers=("binance_futures",))
    assert str(refused.value) == "okx:BTC-USDT:perp/1m: okx is not enabled; name one of binance_futures with --source"
    with pytest.raises(ConfigError, match="okx is not enabled; no enabled source can be asked for it; enable one"):
        asked(offers=("kraken",))
