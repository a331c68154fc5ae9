"""Simulated Binance spot on the wire: what differs from the futures host, the truth behind it, and its weights."""

from decimal import Decimal
from typing import Any

import pytest

from collector.simulator import Market, Simulator
from collector.simulator.binance_spot import weight_of
from tests.simulator.client import DAY, HOUR, MIDNIGHT, MINUTE, NOW, Client

D = Decimal


def spot(client: Client, path: str, **query: Any) -> Any:
    status, body, _ = client.get("/binance-spot/api/v3/" + path, **query)
    assert status == 200
    return body


def test_pairs_have_their_steps_in_filters_and_no_date_of_listing(client: Client) -> None:
    body = spot(client, "exchangeInfo")
    rows = {row["symbol"]: row for row in body["symbols"]}
    btc = rows["BTCUSDT"]
    assert (btc["baseAsset"], btc["quoteAsset"], btc["status"]) == ("BTC", "USDT", "TRADING")
    assert {item["filterType"] for item in btc["filters"]} == {"PRICE_FILTER", "LOT_SIZE"}
    assert "onboardDate" not in btc
    assert rows["SOONUSDT"]["status"] == "PRE_TRADING"
    assert "1000PEPEUSDT" not in rows
    assert "PEPEUSDT" in rows
    weight = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000}
    assert weight in body["rateLimits"]


def test_a_book_has_levels_and_a_number_and_nothing_else(client: Client, market: Market) -> None:
    book = spot(client, "depth", symbol="BTCUSDT", limit=7)
    assert set(book) == {"lastUpdateId", "bids", "asks"}
    truth = market.order_book("binance_spot", "BTCUSDT", NOW, 7)
    assert [(D(price), D(size)) for price, size in book["bids"]] == list(truth.bids)
    assert [(D(price), D(size)) for price, size in book["asks"]] == list(truth.asks)
    assert len(spot(client, "depth", symbol="BTCUSDT")["bids"]) == 100


def test_klines_are_the_truth_and_the_running_one_is_last(client: Client, market: Market) -> None:
    rows = spot(client, "klines", symbol="PEPEUSDT", interval="1h", limit=20)
    truth = market.candles("binance_spot", "PEPEUSDT", "1h", rows[0][0], NOW, at_ms=NOW)
    assert [[D(row[place]) for place in (1, 2, 3, 4, 5, 7, 9, 10)] for row in rows] == [
        [
            *(bar.open, bar.high, bar.low, bar.close, bar.volume),
            *(bar.quote_volume, bar.taker_buy_volume, bar.taker_buy_quote_volume),
        ]
        for bar in truth
    ]
    assert [row[8] for row in rows] == [bar.trades for bar in truth]
    assert rows[-1][0] == NOW // HOUR * HOUR
    assert rows[-1][6] == rows[-1][0] + HOUR - 1 > NOW


def test_a_page_has_500_rows_unless_asked_and_never_more_than_1000(client: Client) -> None:
    query = {"symbol": "BTCUSDT", "interval": "1m"}
    assert len(spot(client, "klines", **query)) == 500
    start = MIDNIGHT - 2 * DAY
    whole = spot(client, "klines", **query, startTime=start, endTime=NOW, limit=1500)
    assert [whole[0][0], whole[-1][0], len(whole)] == [start, start + 999 * MINUTE, 1000]
    both_ends = spot(client, "klines", **query, startTime=start, endTime=start + 2 * MINUTE)
    assert [row[0] for row in both_ends] == [start, start + MINUTE, start + 2 * MINUTE]


def test_tickers_carry_the_best_of_the_book_and_come_in_both_forms(client: Client, market: Market) -> None:
    one = spot(client, "ticker/24hr", symbol="BTCUSDT")
    assert one in spot(client, "ticker/24hr")
    book = market.order_book("binance_spot", "BTCUSDT", NOW, 1)
    assert (D(one["bidPrice"]), D(one["bidQty"])) == book.bids[0]
    assert (D(one["askPrice"]), D(one["askQty"])) == book.asks[0]
    truth = market.ticker_24h("binance_spot", "BTCUSDT", one["closeTime"])
    assert (D(one["lastPrice"]), D(one["volume"]), D(one["quoteVolume"])) == (
        truth.last,
        truth.volume,
        truth.quote_volume,
    )
    assert one["count"] == truth.trades


def test_a_coin_costs_the_same_in_spot_and_as_a_perpetual_to_a_few_basis_points(market: Market) -> None:
    pair = market.last_price("binance_spot", "BTCUSDT", NOW)
    assert abs(pair / market.last_price("binance_futures", "BTCUSDT", NOW) - 1) < D("0.003")
    thousand = market.last_price("binance_futures", "1000PEPEUSDT", NOW)
    assert abs(thousand / market.last_price("binance_spot", "PEPEUSDT", NOW) - 1000) < 3


@pytest.mark.parametrize(
    ("path", "query", "status", "code"),
    [
        ("klines", {"symbol": "NOPEUSDT", "interval": "1m"}, 400, -1121),
        ("klines", {"symbol": "BTCUSDT", "interval": "7m"}, 400, -1120),
        ("depth", {}, 400, -1102),
    ],
)
def test_mistakes_are_answered_with_the_documented_code(
    client: Client, path: str, query: dict[str, Any], status: int, code: int
) -> None:
    found, body, _ = client.get("/binance-spot/api/v3/" + path, **query)
    assert (found, body["code"]) == (status, code)


def test_a_path_of_the_futures_is_not_served(client: Client) -> None:
    assert client.get("/binance-spot/fapi/v1/klines", symbol="BTCUSDT", interval="1m")[0] == 404


@pytest.mark.parametrize(
    ("path", "query", "weight"),
    [
        ("exchangeInfo", {}, 20),
        ("klines", {"symbol": "BTCUSDT", "limit": "1"}, 2),
        ("klines", {"symbol": "BTCUSDT", "limit": "1000"}, 2),
        ("ticker/24hr", {"symbol": "BTCUSDT"}, 2),
        ("ticker/24hr", {}, 80),
        ("depth", {"symbol": "BTCUSDT"}, 5),
        ("depth", {"symbol": "BTCUSDT", "limit": "101"}, 25),
        ("depth", {"symbol": "BTCUSDT", "limit": "501"}, 50),
        ("depth", {"symbol": "BTCUSDT", "limit": "5000"}, 250),
    ],
)
def test_each_call_weighs_what_is_documented(path: str, query: dict[str, str], weight: int) -> None:
    assert weight_of("/api/v3/" + path, query) == weight


def test_spot_and_futures_count_their_weight_apart_and_refuse_above_6000() -> None:
    with Simulator(seed=7, now_ms=lambda: NOW) as simulator:
        client = Client(simulator)
        _, _, futures = client.get("/binance/fapi/v1/ping")
        answers = [client.get("/binance-spot/api/v3/depth", symbol="BTCUSDT", limit=5000) for _ in range(25)]
        client.close()
    used = [headers["x-mbx-used-weight-1m"] for _, _, headers in answers]
    assert futures["x-mbx-used-weight-1m"] == "1"
    assert used[:24] == [str(250 * count) for count in range(1, 25)]
    assert [status for status, _, _ in answers] == [200] * 24 + [429]
    assert answers[24][1]["code"] == -1003
