"""The unified endpoints field by field: names, types and meanings, with the values worked out from the tables.

One simulated cycle fills the database; what is expected is computed here from plain SQL. Nothing else is asked: every
call to a provider that is made here is one that the test names.
"""

import re
from datetime import UTC, datetime
from itertools import pairwise
from statistics import median
from types import NoneType

import pytest

from collector.clock import ManualClock, SystemClock
from collector.storage.database import Database
from tests.api.fed_stand import VERSION, fed
from tests.api.unified_stand import application, client_of
from tests.conftest import NOW

ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
MINUTE_MS = 60_000
NUMBERS = ("price", "priceUsd", "change1h", "change24h", "change7d", "volume24h", "marketCap")
SUPPORTED = "BTC ETH SOL XRP BNB ADA DOT LINK LTC BCH POL AVAX XLM TRX"


@pytest.fixture(scope="module")
def api(cluster, tmp_path_factory):
    """The application over a filled database; the tests only read, so one is enough."""
    url = cluster.create_database()
    database = Database(url, clock=SystemClock())
    with fed(database, ManualClock(NOW), tmp_path_factory.mktemp("logs")) as running:
        yield running
    database.close()
    cluster.drop(url)


def kinds(entry, **fields):
    """Check that an object has these fields with exactly these types; a number may be whole."""
    for name, kind in fields.items():
        assert name in entry, name
        allowed = {*kind} if isinstance(kind, tuple) else {kind}
        allowed |= {int} if float in allowed else set()
        assert type(entry[name]) in allowed, (name, entry[name])


def moment(text):
    assert ISO.fullmatch(text), text
    return datetime.fromisoformat(text)


