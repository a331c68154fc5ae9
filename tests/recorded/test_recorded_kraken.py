"""Kraken over recorded answers; expected values are read off the recordings by eye."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest

from collector.errors import RateLimited, RequestRejected, VenueUnreachable
from collector.records import Answer, Dataset, Instrument, InstrumentListing, Interval, Job, Kind, Payload, Reject
from collector.sources.kraken import KrakenCollector

D = Decimal
APRIL_2021 = datetime(2021, 4, 17, tzinfo=UTC)
JULY_2023 = datetime(2023, 7, 6, 19, 30, tzinfo=UTC)
NOVEMBER_2025 = datetime(2025, 11, 11, 0, 17, 4, tzinfo=UTC)  # what its own clock said


def pair(base, quote, key):
    return Instrument(venue="kraken", base=base, quote=quote, kind=Kind.SPOT, venue_symbol=key)


BTC_USD, BTC_USDT = pair("BTC", "USD", "XXBTZUSD"), pair("BTC", "USDT", "XBTUSDT")


def parsed(body, received, dataset, *instruments, **changes):
    KrakenCollector.check(Answer(status=200, headers={}, body=body, received_at=received))
    job = Job(source="kraken", dataset=dataset, instruments=instruments, **changes)
    return KrakenCollector.parsers[dataset](Payload(job=job, status=200, body=body, received_at=received))


def test_every_pair_of_2021_has_a_name_of_its_own_but_the_dark_ones(recorded):
    found = parsed(recorded("kraken", "rec2021_assetpairs_all.json"), APRIL_2021, Dataset.INSTRUMENTS)
    dark = [item for item in found if isinstance(item, Reject)]
    listed = {item.instrument.id: item for item in found if isinstance(item, InstrumentListing)}
    assert (len(found), len(dark), len(listed)) == (304, 11, 293), "no two pairs share a name"
    assert all(".d has no public name" in item.detail for item in dark)
    assert not {"XBT", "XDG"} & {code for item in listed.values() for code in item.instrument.symbol.split("-")}
    symbols = {
        "kraken:BTC-USD:spot": "XXBTZUSD",
        "kraken:DOGE-BTC:spot": "XXDGXXBT",
        "kraken:DOGE-USDT:spot": "XDGUSDT",
        "kraken:USDT-USD:spot": "USDTZUSD",
    }
    assert {name: listed[name].instrument.venue_symbol for name in symbols} == symbols
    btc = listed["kraken:BTC-USD:spot"]
    assert (btc.tick_size, btc.lot_size, btc.status, btc.tradable) == (None, D("0.00000001"), "online", True)


def test_a_pair_of_2025_has_a_step_of_its_price(recorded):
    (item,) = parsed(recorded("kraken", "rec2025_assetpairs_xbtusdt.json"), NOVEMBER_2025, Dataset.INSTRUMENTS)
    assert item.instrument == BTC_USDT
    assert (item.tick_size, item.lot_size, item.status) == (D("0.1"), D("0.00000001"), "online")


def test_720_recorded_minutes_are_closed_and_the_running_one_is_not(recorded):
    body = recorded("kraken", "rec2025_ohlc_xbtusdt_1m_721rows.json")
    bars = parsed(body, NOVEMBER_2025, Dataset.CANDLES, BTC_USDT, interval=Interval.M1)
    assert Counter(bar.closed for bar in bars) == {True: 720, False: 1}
    assert not bars[-1].closed
    assert bars[-1].open_time == datetime(2025, 11, 11, 0, 17, tzinfo=UTC)
    assert bars[0].open_time == datetime(2025, 11, 10, 12, 17, tzinfo=UTC)
    assert {later.open_time - sooner.open_time for sooner, later in pairwise(bars)} == {timedelta(minutes=1)}
    flat = [bar for bar in bars if bar.trades == 0]
    assert len(flat) == 216
    assert all(bar.volume == 0 and bar.open == bar.high == bar.low == bar.close > 100_000 for bar in flat)


def test_a_window_takes_its_bars_out_of_the_720(recorded):
    body = recorded("kraken", "rec2025_ohlc_xbtusdt_1m_721rows.json")
    since = datetime(2025, 11, 10, 23, 50, tzinfo=UTC)
    until = since + timedelta(minutes=10)
    bars = parsed(body, NOVEMBER_2025, Dataset.CANDLES, BTC_USDT, interval=Interval.M1, since=since, until=until)
    assert [bar.open_time for bar in bars] == [since + timedelta(minutes=n) for n in range(10)]


def test_a_recorded_bar_has_its_volume_and_not_its_average_price(recorded):
    body = recorded("kraken", "net_ohlc_xxbtzusd_4rows.json")
    first, *_ = parsed(body, JULY_2023, Dataset.CANDLES, BTC_USD, interval=Interval.M1)
    assert (first.open, first.high, first.low, first.close) == (D("30306.1"), D("30306.2"), D("30305.7"), D("30305.7"))
    assert (first.volume, first.trades, first.quote_volume) == (D("3.39243896"), 23, None)


def test_a_recorded_ticker_tells_of_24_hours(recorded):
    (row,) = parsed(recorded("kraken", "net_ticker_xxbtzusd.json"), JULY_2023, Dataset.TICKERS, BTC_USD)
    assert (row.last_price, row.bid_price, row.ask_price) == (D("30303.2"), D(30300), D("30300.1"))
    assert (row.volume_24h, row.high_24h, row.low_24h) == (D("4412.73601799"), D(31631), D("29868.3"))
    assert (row.bid_size, row.ask_size, row.open_24h) == (D(1), D(1), None)


def test_a_recorded_book_is_best_first(recorded):
    (book,) = parsed(recorded("kraken", "net_depth_xxbtzusd.json"), JULY_2023, Dataset.ORDER_BOOKS, BTC_USD, limit=2)
    assert book.asks == ((D("30384.1"), D("2.059")), (D("30387.9"), D("1.5")))
    assert book.bids == ((D(30297), D("1.115")), (D("30296.7"), D("2.002")))


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("doc_error_unknown_asset_pair.json", RequestRejected),
        ("doc_error_invalid_arguments.json", RequestRejected),
        ("doc_error_too_many_requests.json", RateLimited),
        ("doc_error_service_unavailable.json", VenueUnreachable),
    ],
)
def test_documented_errors_come_with_status_200(recorded, file, kind):
    with pytest.raises(kind):
        KrakenCollector.check(Answer(status=200, headers={}, body=recorded("kraken", file), received_at=NOVEMBER_2025))
