"""Every field of the unified endpoints, as clients know them, and the shapes that the documents show."""

import pytest

from collector.api import schemas
from tests.api.unified_stand import Counting, application, client_of, live_on
from tests.unit.cycle_rig import frozen_market

ANSWERS = {
    "/api/health": schemas.HealthAnswer,
    "/api/ohlcv?symbol=BTCUSDT&interval=1h&limit=100": schemas.OhlcvAnswer,
    "/api/ohlcv?symbol=ETH": schemas.OhlcvAnswer,
    "/api/prices": schemas.PricesAnswer,
    "/api/prices?symbols=BTC,ETH&convert=USDT": schemas.PricesAnswer,
    "/api/prices?symbols=BTC&convert=USD&parts=true": schemas.PricesAnswer,
    "/api/sentiment": schemas.SentimentAnswer,
    "/api/market/overview": schemas.OverviewAnswer,
    "/api/cache/stats": schemas.CacheStatsAnswer,
}
STRUCTURES = {
    "/api/health": {"status", "uptime", "version", "providers", "cache"},
    "/api/ohlcv?symbol=ETH": {"success", "data", "symbol", "interval", "count", "source", "timestamp"},
    "/api/prices": {"data", "timestamp", "source"},
    "/api/sentiment": {"data"},
    "/api/market/overview": {"data"},
}
ROWS = {
    "candle": {"timestamp", "open", "high", "low", "close", "volume"},
    "price": {
        "symbol",
        "name",
        "price",
        "priceUsd",
        "change1h",
        "change24h",
        "change7d",
        "volume24h",
        "marketCap",
        "rank",
        "lastUpdate",
    },
    "overview": {
        "totalMarketCap",
        "totalVolume24h",
        "btcDominance",
        "ethDominance",
        "activeCoins",
        "topGainers",
        "topLosers",
        "trending",
    },
}
ISO = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


@pytest.fixture
def client(emptied, clock):
    with frozen_market(clock) as simulator, live_on(simulator, clock) as live:
        yield client_of(application(emptied, live, clock))


@pytest.mark.parametrize("path", ANSWERS)
def test_every_answer_has_its_documented_shape(client, path):
    response = client.get(path)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    ANSWERS[path].model_validate(response.json(), strict=True)


@pytest.mark.parametrize("path", STRUCTURES)
def test_every_field_that_clients_read_is_there(client, path):
    assert STRUCTURES[path] <= client.get(path).json().keys()


def test_health(client):
    client.get("/api/prices")
    client.get("/api/prices")
    told = client.get("/api/health").json()
    assert (told["status"], told["version"], told["uptime"], told["simulated"]) == ("healthy", "9.8.7", 0, True)
    assert told["cache"] == {"size": 1, "hitRate": 0.5}
    provider = next(item for item in told["providers"] if item["name"] == "binance_futures")
    assert {"name", "status", "latency", "lastCheck"} <= provider.keys()
    assert (provider["status"], provider["lastCheck"]) == ("online", "2026-03-11T14:37:42.000Z")


def test_candles(client):
    told = client.get("/api/ohlcv?symbol=btc/usdt&interval=4h&limit=7").json()
    assert {name: told[name] for name in ("success", "symbol", "interval", "count", "source")} == {
        "success": True,
        "symbol": "BTCUSDT",
        "interval": "4h",
        "count": 7,
        "source": "binance",
    }
    assert all(row.keys() == ROWS["candle"] for row in told["data"])
    # 14:37 lies in the bar from 12:00; the last closed one opened at 08:00 on 11 March 2026
    assert [row["timestamp"] for row in told["data"]] == [1773216000000 - n * 14_400_000 for n in reversed(range(7))]
    assert all(row["low"] <= min(row["open"], row["close"]) <= row["high"] for row in told["data"])


def test_candles_by_default_are_a_hundred_hours(client):
    told = client.get("/api/ohlcv?symbol=BTC").json()
    assert (told["interval"], told["count"], len(told["data"])) == ("1h", 100, 100)


@pytest.mark.parametrize("interval", ["1m", "5m", "15m", "1h", "4h", "1d", "1w"])
def test_every_interval_is_answered(client, interval):
    told = client.get(f"/api/ohlcv?symbol=BTC&interval={interval}&limit=3").json()
    assert (told["interval"], told["count"]) == (interval, 3)


def test_a_thousand_candles_are_the_most(client):
    assert client.get("/api/ohlcv?symbol=BTC&interval=1m&limit=1000").json()["count"] == 1000


def test_prices(client):
    told = client.get("/api/prices?symbols=BTC,ETH&convert=USDT").json()
    assert told["source"] == "coingecko+binance"
    assert [row["symbol"] for row in told["data"]] == ["BTC", "ETH"]
    for row in told["data"]:
        assert row.keys() == ROWS["price"] | {"stale"}
        assert None not in row.values()
        assert row["lastUpdate"] == "2026-03-11T14:37:42.000Z"
    assert told["timestamp"] == "2026-03-11T14:37:42.000Z"


