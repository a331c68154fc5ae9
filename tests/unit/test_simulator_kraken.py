"""The simulated Kraken: its envelope, its three names, 720 bars and the running one, and its limit."""

import json
from itertools import pairwise

import pytest

from collector.simulator.kraken import Kraken, KrakenLimits
from collector.simulator.markets import Market
from collector.simulator.wire import Request

NOW = 1_767_225_630_000  # 2026-01-01 00:00:30 UTC


@pytest.fixture(scope="module")
def kraken():
    return Kraken(Market(3, 45))


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


def test_more_than_twelve_calls_in_ten_seconds_are_refused_with_status_200():
    limits = KrakenLimits()
    request = Request(method="GET", path="/0/public/Time", query={}, headers={}, address="127.0.0.1")
    answers = [limits.refuse(request, NOW + 100 * number) for number in range(13)]
    assert answers[:12] == [None] * 12
    assert json.loads(answers[12].body) == {"error": ["EGeneral:Too many requests"]}
    assert limits.refuse(request, NOW + 20_000) is None
