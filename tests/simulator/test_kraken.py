"""The simulated Kraken: its envelope, its three names, 720 bars and the running one, and its limit."""

import json
from itertools import pairwise

import pytest

from collector.clock import from_millis
from collector.records import Dataset, InstrumentListing, Interval, Job, Payload
from collector.simulator.kraken import Kraken, KrakenLimits
from collector.simulator.markets import Market
from collector.simulator.wire import Request
from collector.sources.kraken import KrakenCollector

NOW = 1_767_225_630_000  # 2026-01-01 00:00:30 UTC
HOUR_MS = 3_600_000
MARKET = Market(3, 45)


@pytest.fixture(scope="module")
def kraken():
    return Kraken(MARKET)


def ask(kraken, name, now_ms=NOW, **query):
    response = kraken.answer(f"/0/public/{name}", query, now_ms)
    assert response.status == 200
    return json.loads(response.body)


def test_a_pair_is_found_by_its_key_and_its_other_name_and_answered_by_its_key(kraken):
    pairs = ask(kraken, "AssetPairs")["result"]
    assert (pairs["XXBTZUSD"]["altname"], pairs["XXBTZUSD"]["wsname"]) == ("XBTUSD", "XBT/USD")
    assert "wsname" not in pairs["XXBTZUSD.d"]
    for name in ("XBTUSD", "XXBTZUSD"):
        assert set(ask(kraken, "OHLC", pair=name, interval="1")["result"]) == {"XXBTZUSD", "last"}


def test_720_bars_and_the_running_one_come_whatever_is_asked_for(kraken):
    result = ask(kraken, "OHLC", pair="XBTUSD", interval="60", since="1")["result"]
    opens = [row[0] for row in result["XXBTZUSD"]]
    assert len(opens) == 721
    assert opens[-1] == 1767225600
    assert result["last"] == opens[-2] == 1767225600 - 3600
    assert {later - sooner for sooner, later in pairwise(opens)} == {3600}


def test_since_leaves_its_own_bar_out_and_never_the_running_one(kraken):
    rows = ask(kraken, "OHLC", pair="XBTUSD", interval="60", since=str(1767225600 - 2 * 3600))["result"]["XXBTZUSD"]
    assert [row[0] for row in rows] == [1767225600 - 3600, 1767225600]
    late = ask(kraken, "OHLC", pair="XBTUSD", interval="60", since="1767225600")["result"]["XXBTZUSD"]
    assert [row[0] for row in late] == [1767225600]


def test_all_pairs_have_a_ticker_and_an_unknown_pair_fails_the_whole_call(kraken):
    every = ask(kraken, "Ticker")["result"]
    pairs = {name for name in ask(kraken, "AssetPairs")["result"] if not name.endswith(".d")}
    assert set(every) == pairs
    assert len(every["XXBTZUSD"]["a"]) == 3
    assert ask(kraken, "Ticker", pair="XBTUSD,NOPE") == {"error": ["EQuery:Unknown asset pair"]}
    assert ask(kraken, "OHLC", pair="XBTUSD", interval="7") == {"error": ["EGeneral:Invalid arguments"]}
    assert ask(kraken, "Nothing") == {"error": ["EGeneral:Unknown method"]}


def test_weeks_open_on_thursday(kraken):
    rows = ask(kraken, "OHLC", pair="XBTUSD", interval="10080")["result"]["XXBTZUSD"]
    assert rows[-1][0] == 1767225600, "2026-01-01 is a Thursday"
    assert {later[0] - sooner[0] for sooner, later in pairwise(rows)} == {7 * 86400}


def test_a_book_has_both_sides_best_first_and_at_most_500_levels(kraken):
    (book,) = ask(kraken, "Depth", pair="XBTUSD", count="20")["result"].values()
    asks, bids = ([float(level[0]) for level in book[side]] for side in ("asks", "bids"))
    assert len(asks) == len(bids) == 20
    assert asks == sorted(asks)
    assert bids == sorted(bids, reverse=True)
    assert bids[0] < asks[0]
    assert all(1767225600 - 20 < level[2] <= 1767225630 for level in book["asks"])
    assert len(ask(kraken, "Depth", pair="XXBTZUSD")["result"]["XXBTZUSD"]["bids"]) == 100
    for query in ({"pair": "XBTUSD", "count": "501"}, {"count": "5"}, {"pair": "XBTUSD,ETHUSD"}):
        assert ask(kraken, "Depth", **query) == {"error": ["EGeneral:Invalid arguments"]}
    assert ask(kraken, "Depth", pair="NOPE") == {"error": ["EQuery:Unknown asset pair"]}


def read(kraken, dataset, name, *instruments, query=None, **changes):
    """Return what the real collector reads out of an answer."""
    response = kraken.answer(f"/0/public/{name}", query or {}, NOW)
    job = Job(source="kraken", dataset=dataset, instruments=instruments, **changes)
    origin = Payload(job=job, status=response.status, body=response.body, received_at=from_millis(NOW))
    return KrakenCollector.parsers[dataset](origin)


def test_the_collector_reads_the_truth_out_of_it(kraken):
    listed = [item for item in read(kraken, Dataset.INSTRUMENTS, "AssetPairs") if isinstance(item, InstrumentListing)]
    pairs = {item.instrument.id: item.instrument for item in listed}
    doge = pairs["kraken:DOGE-USD:spot"]
    assert (doge.venue_symbol, pairs["kraken:BTC-USDT:spot"].venue_symbol) == ("XDGUSD", "XBTUSDT")
    truth = MARKET.candles("kraken", "XDGUSD", "1h", NOW - 5 * HOUR_MS, NOW, at_ms=NOW)
    window = {"interval": Interval.H1, "since": from_millis(truth[0].open_ms)}
    query = {"pair": "XDGUSD", "interval": "60", "since": str(truth[0].open_ms // 1000 - 1)}
    bars = read(kraken, Dataset.CANDLES, "OHLC", doge, query=query, **window)
    assert [(bar.open, bar.high, bar.low, bar.close, bar.volume, bar.trades, bar.closed) for bar in bars] == [
        (bar.open, bar.high, bar.low, bar.close, bar.volume, bar.trades, bar.closed) for bar in truth
    ]
    tickers = read(kraken, Dataset.TICKERS, "Ticker", *pairs.values())
    assert {row.instrument.id for row in tickers} == set(pairs)
    day = MARKET.ticker_24h("kraken", "XDGUSD", NOW)
    row = next(row for row in tickers if row.instrument == doge)
    assert (row.last_price, row.high_24h, row.low_24h, row.volume_24h) == (day.last, day.high, day.low, day.volume)
    (book,) = read(kraken, Dataset.ORDER_BOOKS, "Depth", doge, query={"pair": "XDGUSD", "count": "5"})
    true_book = MARKET.order_book("kraken", "XDGUSD", NOW, 5)
    assert (book.bids, book.asks) == (true_book.bids, true_book.asks)


def test_more_than_twelve_calls_in_ten_seconds_are_refused_with_status_200():
    limits = KrakenLimits()
    request = Request(method="GET", path="/0/public/Time", query={}, headers={}, address="127.0.0.1")
    answers = [limits.refuse(request, NOW + 100 * number) for number in range(13)]
    assert answers[:12] == [None] * 12
    assert json.loads(answers[12].body) == {"error": ["EGeneral:Too many requests"]}
    assert limits.refuse(request, NOW + 20_000) is None