def test_prices_of_everything_supported(client):
    rows = client.get("/api/prices").json()["data"]
    wanted = {"BTC", "ETH", "SOL", "XRP", "BNB", "ADA", "DOT", "LINK", "LTC", "BCH", "POL", "AVAX", "XLM", "TRX"}
    assert {row["symbol"] for row in rows} == wanted


def test_sentiment(client):
    data = client.get("/api/sentiment").json()["data"]
    assert data["fearGreed"].keys() == {"value", "classification", "timestamp"}
    assert 0 <= data["fearGreed"]["value"] <= 100
    assert data["fearGreed"]["timestamp"] == 1773187200000  # 11 March 2026
    assert data["news"] == {"bullish": 0, "bearish": 0, "neutral": 0, "total": 0}
    assert data["overall"].keys() == {"sentiment", "score", "confidence"}


def test_overview(client):
    data = client.get("/api/market/overview").json()["data"]
    assert data.keys() == ROWS["overview"]
    assert all(data[name] for name in ROWS["overview"])
    assert {row["symbol"] for row in data["topGainers"]}.isdisjoint(row["symbol"] for row in data["topLosers"])
    changes = [row["change24h"] for row in data["topGainers"]]
    assert changes == sorted(changes, reverse=True)


def test_errors(client):
    response = client.get("/api/ohlcv?symbol=NOPE")
    told = response.json()
    assert response.status_code == 400
    assert told.keys() == {"success", "error", "timestamp"}
    assert told["success"] is False
    assert told["error"].keys() == {"code", "message", "details", "retryAfter"}
    assert (told["error"]["code"], told["error"]["retryAfter"]) == ("INVALID_SYMBOL", None)


# --------------------------------------------------------------------------- the cache


def test_the_cache_counts_and_is_emptied(client):
    client.get("/api/prices?symbols=BTC")
    client.get("/api/prices?symbols=BTC")
    told = client.get("/api/cache/stats").json()["data"]
    assert {name: told[name] for name in ("size", "hits", "misses", "stale", "hitRate")} == {
        "size": 1,
        "hits": 1,
        "misses": 1,
        "stale": 0,
        "hitRate": 0.5,
    }
    assert client.post("/api/cache/clear").json()["data"] == {"cleared": 1}
    assert client.get("/api/cache/stats").json()["data"]["size"] == 0


def test_an_emptied_cache_asks_anew(emptied, clock):
    with frozen_market(clock) as simulator, live_on(simulator, clock) as live:
        client = client_of(application(emptied, live, clock))
        for _ in range(2):
            client.get("/api/ohlcv?symbol=BTC")
            client.get("/api/prices?symbols=BTC")
            client.post("/api/cache/clear")
        assert simulator.requests["binance_futures", "/fapi/v1/klines"] == 2
        assert simulator.requests["binance_futures", "/fapi/v1/ticker/24hr"] == 2


def test_another_machine_may_not_empty_the_cache(emptied, clock):
    stranger = client_of(application(emptied, Counting(), clock), address="203.0.113.9")
    response = stranger.post("/api/cache/clear")
    assert (response.status_code, response.json()["error"]["code"]) == (401, "UNAUTHORIZED")


def test_an_unchanged_answer_is_not_sent_again(client):
    first = client.get("/api/prices?symbols=BTC")
    again = client.get("/api/prices?symbols=BTC", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


# --------------------------------------------------------------------------- limits


@pytest.mark.parametrize(
    ("path", "setting"),
    [
        ("/api/prices?symbols=BTC", "rate_prices"),
        ("/api/ohlcv?symbol=BTC", "rate_ohlcv"),
        ("/api/sentiment", "rate_sentiment"),
    ],
)
def test_each_limit_counts_for_itself_and_health_is_free(emptied, clock, path, setting):
    with frozen_market(clock) as simulator, live_on(simulator, clock) as live:
        client = client_of(application(emptied, live, clock, **{setting: 2}))
        assert [client.get(path).status_code for _ in range(3)] == [200, 200, 429]
        refused = client.get(path)
        assert refused.json()["error"]["code"] == "RATE_LIMITED"
        assert refused.headers["retry-after"] == "60"
        assert client.get("/api/health").status_code == 200


# --------------------------------------------------------------------------- the documents


def test_the_documents_show_every_route_with_its_shape(client):
    document = client.get("/openapi.json").json()
    shapes = {
        (path, method): operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].split("/")[-1]
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if path.startswith("/api") and not path.startswith("/api/v1")
    }
    assert shapes == {
        ("/api/health", "get"): "HealthAnswer",
        ("/api/ohlcv", "get"): "OhlcvAnswer",
        ("/api/prices", "get"): "PricesAnswer",
        ("/api/sentiment", "get"): "SentimentAnswer",
        ("/api/market/overview", "get"): "OverviewAnswer",
        ("/api/cache/stats", "get"): "CacheStatsAnswer",
        ("/api/cache/clear", "post"): "CacheClearAnswer",
    }
