"""Simulated OKX on the wire: string rows, exclusive cursors, contract units and envelopes, over real loopback HTTP."""

from decimal import Decimal
from typing import Any

import pytest

from collector.simulator import Market
from tests.simulator.client import DAY, HOUR, MIDNIGHT, MINUTE, NOW, Client


def okx(client: Client, path: str, **query: Any) -> Any:
    status, body, _ = client.get("/okx/api/v5" + path, **query)
    assert (status, body["code"], body["msg"]) == (200, "0", "")
    return body["data"]


def test_okx_candles_are_nine_strings_newest_first_with_the_running_one_marked(client: Client) -> None:
    rows = okx(client, "/market/candles", instId="BTC-USDT-SWAP", bar="1H", limit=3)
    assert [row[0] for row in rows] == [str(MIDNIGHT + n * HOUR) for n in (12, 11, 10)]
    assert [row[8] for row in rows] == ["0", "1", "1"]
    assert all(len(row) == 9 and all(isinstance(item, str) for item in row) for row in rows)


def test_okx_candles_equal_the_truth_in_contracts_coins_and_quote(client: Client, market: Market) -> None:
    for name in ("BTC-USDT-SWAP", "PEPE-USDT-SWAP", "BTC-USD-SWAP"):
        rows = okx(client, "/market/candles", instId=name, bar="1Dutc", limit=4)[::-1]
        truth = market.candles("okx", name, "1d", int(rows[0][0]), NOW, at_ms=NOW)
        assert [[Decimal(item) for item in row[1:8]] for row in rows] == [
            [c.open, c.high, c.low, c.close, c.contracts, c.volume, c.quote_volume] for c in truth
        ]