def millis(at):
    return int((at - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000)


# --------------------------------------------------------------------------- candles


def candles_of(api, instrument, limit):
    rows = api.rows(
        """
        SELECT open_time, open, high, low, close, volume FROM candles JOIN instruments USING (instrument_id)
        WHERE instrument = :name AND interval = '1m' ORDER BY open_time DESC LIMIT :limit
        """,
        name=instrument,
        limit=limit,
    )
    return [(millis(at), *map(float, numbers)) for at, *numbers in reversed(rows)]


def test_candles_are_the_stored_ones_under_the_names_that_clients_know(api):
    told = api.get("/api/ohlcv", symbol="BTC", interval="1m", limit=15)
    stored = candles_of(api, "binance_futures:BTC-USDT:perp", 15)
    assert [set(bar) for bar in told["data"]] == [{"timestamp", "open", "high", "low", "close", "volume"}] * 15
    names = ("timestamp", "open", "high", "low", "close", "volume")
    assert [tuple(bar[name] for name in names) for bar in told["data"]] == stored
    for bar in told["data"]:
        kinds(bar, timestamp=int, **dict.fromkeys(names[1:], float))
    kinds(told, success=bool, data=list, symbol=str, interval=str, count=int, source=str, timestamp=str)
    assert told["success"] is True
    assert (told["symbol"], told["interval"], told["count"], told["source"]) == ("BTCUSDT", "1m", 15, "binance")
    assert moment(told["timestamp"]) == api.clock.now()
    assert told["stale"] is False
    last_closed = NOW.replace(second=0)
    assert told["data"][-1]["timestamp"] == millis(last_closed) - MINUTE_MS
    assert moment(told["asOf"]) == last_closed


@pytest.mark.parametrize("spelling", ["BTC", "BTCUSDT", "BTC/USDT", "BTC-USDT", "btc", "btc/usdt"])
def test_every_spelling_of_a_symbol_means_the_same(api, spelling):
    told = api.get("/api/ohlcv", symbol=spelling, interval="1m", limit=2)
    assert (told["symbol"], told["data"]) == (
        "BTCUSDT",
        api.get("/api/ohlcv", symbol="BTC", interval="1m", limit=2)["data"],
    )


def test_matic_is_pol(api):
    assert api.get("/api/ohlcv", symbol="MATIC", limit=1)["symbol"] == "POLUSDT"


def test_an_hour_and_a_hundred_bars_are_the_defaults(api):
    told = api.get("/api/ohlcv", symbol="ETH")
    assert (told["interval"], told["count"], len(told["data"])) == ("1h", 100, 100)
    opens = [bar["timestamp"] for bar in told["data"]]
    assert opens == [millis(NOW.replace(minute=0, second=0)) - 60 * MINUTE_MS * n for n in range(100, 0, -1)]


@pytest.mark.parametrize(
    ("interval", "minutes"),
    [("1m", 1), ("5m", 5), ("15m", 15), ("1h", 60), ("4h", 240), ("1d", 1440), ("1w", 10_080)],
)
def test_every_interval_is_answered_on_its_grid(api, interval, minutes):
    opens = [bar["timestamp"] for bar in api.get("/api/ohlcv", symbol="BTC", interval=interval, limit=3)["data"]]
    assert [later - earlier for earlier, later in pairwise(opens)] == [minutes * MINUTE_MS] * 2
    monday = 4 * 1440 * MINUTE_MS  # the epoch began on a Thursday
    assert (opens[-1] - (monday if interval == "1w" else 0)) % (minutes * MINUTE_MS) == 0
    assert opens[-1] + minutes * MINUTE_MS <= millis(NOW) < opens[-1] + 2 * minutes * MINUTE_MS


def test_a_thousand_bars_are_the_most(api):
    assert api.get("/api/ohlcv", symbol="BTC", interval="1m", limit=1000)["count"] == 1000
    assert api.get("/api/ohlcv", 400, symbol="BTC", limit=1001)["error"]["code"] == "INVALID_PARAMETER"


# --------------------------------------------------------------------------- prices


def venue_prices(api, asset_id):
    """Return venue -> (newest price of one coin, quote), of the followed market of each venue; trades before marks."""
    rows = api.rows(
        """
        SELECT DISTINCT ON (venue) venue, price / asset_units, quote FROM (
            SELECT instrument_id, observed_at, last_price AS price, 1 AS place FROM tickers
            UNION ALL SELECT instrument_id, observed_at, mark_price, 2 FROM mark_prices
        ) AS said JOIN instruments USING (instrument_id)
        WHERE asset_id = :asset_id AND followed ORDER BY venue, observed_at DESC, place
        """,
        asset_id=asset_id,
    )
    return {venue: (price, quote) for venue, price, quote in rows}


def snapshot(api, asset_id):
    names = (
        "price_usd",
        "change_1h_pct",
        "change_24h_pct",
        "change_7d_pct",
        "volume_24h_usd",
        "market_cap_usd",
        "rank",
    )
    (row,) = api.rows(
        f"SELECT {', '.join(names)} FROM market_snapshots WHERE asset_id = :asset_id ORDER BY observed_at DESC LIMIT 1",
        asset_id=asset_id,
    )
    return dict(zip(names, row, strict=True))


@pytest.mark.parametrize(("symbol", "asset_id"), [("BTC", "bitcoin"), ("ETH", "ethereum"), ("SOL", "solana")])
def test_a_price_is_the_median_of_what_its_sources_say_and_the_rest_is_the_aggregators(api, symbol, asset_id):
    told = api.get("/api/prices", symbols=symbol, parts="true")
    (entry,) = told["data"]
    facts, dollar = snapshot(api, asset_id), snapshot(api, "tether")["price_usd"]
    said = {"coingecko": facts["price_usd"]}
    for venue, (price, quote) in venue_prices(api, asset_id).items():
        said[venue] = price * dollar if quote == "USDT" else price
    assert set(said) == {"coingecko", "binance_futures", "binance_spot", "okx", "kraken"}
    parts = {part["source"]: part["priceUsd"] for part in entry["parts"]}
    assert parts == {name: pytest.approx(float(price), rel=1e-11) for name, price in said.items()}
    assert all(part["used"] and part["fresh"] for part in entry["parts"])
    assert entry["priceUsd"] == pytest.approx(float(median(said.values())), rel=1e-11)
    assert entry["price"] == pytest.approx(float(median(said.values()) / dollar), rel=1e-11)
    assert entry["change1h"] == float(facts["change_1h_pct"])
    assert entry["change24h"] == float(facts["change_24h_pct"])
    assert entry["change7d"] == float(facts["change_7d_pct"])
    assert entry["volume24h"] == float(facts["volume_24h_usd"])
    assert entry["marketCap"] == float(facts["market_cap_usd"])
    assert entry["rank"] == facts["rank"]
    assert told["source"] == "coingecko+binance+kraken+okx"


def test_a_price_has_every_field_in_its_type(api):
    told = api.get("/api/prices", symbols="BTC,ETH", convert="USD")
    kinds(told, success=bool, data=list, timestamp=str, source=str)
    assert [entry["symbol"] for entry in told["data"]] == ["BTC", "ETH"]
    for entry in told["data"]:
        numbers = dict.fromkeys(NUMBERS, float)
        kinds(entry, symbol=str, name=str, rank=int, lastUpdate=str, **numbers)
        assert entry["price"] == entry["priceUsd"]
        assert 0 <= (api.clock.now() - moment(entry["lastUpdate"])).total_seconds() < 60
        assert "parts" not in entry
    named = dict(api.rows("SELECT symbol, name FROM assets WHERE asset_id IN ('bitcoin', 'ethereum')"))
    assert {entry["symbol"]: entry["name"] for entry in told["data"]} == named


def test_all_supported_symbols_come_without_a_list(api):
    told = api.get("/api/prices")
    assert {entry["symbol"] for entry in told["data"]} >= set(SUPPORTED.split())
    numbers = dict.fromkeys(NUMBERS, (float, NoneType))
    for entry in told["data"]:
        kinds(entry, symbol=str, name=(str, NoneType), rank=(int, NoneType), lastUpdate=(str, NoneType), **numbers)


# --------------------------------------------------------------------------- sentiment and overview


def test_sentiment_is_the_stored_index_no_news_and_the_documented_formula(api):
    told = api.get("/api/sentiment")["data"]
    ((value, words, day),) = api.rows(
        "SELECT value, classification, observed_at FROM sentiments ORDER BY observed_at DESC LIMIT 1"
    )
    assert told["fearGreed"] == {"value": value, "classification": words, "timestamp": millis(day)}
    assert told["news"] == {"bullish": 0, "bearish": 0, "neutral": 0, "total": 0}
    changes = api.rows(
        """
        SELECT DISTINCT ON (asset_id) change_24h_pct, change_7d_pct FROM market_snapshots JOIN assets USING (asset_id)
        WHERE followed AND assets.source = 'coingecko' ORDER BY asset_id, observed_at DESC
        """
    )
    days, weeks = ([float(value) for value in column] for column in zip(*changes, strict=True))
    trust = len(days) / 20
    breadth = 100 * sum(change > 0 for change in days) / len(days)
    held = [max(-1.0, min(1.0, median(days) / 5)), max(-1.0, min(1.0, median(weeks) / 15))]
    momentum = 50 + 50 * sum(held) / 2
    weights = [0.5, 0.25 * trust, 0.25 * trust]
    parts = [value, breadth, momentum]
    score = sum(w * p for w, p in zip(weights, parts, strict=True)) / sum(weights)
    agreement = 1 - (max(parts) - min(parts)) / 100
    assert told["overall"]["score"] == pytest.approx(score, abs=0.051)
    assert told["overall"]["confidence"] == pytest.approx(sum(weights) * agreement, abs=0.0051)
    assert told["overall"]["sentiment"] == ("bullish" if score >= 55 else "bearish" if score <= 45 else "neutral")


def test_the_overview_tells_the_stored_totals_and_fills_its_lists(api):
    told = api.get("/api/market/overview")["data"]
    ((cap, volume, bitcoin, ether, coins),) = api.rows(
        """
        SELECT market_cap_usd, volume_24h_usd, btc_dominance_pct, eth_dominance_pct, active_assets
        FROM global_snapshots ORDER BY observed_at DESC LIMIT 1
        """
    )
    assert (told["totalMarketCap"], told["totalVolume24h"]) == (float(cap), float(volume))
    assert (told["btcDominance"], told["ethDominance"]) == (float(bitcoin), float(ether))
    assert (told["activeCoins"], type(told["activeCoins"])) == (coins, int)
    for name in ("topGainers", "topLosers", "trending"):
        assert 0 < len(told[name]) <= 10
        for mover in told[name]:
            kinds(mover, symbol=str, name=str, price=float, change24h=float, volume24h=float, marketCap=float, rank=int)
    up, down = ([mover["change24h"] for mover in told[name]] for name in ("topGainers", "topLosers"))
    assert up == sorted(up, reverse=True)
    assert down == sorted(down)
    assert min(up) >= max(down)
    assert not {mover["symbol"] for mover in told["topGainers"]} & {mover["symbol"] for mover in told["topLosers"]}


# --------------------------------------------------------------------------- health, cache, errors


def test_health_has_every_field(api):
    told = api.get("/api/health")
    kinds(told, status=str, uptime=int, version=str, providers=list, cache=dict)
    assert told["status"] in {"healthy", "degraded"}
    assert told["version"] == VERSION
    kinds(told["cache"], size=int, hitRate=float)
    assert {one["name"] for one in told["providers"]} == set(api.parts.live.sources())
    for one in told["providers"]:
        kinds(one, name=str, status=str, latency=(float, NoneType), lastCheck=(str, NoneType))
        assert one["status"] in {"online", "degraded", "offline"}
    assert told["database"] == {"status": "online", "reason": None}
    ((number, cadence, state),) = api.rows("SELECT cycle_id, cadence, state FROM cycles ORDER BY cycle_id DESC LIMIT 1")
    assert (told["lastCycle"]["id"], told["lastCycle"]["cadence"], told["lastCycle"]["state"]) == (
        number,
        cadence,
        state,
    )
    ((newest,),) = api.rows("SELECT max(received_at) FROM tickers")
    assert told["newestRows"]["tickers"] == pytest.approx((api.clock.now() - newest).total_seconds(), abs=0.1)


def test_the_latency_of_a_provider_is_that_of_its_last_call(api):
    api.get("/api/ohlcv", symbol="XRP", interval="1d", limit=2)
    told = {one["name"]: one for one in api.get("/api/health")["providers"]}
    kinds(told["binance_futures"], latency=float, lastCheck=str)
    assert 0 <= told["binance_futures"]["latency"] < 5000
    assert moment(told["binance_futures"]["lastCheck"]) == api.clock.now()


def test_the_cache_counts_and_forgets(api):
    with api.client as client:
        client.post("/api/cache/clear")
        before = client.get("/api/cache/stats").json()["data"]
        for _ in range(3):
            client.get("/api/prices?symbols=LTC")
        after = client.get("/api/cache/stats").json()["data"]
        kinds(after, size=int, hitRate=float, hits=int, misses=int, stale=int, bytes=int)
        assert (after["size"], after["hits"] - before["hits"], after["misses"] - before["misses"]) == (1, 2, 1)
        cleared = client.post("/api/cache/clear").json()
        assert (cleared["success"], cleared["data"]) == (True, {"cleared": 1})
        assert client.get("/api/health").json()["cache"]["size"] == 0


def test_an_answer_from_the_cache_is_the_same_to_the_byte(api):
    first, second = (api.client.get("/api/prices?symbols=BTC") for _ in range(2))
    assert (first.content, first.headers["etag"]) == (second.content, second.headers["etag"])
    known = api.client.get("/api/prices?symbols=BTC", headers={"If-None-Match": first.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/api/ohlcv?symbol=NOSUCHCOIN", 400, "INVALID_SYMBOL"),
        ("/api/ohlcv?symbol=", 400, "INVALID_SYMBOL"),
        ("/api/ohlcv", 400, "INVALID_SYMBOL"),
        ("/api/ohlcv?symbol=BTC&interval=2m", 400, "INVALID_INTERVAL"),
        ("/api/ohlcv?symbol=BTC&limit=0", 400, "INVALID_PARAMETER"),
        ("/api/ohlcv?symbol=BTC&limit=ten", 400, "INVALID_PARAMETER"),
        ("/api/prices?symbols=BTC,NOSUCHCOIN", 400, "INVALID_SYMBOL"),
        ("/api/prices?convert=EUR", 400, "INVALID_PARAMETER"),
        ("/api/nothing", 404, "NOT_FOUND"),
        ("/nothing", 404, "NOT_FOUND"),
    ],
)
def test_every_refusal_has_the_envelope(api, path, status, code):
    told = api.get(path, status)
    assert set(told) == {"success", "error", "timestamp"}
    assert told["success"] is False
    assert moment(told["timestamp"]) == api.clock.now()
    assert set(told["error"]) == {"code", "message", "details", "retryAfter"}
    assert told["error"]["code"] == code
    kinds(told["error"], message=str, details=dict, retryAfter=(int, NoneType))


@pytest.mark.parametrize(
    ("path", "a_minute"), [("/api/prices?symbols=BTC", 120), ("/api/ohlcv?symbol=BTC", 60), ("/api/sentiment", 30)]
)
def test_the_limits_of_a_client_are_as_documented_and_health_is_free(api, path, a_minute):
    raised = {"rate_prices": 120, "rate_ohlcv": 60, "rate_sentiment": 30}
    client = client_of(application(api.database, api.parts.live, api.clock, **raised))
    assert [client.get(path).status_code for _ in range(a_minute)] == [200] * a_minute
    refused = client.get(path)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "RATE_LIMITED")
    assert refused.headers["retry-after"] == str(refused.json()["error"]["retryAfter"]) == "60"
    assert client.get("/api/health").status_code == 200
