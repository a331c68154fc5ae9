"""Simulated Binance futures on the wire: documented shapes, ranges, defaults and errors, over real loopback HTTP."""

from decimal import Decimal
from typing import Any

import pytest

from collector.simulator import Market
from tests.simulator.client import DAY, HOUR, MIDNIGHT, MINUTE, NOW, Client


def binance(client: Client, path: str, **query: Any) -> Any:
    status, body, _ = client.get("/binance" + path, **query)
    assert status == 200
    return body


def test_binance_klines_are_twelve_items_oldest_first_and_end_with_the_running_one(client: Client) -> None:
    rows = binance(client, "/fapi/v1/klines", symbol="BTCUSDT", interval="1m", limit=3)
    assert [row[0] for row in rows] == [NOW // MINUTE * MINUTE + n * MINUTE for n in (-2, -1, 0)]
    last = rows[-1]
    assert len(last) == 12
    assert [type(item) for item in last] == [int, str, str, str, str, str, int, str, int, str, str, str]
    assert last[6] == last[0] + 59_999 > NOW
    assert last[11] == "0"
    assert all(len(item.split(".")[1]) == 1 for item in last[1:5])  # all decimals of the tick 0.1, zeros too


def test_binance_klines_equal_the_truth(client: Client, market: Market) -> None:
    rows = binance(client, "/fapi/v1/klines", symbol="1000PEPEUSDT", interval="4h", limit=20)
    truth = market.candles("binance_futures", "1000PEPEUSDT", "4h", rows[0][0], NOW, at_ms=NOW)
    assert [[Decimal(row[i]) for i in (1, 2, 3, 4, 5, 7, 9, 10)] for row in rows] == [
        [
            c.open,
            c.high,
            c.low,
            c.close,
            c.volume,
            c.quote_volume,
            c.taker_buy_volume,
            c.taker_buy_quote_volume,
        ]
        for c in truth
    ]
    assert [row[8] for row in rows] == [c.trades for c in truth]


def test_binance_klines_default_to_500_rows(client: Client) -> None:
    assert len(binance(client, "/fapi/v1/klines", symbol="BTCUSDT", interval="15m")) == 500


def test_binance_range_is_inclusive_and_too_wide_a_one_gives_the_oldest_rows(client: Client) -> None:
    start = MIDNIGHT - DAY
    query = {"symbol": "BTCUSDT", "interval": "1h", "startTime": start}
    exact = binance(client, "/fapi/v1/klines", **query, endTime=start + 5 * HOUR)
    assert [row[0] for row in exact] == [start + n * HOUR for n in range(6)]
    wide = binance(client, "/fapi/v1/klines", **query, endTime=NOW, limit=4)
    assert [row[0] for row in wide] == [start + n * HOUR for n in range(4)]
    following = binance(client, "/fapi/v1/klines", **query | {"startTime": start + 1}, limit=1)
    assert following[0][0] == start + HOUR
    until = binance(client, "/fapi/v1/klines", symbol="BTCUSDT", interval="1h", endTime=start, limit=2)
    assert [row[0] for row in until] == [start - HOUR, start]


def test_binance_history_begins_at_the_listing(client: Client, market: Market) -> None:
    listed = market.contract("binance_futures", "BTCUSDT").listed_ms
    rows = binance(client, "/fapi/v1/klines", symbol="BTCUSDT", interval="1d", startTime=0, limit=2)
    assert [row[0] for row in rows] == [listed, listed + DAY]


def test_binance_exchange_info_lists_kinds_apart(client: Client) -> None:
    body = binance(client, "/fapi/v1/exchangeInfo")
    assert set(body) == {
        "timezone",
        "serverTime",
        "futuresType",
        "rateLimits",
        "exchangeFilters",
        "assets",
        "symbols",
    }
    assert body["rateLimits"][0] == {
        "rateLimitType": "REQUEST_WEIGHT",
        "interval": "MINUTE",
        "intervalNum": 1,
        "limit": 2400,
    }
    rows = {row["symbol"]: row for row in body["symbols"]}
    kinds = {name: (row["contractType"], row["status"], row["underlyingType"]) for name, row in rows.items()}
    assert kinds["BTCUSDT"] == ("PERPETUAL", "TRADING", "COIN")
    assert kinds["MSTRUSDT"] == ("TRADIFI_PERPETUAL", "TRADING", "EQUITY")
    assert kinds["BTCDOMUSDT"] == ("PERPETUAL", "TRADING", "INDEX")
    assert kinds["BTCUSDT_260327"] == ("CURRENT_QUARTER", "TRADING", "COIN")
    assert kinds["BTCUSDT_260626"] == ("NEXT_QUARTER", "TRADING", "COIN")
    assert kinds["SOONUSDT"][:2] == ("", "PENDING_TRADING")
    assert rows["BTCUSDT"]["deliveryDate"] == 4_133_404_800_000
    assert rows["1000PEPEUSDT"]["baseAsset"] == "1000PEPE"
    assert "MATICUSDT" not in rows
    filters = {entry["filterType"]: entry for entry in rows["BTCUSDT"]["filters"]}
    assert filters["PRICE_FILTER"]["tickSize"] == "0.1"
    assert filters["LOT_SIZE"]["stepSize"] == "0.0001"
    assert filters["PERCENT_PRICE"]["multiplierDecimal"] == "4"


@pytest.mark.parametrize("limit", [5, 10, 20, 50, 100, 500, 1000])
def test_binance_depth_has_two_sides_of_string_pairs(client: Client, limit: int) -> None:
    body = binance(client, "/fapi/v1/depth", symbol="ETHUSDT", limit=limit)
    assert set(body) == {"lastUpdateId", "E", "T", "bids", "asks"}
    assert len(body["bids"]) == len(body["asks"]) == limit
    assert all(isinstance(text, str) for level in body["bids"] + body["asks"] for text in level)
    assert Decimal(body["bids"][0][0]) > Decimal(body["bids"][1][0])
    assert Decimal(body["asks"][0][0]) < Decimal(body["asks"][1][0])
    assert body["T"] <= body["E"] == NOW


def test_binance_premium_index_is_an_object_with_a_symbol_and_a_list_without(client: Client, market: Market) -> None:
    keys = {
        "symbol",
        "markPrice",
        "indexPrice",
        "estimatedSettlePrice",
        "lastFundingRate",
        "interestRate",
        "nextFundingTime",
        "time",
    }
    one = binance(client, "/fapi/v1/premiumIndex", symbol="BTCUSDT")
    every = binance(client, "/fapi/v1/premiumIndex")
    assert set(one) == keys
    assert one in every
    assert Decimal(one["markPrice"]) == market.mark_price("binance_futures", "BTCUSDT", NOW)
    assert Decimal(one["indexPrice"]) == market.index_price("binance_futures", "BTCUSDT", NOW)
    assert Decimal(one["lastFundingRate"]) == market.funding_forecast("binance_futures", "BTCUSDT", NOW)
    assert one["nextFundingTime"] == MIDNIGHT + 16 * HOUR
    dated = next(row for row in every if row["symbol"] == "BTCUSDT_260327")
    assert (dated["lastFundingRate"], dated["interestRate"], dated["nextFundingTime"]) == ("", "", 0)


def test_binance_funding_history_is_ascending_slightly_late_and_pages_forward(client: Client, market: Market) -> None:
    start = MIDNIGHT - 10 * DAY
    rows = binance(client, "/fapi/v1/fundingRate", symbol="BTCUSDT", startTime=start, endTime=MIDNIGHT, limit=5)
    assert [row["fundingTime"] // HOUR * HOUR for row in rows] == [start + n * 8 * HOUR for n in range(5)]
    assert all(0 <= row["fundingTime"] % HOUR < 20 for row in rows)
    assert set(rows[0]) == {"symbol", "fundingTime", "fundingRate", "markPrice"}
    for row in rows:
        assert Decimal(row["fundingRate"]) == market.funding_rate("binance_futures", "BTCUSDT", row["fundingTime"])
    after = binance(client, "/fapi/v1/fundingRate", symbol="BTCUSDT", startTime=rows[-1]["fundingTime"] + 1, limit=1)
    assert after[0]["fundingTime"] // HOUR * HOUR == start + 5 * 8 * HOUR


def test_binance_funding_without_symbol_mixes_all_symbols_oldest_first(client: Client) -> None:
    rows = binance(client, "/fapi/v1/fundingRate", limit=300)
    times = [row["fundingTime"] for row in rows]
    assert times == sorted(times)
    assert len({row["symbol"] for row in rows}) > 20
    assert all(row["rateType"] == "Regular" for row in rows if row["symbol"] == "MSTRUSDT")


def test_binance_funding_info_lists_only_other_intervals_than_eight_hours(client: Client) -> None:
    rows = binance(client, "/fapi/v1/fundingInfo")
    assert {row["fundingIntervalHours"] for row in rows} == {1, 4}
    assert "BTCUSDT" not in {row["symbol"] for row in rows}


def test_binance_tickers_come_in_both_forms(client: Client, market: Market) -> None:
    one = binance(client, "/fapi/v1/ticker/24hr", symbol="BTCUSDT")
    every = binance(client, "/fapi/v1/ticker/24hr")
    assert one in every
    assert "bidPrice" not in one
    truth = market.ticker_24h("binance_futures", "BTCUSDT", one["closeTime"])
    assert Decimal(one["lastPrice"]) == truth.last
    assert Decimal(one["quoteVolume"]) == truth.quote_volume
    assert one["count"] == truth.trades == one["lastId"] - one["firstId"] + 1
    assert set(binance(client, "/fapi/v1/ticker/bookTicker")[0]) == {
        "symbol",
        "bidPrice",
        "bidQty",
        "askPrice",
        "askQty",
        "time",
        "lastUpdateId",
    }
    assert set(binance(client, "/fapi/v1/ticker/price", symbol="BTCUSDT")) == {"symbol", "price", "time"}


def test_binance_open_interest_and_its_history_equal_the_truth(client: Client, market: Market) -> None:
    now = binance(client, "/fapi/v1/openInterest", symbol="BTCUSDT")
    assert set(now) == {"symbol", "openInterest", "time"}
    assert Decimal(now["openInterest"]) == market.open_interest("binance_futures", "BTCUSDT", now["time"])
    rows = binance(client, "/futures/data/openInterestHist", symbol="BTCUSDT", period="1h", limit=3)
    assert [row["timestamp"] for row in rows] == [MIDNIGHT + n * HOUR for n in (10, 11, 12)]
    for row in rows:
        oi = market.open_interest("binance_futures", "BTCUSDT", row["timestamp"])
        assert Decimal(row["sumOpenInterest"]) == oi


@pytest.mark.parametrize("name", ["globalLongShortAccountRatio", "topLongShortPositionRatio"])
def test_binance_ratios_have_shares_that_add_up_to_one(client: Client, name: str) -> None:
    rows = binance(client, "/futures/data/" + name, symbol="BTCUSDT", period="5m")
    assert len(rows) == 30
    for row in rows:
        assert Decimal(row["longAccount"]) + Decimal(row["shortAccount"]) == 1
    assert set(rows[0]) == {"symbol", "longShortRatio", "longAccount", "shortAccount", "timestamp"}


def test_binance_statistics_of_an_unknown_symbol_or_period_are_an_empty_list(client: Client) -> None:
    path = "/futures/data/openInterestHist"
    assert binance(client, path, symbol="NOSUCHUSDT", period="5m") == []
    assert binance(client, path, symbol="BTCUSDT", period="3m") == []


@pytest.mark.parametrize(
    ("path", "query", "status", "code"),
    [
        ("/fapi/v1/klines", {"symbol": "MATICUSDT", "interval": "1m"}, 400, -1121),
        ("/fapi/v1/klines", {"symbol": "SOONUSDT", "interval": "1m"}, 400, -1122),
        ("/fapi/v1/klines", {"symbol": "BTC/USDT", "interval": "1m"}, 400, -1100),
        ("/fapi/v1/klines", {"symbol": "BTCUSDT", "interval": "1H"}, 400, -1120),
        ("/fapi/v1/klines", {"interval": "1m"}, 400, -1102),
        ("/fapi/v1/klines", {"symbol": "BTCUSDT", "interval": "1m", "startTime": 2, "endTime": 1}, 400, -1023),
        ("/fapi/v1/depth", {"symbol": "BTCUSDT", "limit": 7}, 400, -4021),
        ("/fapi/v1/openInterest", {}, 400, -1102),
        (
            "/futures/data/openInterestHist",
            {"symbol": "BTCUSDT", "period": "5m", "startTime": NOW - 30 * DAY},
            400,
            -1130,
        ),
    ],
)
def test_binance_errors_are_code_and_msg(
    client: Client, path: str, query: dict[str, Any], status: int, code: int
) -> None:
    got, body, _ = client.get("/binance" + path, **query)
    assert (got, body["code"]) == (status, code)
    assert set(body) == {"code", "msg"}


def test_binance_too_high_a_funding_limit_is_an_error_with_status_200(client: Client) -> None:
    body = binance(client, "/fapi/v1/fundingRate", symbol="BTCUSDT", limit=1001)
    assert body["status"] == "ERROR"
    assert body["code"] == "99099990"