def test_okx_cursors_are_exclusive_and_before_alone_gives_the_newest_rows(client: Client) -> None:
    query = {"instId": "BTC-USDT-SWAP", "bar": "1m"}
    older = okx(client, "/market/history-candles", **query, after=MIDNIGHT, limit=2)
    assert [int(row[0]) for row in older] == [MIDNIGHT - MINUTE, MIDNIGHT - 2 * MINUTE]
    newest = okx(client, "/market/history-candles", **query, before=MIDNIGHT, limit=2)
    assert [int(row[0]) for row in newest] == [NOW // MINUTE * MINUTE, NOW // MINUTE * MINUTE - MINUTE]
    both = okx(client, "/market/history-candles", **query, before=MIDNIGHT - 1, after=MIDNIGHT + 3 * MINUTE)
    assert [int(row[0]) for row in both] == [MIDNIGHT + n * MINUTE for n in (2, 1, 0)]
    none = okx(client, "/market/history-candles", **query, before=NOW // MINUTE * MINUTE)
    assert none == []


def test_okx_limits_rows_to_300_and_recent_candles_to_1440(client: Client) -> None:
    query = {"instId": "ETH-USDT-SWAP", "bar": "1m"}
    assert len(okx(client, "/market/candles", **query)) == 100
    assert len(okx(client, "/market/candles", **query, limit=1000)) == 300
    too_old = NOW - 1_441 * MINUTE
    assert okx(client, "/market/candles", **query, after=too_old) == []
    assert len(okx(client, "/market/history-candles", **query, after=too_old)) == 100


def test_okx_days_open_at_16_utc_unless_utc_is_asked_for(client: Client) -> None:
    hong_kong = okx(client, "/market/candles", instId="BTC-USDT-SWAP", bar="1D", limit=1)
    assert int(hong_kong[0][0]) == MIDNIGHT - 8 * HOUR
    utc = okx(client, "/market/candles", instId="BTC-USDT-SWAP", bar="1Dutc", limit=1)
    assert int(utc[0][0]) == MIDNIGHT


def test_okx_paging_back_through_history_meets_every_hour_once(client: Client) -> None:
    cursor, seen = NOW + 1, []
    while cursor > MIDNIGHT - 20 * DAY:
        page = okx(client, "/market/history-candles", instId="BTC-USDT-SWAP", bar="1H", after=cursor, limit=77)
        seen += [int(row[0]) for row in page]
        cursor = seen[-1]
    assert seen == [MIDNIGHT + 12 * HOUR - n * HOUR for n in range(len(seen))]


def test_okx_instruments_name_contract_values_and_hold_an_almost_empty_row(client: Client) -> None:
    rows = okx(client, "/public/instruments", instType="SWAP")
    by_name = {row["instId"]: row for row in rows if "instId" in row}
    value = {name: (row["ctVal"], row["ctValCcy"], row["ctType"], row["settleCcy"]) for name, row in by_name.items()}
    assert value["BTC-USDT-SWAP"] == ("0.01", "BTC", "linear", "USDT")
    assert value["PEPE-USDT-SWAP"] == ("10000000", "PEPE", "linear", "USDT")
    assert value["BTC-USD-SWAP"] == ("100", "USD", "inverse", "BTC")
    assert value["BTC-USDC-SWAP"][3] == "USDC"
    assert by_name["MSTR-USDT-SWAP"]["instCategory"] == "3"
    assert by_name["BTC-USDT-SWAP"]["instCategory"] == "1"
    assert by_name["BTC-USDT-SWAP"]["baseCcy"] == by_name["BTC-USDT-SWAP"]["expTime"] == ""
    assert "MATIC-USDT-SWAP" not in by_name
    (bare,) = [row for row in rows if "instId" not in row]
    assert (bare["state"], bare["instType"], bare["ctVal"], bare["instIdCode"]) == ("preopen", "SWAP", "", None)


def test_okx_tickers_have_string_fields_and_agree_with_the_truth(client: Client, market: Market) -> None:
    rows = okx(client, "/market/tickers", instType="SWAP")
    assert len(rows) == len(market.instruments("okx"))
    keys = (
        "instType instId last lastSz askPx askSz bidPx bidSz open24h high24h low24h volCcy24h vol24h sodUtc0 sodUtc8 ts"
    )
    assert set(rows[0]) == set(keys.split())
    assert all(isinstance(value, str) for value in rows[0].values())
    (one,) = okx(client, "/market/ticker", instId="BTC-USDT-SWAP")
    truth = market.ticker_24h("okx", "BTC-USDT-SWAP", int(one["ts"]))
    assert Decimal(one["last"]) == truth.last
    assert Decimal(one["vol24h"]) == truth.contracts
    assert Decimal(one["volCcy24h"]) == truth.volume == truth.contracts / 100
    assert Decimal(one["sodUtc0"]) == market.last_price("okx", "BTC-USDT-SWAP", MIDNIGHT)
    assert Decimal(one["sodUtc8"]) == market.last_price("okx", "BTC-USDT-SWAP", MIDNIGHT - 8 * HOUR)


def test_okx_books_default_to_one_level_of_four_strings(client: Client) -> None:
    (book,) = okx(client, "/market/books", instId="BTC-USDT-SWAP")
    assert set(book) == {"asks", "bids", "ts"}
    assert len(book["asks"]) == len(book["bids"]) == 1
    assert len(book["asks"][0]) == 4
    assert book["asks"][0][2] == "0"
    (deep,) = okx(client, "/market/books", instId="BTC-USDT-SWAP", sz=400)
    assert len(deep["bids"]) == 400


def test_okx_funding_rate_is_a_forecast_for_the_future_and_any_gives_all(client: Client, market: Market) -> None:
    (row,) = okx(client, "/public/funding-rate", instId="BTC-USDT-SWAP")
    assert int(row["fundingTime"]) == MIDNIGHT + 16 * HOUR
    assert int(row["nextFundingTime"]) - int(row["fundingTime"]) == 8 * HOUR
    assert row["nextFundingRate"] == ""
    assert Decimal(row["fundingRate"]) == market.funding_forecast("okx", "BTC-USDT-SWAP", NOW)
    assert Decimal(row["settFundingRate"]) == market.funding_rate("okx", "BTC-USDT-SWAP", MIDNIGHT + 8 * HOUR)
    assert row in okx(client, "/public/funding-rate", instId="ANY")


def test_okx_funding_history_is_newest_first_realised_and_ends_after_three_months(
    client: Client, market: Market
) -> None:
    rows = okx(client, "/public/funding-rate-history", instId="BTC-USDT-SWAP")
    times = [int(row["fundingTime"]) for row in rows]
    assert times[:2] == [MIDNIGHT + 8 * HOUR, MIDNIGHT]
    assert len(times) == 92 * 3
    for row in rows[:20]:
        settled = market.funding_rate("okx", "BTC-USDT-SWAP", int(row["fundingTime"]))
        assert Decimal(row["realizedRate"]) == settled != Decimal(row["fundingRate"])
    older = okx(client, "/public/funding-rate-history", instId="BTC-USDT-SWAP", after=MIDNIGHT, limit=1)
    assert int(older[0]["fundingTime"]) == MIDNIGHT - 8 * HOUR
    gone = okx(client, "/public/funding-rate-history", instId="BTC-USDT-SWAP", after=NOW - 120 * DAY)
    assert gone == []


def test_okx_open_interest_and_mark_price_come_for_the_whole_class(client: Client, market: Market) -> None:
    rows = okx(client, "/public/open-interest", instType="SWAP")
    assert len(rows) == len(market.instruments("okx"))
    row = next(row for row in rows if row["instId"] == "BTC-USDT-SWAP")
    assert Decimal(row["oi"]) == market.open_interest("okx", "BTC-USDT-SWAP", NOW)
    assert Decimal(row["oiCcy"]) == Decimal(row["oi"]) / 100
    inverse = next(row for row in rows if row["instId"] == "BTC-USD-SWAP")
    assert Decimal(inverse["oiUsd"]) == Decimal(inverse["oi"]) * 100
    (mark,) = okx(client, "/public/mark-price", instType="SWAP", instId="BTC-USDT-SWAP")
    assert set(mark) == {"instType", "instId", "markPx", "ts"}
    assert Decimal(mark["markPx"]) == market.mark_price("okx", "BTC-USDT-SWAP", NOW)


@pytest.mark.parametrize(
    ("path", "query", "status", "code"),
    [
        ("/market/ticker", {"instId": "MATIC-USDT-SWAP"}, 200, "51001"),
        ("/market/candles", {"instId": "BTC-USDT-SWAP", "bar": "1h"}, 400, "51000"),
        ("/market/books", {"instId": "BTC-USDT-SWAP", "sz": 401}, 400, "51000"),
        ("/public/open-interest", {}, 400, "50014"),
        ("/public/instruments", {"instType": "OPTION"}, 400, "50014"),
    ],
)
def test_okx_errors_keep_the_envelope(client: Client, path: str, query: dict[str, Any], status: int, code: str) -> None:
    got, body, _ = client.get("/okx/api/v5" + path, **query)
    assert (got, body["code"], body["data"]) == (status, code, [])
    assert body["msg"]


def test_okx_has_no_maintenance_and_a_clock(client: Client) -> None:
    assert okx(client, "/system/status") == []
    assert okx(client, "/public/time") == [{"ts": str(NOW)}]
