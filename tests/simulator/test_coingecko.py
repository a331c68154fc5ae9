"""Simulated CoinGecko on the wire: rows, nulls, charts, keys and error shapes, over real loopback HTTP."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from collector.simulator import Market
from tests.simulator.client import DAY, HOUR, MIDNIGHT, NOW, Client


def gecko(client: Client, path: str, **query: Any) -> Any:
    status, body, _ = client.get("/coingecko/api/v3" + path, **query)
    assert status == 200
    return body


def test_gecko_market_rows_equal_the_truth_and_only_named_windows_are_present(client: Client, market: Market) -> None:
    rows = gecko(client, "/coins/markets", vs_currency="usd", per_page=250, price_change_percentage="1h,7d")
    assert len(rows) == 60
    row = next(row for row in rows if row["id"] == "bitcoin")
    stamp = int(datetime.fromisoformat(row["last_updated"]).timestamp() * 1000)
    truth = market.market_row("bitcoin", stamp)
    assert row["last_updated"] == "2026-01-01T12:00:30.000Z"
    assert Decimal(row["current_price"]) == truth.price
    assert row["market_cap"] == truth.market_cap
    assert Decimal(row["price_change_percentage_7d_in_currency"]) == truth.changes_pct["7d"]
    assert "price_change_percentage_24h_in_currency" not in row
    assert "sparkline_in_7d" not in row
    keys = """
        id symbol name image current_price market_cap market_cap_rank fully_diluted_valuation total_volume
        high_24h low_24h price_change_24h price_change_percentage_24h market_cap_change_24h
        market_cap_change_percentage_24h circulating_supply total_supply max_supply ath ath_change_percentage
        ath_date atl atl_change_percentage atl_date roi last_updated price_change_percentage_1h_in_currency
        price_change_percentage_7d_in_currency
    """
    assert set(row) == set(keys.split())


def test_gecko_every_price_survives_the_wire_exactly(client: Client, market: Market) -> None:
    rows = gecko(client, "/coins/markets", vs_currency="usd", per_page=250)
    for row in rows:
        truth = market.market_row(row["id"], NOW)
        assert (None if row["current_price"] is None else Decimal(row["current_price"])) == truth.price
        assert row["total_volume"] == truth.volume_24h
        assert row["market_cap_rank"] == truth.rank


def test_gecko_paging_visits_every_coin_once_and_ends_with_an_empty_page(client: Client) -> None:
    pages = [gecko(client, "/coins/markets", vs_currency="usd", per_page=25, page=page) for page in (1, 2, 3, 4)]
    assert [len(page) for page in pages] == [25, 25, 10, 0]
    assert len({row["id"] for page in pages for row in page}) == 60
    assert [row["market_cap_rank"] for row in pages[0]] == list(range(1, 26))


def test_gecko_nulls_are_null_and_zero_is_zero(client: Client) -> None:
    ids = "dead-coin,zero-cap-coin,unranked-coin,newborn-coin,no-such-coin"
    rows = {row["id"]: row for row in gecko(client, "/coins/markets", vs_currency="usd", ids=ids)}
    assert set(rows) == {"dead-coin", "zero-cap-coin", "unranked-coin", "newborn-coin"}
    assert rows["dead-coin"]["current_price"] is None
    assert rows["dead-coin"]["last_updated"] is None
    assert rows["zero-cap-coin"]["market_cap"] == 0
    assert rows["unranked-coin"]["market_cap"] is None
    assert rows["newborn-coin"]["price_change_percentage_24h"] is None
    assert rows["newborn-coin"]["market_cap"] > 0


def test_gecko_sparkline_is_a_week_of_hours(client: Client) -> None:
    (row,) = gecko(client, "/coins/markets", vs_currency="usd", ids="bitcoin", sparkline="true")
    assert len(row["sparkline_in_7d"]["price"]) == 168


def test_gecko_global_speaks_of_the_same_market(client: Client, market: Market) -> None:
    data = gecko(client, "/global")["data"]
    truth = market.global_market(NOW)
    assert data["updated_at"] == MIDNIGHT // 1000 + 12 * 3600
    assert data["total_market_cap"]["usd"] == truth.total_cap
    assert Decimal(data["market_cap_percentage"]["btc"]) == truth.dominance["btc"]
    assert {"market_cap_change_percentage_24h_usd", "volume_change_percentage_24h_usd"} <= set(data)


def test_gecko_coin_tolerates_a_slash_and_leaves_out_what_is_switched_off(client: Client, market: Market) -> None:
    body = gecko(client, "/coins/ethereum/", tickers="false", localization="false", community_data="false")
    assert "tickers" not in body
    assert "localization" not in body
    assert "developer_data" in body
    assert Decimal(body["market_data"]["current_price"]["usd"]) == market.market_row("ethereum", NOW).price
    assert gecko(client, "/coins/dead-coin")["market_data"]["current_price"] == {}


def test_gecko_chart_points_have_three_equal_time_axes_and_end_now(client: Client, market: Market) -> None:
    body = gecko(client, "/coins/bitcoin/market_chart", vs_currency="usd", days=2)
    assert set(body) == {"prices", "market_caps", "total_volumes"}
    times = [point[0] for point in body["prices"]]
    assert times == [point[0] for point in body["market_caps"]] == [point[0] for point in body["total_volumes"]]
    assert times == sorted(times)
    assert times[-1] == NOW // 10_000 * 10_000
    assert 47 <= len(times) <= 50
    assert any(time % HOUR for time in times[:-1])
    assert all(Decimal(price) == market.coin_price("bitcoin", time) for time, price in body["prices"])


def test_gecko_daily_chart_points_lie_on_midnight_except_the_last(client: Client) -> None:
    times = [point[0] for point in gecko(client, "/coins/bitcoin/market_chart", vs_currency="usd", days=365)["prices"]]
    assert all(time % DAY == 0 for time in times[:-1])
    assert times[-1] % DAY != 0
    assert len(times) == 366


def test_gecko_ohlc_is_stamped_with_close_times_the_last_in_the_future(client: Client) -> None:
    rows = gecko(client, "/coins/bitcoin/ohlc", vs_currency="usd", days=7)
    assert len(rows) == 42
    assert all(len(row) == 5 and row[0] % (4 * HOUR) == 0 for row in rows)
    assert rows[-1][0] == MIDNIGHT + 16 * HOUR > NOW
    assert rows[-2][0] == MIDNIGHT + 12 * HOUR
    for _, opened, high, low, closed in rows:
        assert low <= min(opened, closed)
        assert high >= max(opened, closed)


def test_gecko_simple_price_loses_a_coin_after_a_space_and_an_unknown_currency(client: Client) -> None:
    body = gecko(client, "/simple/price", ids="bitcoin, ethereum", vs_currencies="usd,nonsense")
    assert set(body) == {"bitcoin"}
    assert set(body["bitcoin"]) == {"usd"}
    assert gecko(client, "/simple/price", ids="bitcoin", vs_currencies="ethereum") == {"bitcoin": {}}


def test_gecko_trending_has_fifteen_coins_and_money_as_text(client: Client) -> None:
    body = gecko(client, "/search/trending")
    assert [len(body[name]) for name in ("coins", "nfts", "categories")] == [15, 7, 6]
    item = body["coins"][0]["item"]
    assert item["data"]["market_cap"].startswith("$")
    assert item["symbol"] == item["symbol"].upper()


@pytest.mark.parametrize(
    ("path", "query", "status", "expected"),
    [
        ("/coins/no-such-coin", {}, 404, {"error": "coin not found"}),
        ("/coins/markets", {}, 422, {"error": "Missing parameter vs_currency"}),
        ("/coins/bitcoin/ohlc", {}, 500, {"status": 500, "error": "Internal Server Error"}),
        ("/coins/bitcoin/market_chart", {"vs_currency": "usd"}, 422, {"error": "Missing parameter days"}),
    ],
)
def test_gecko_errors_have_their_documented_shapes(
    client: Client, path: str, query: dict[str, Any], status: int, expected: object
) -> None:
    got, body, _ = client.get("/coingecko/api/v3" + path, **query)
    assert (got, body) == (status, expected)


def test_gecko_free_plans_reach_back_365_days_and_the_pro_plan_further(client: Client) -> None:
    query: dict[str, Any] = {"vs_currency": "usd", "days": "max"}
    status, body, _ = client.get("/coingecko/api/v3/coins/bitcoin/market_chart", **query)
    assert (status, body["error"]["status"]["error_code"]) == (401, 10012)
    pro = {"x-cg-pro-api-key": "CG-pro-1"}
    status, body, _ = client.get("/coingecko-pro/api/v3/coins/bitcoin/market_chart", headers=pro, **query)
    assert status == 200
    assert body["prices"][0][0] == 1_577_923_200_000  # the day after the listing on 2020-01-01


@pytest.mark.parametrize(
    ("root", "headers", "status"),
    [
        ("/coingecko", {}, 200),
        ("/coingecko", {"x-cg-demo-api-key": "CG-demo-1"}, 200),
        ("/coingecko-pro", {"x-cg-pro-api-key": "CG-pro-1"}, 200),
        ("/coingecko", {"x-cg-pro-api-key": "CG-pro-1"}, 400),
        ("/coingecko-pro", {"x-cg-demo-api-key": "CG-demo-1"}, 400),
        ("/coingecko-pro", {}, 401),
    ],
)
def test_gecko_keys_belong_to_their_root(client: Client, root: str, headers: dict[str, str], status: int) -> None:
    got, body, _ = client.get(root + "/api/v3/ping", headers=headers)
    assert got == status
    if status == 400:
        assert body["error_code"] == (10010 if root == "/coingecko" else 10011)
        assert set(body) == {"timestamp", "error_code", "status"}
    if status == 401:
        assert body["status"]["error_code"] == 10002
