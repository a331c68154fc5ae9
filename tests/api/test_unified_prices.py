"""GET /api/prices, /api/sentiment and /api/market/overview: how numbers of many sources become one answer."""

from datetime import timedelta
from decimal import Decimal

import pytest

from collector.api.fallback import Budget
from collector.clock import to_millis
from collector.records import Dataset, GlobalMarket, Interval, Sentiment
from tests.api.unified_stand import Counting, Stock, application, client_of, opens_before, unified_of


@pytest.fixture
def database(emptied):
    return emptied


@pytest.fixture
def stock(database, clock):
    return Stock(database, clock.now())


@pytest.fixture
def client(database, clock):
    return client_of(application(database, Counting(), clock, symbols=()))


def prices(client, status=200, **params):
    response = client.get("/api/prices", params={"convert": "USD", **params})
    assert response.status_code == status, response.text
    return response.json()


def one(client, **params):
    return prices(client, **params)["data"][0]


# --------------------------------------------------------------------------- one price out of many


def test_the_price_is_the_median_of_fresh_sources(stock, client):
    futures, kraken = stock.asset("BTC", "bitcoin", 1, venues=("binance_futures", "kraken"))
    stock.snapshot("bitcoin", "100.4", ago=5)
    stock.ticker(futures, "100.0")
    stock.ticker(kraken, "100.1", ago=2)
    told = prices(client, symbols="BTC")
    assert told["data"][0]["priceUsd"] == 100.1
    assert (told["source"], told["stale"]) == ("coingecko+binance+kraken", False)
    assert told["data"][0]["lastUpdate"] == "2026-03-11T14:37:42.000Z"


def test_the_median_of_an_even_number_lies_between_the_middle_two(stock, client):
    (futures,) = stock.asset("BTC", "bitcoin", 1)
    stock.snapshot("bitcoin", "101")
    stock.ticker(futures, "100")
    assert one(client, symbols="BTC")["priceUsd"] == 100.5


def test_a_source_far_from_the_others_is_left_out_and_not_named(stock, client):
    futures, kraken = stock.asset("BTC", "bitcoin", 1, venues=("binance_futures", "kraken"))
    stock.snapshot("bitcoin", "100")
    stock.ticker(futures, "102")
    stock.ticker(kraken, "300")
    told = prices(client, symbols="BTC", parts="true")
    assert told["data"][0]["priceUsd"] == 101  # the median 102 shuts out 300; 100 and 102 are left
    assert told["source"] == "coingecko+binance"
    assert [(part["source"], part["used"]) for part in told["data"][0]["parts"]] == [
        ("coingecko", True),
        ("binance_futures", True),
        ("kraken", False),
    ]


def test_of_two_that_contradict_each_other_the_aggregator_is_believed(stock, client):
    (futures,) = stock.asset("BTC", "bitcoin", 1)
    stock.snapshot("bitcoin", "100")
    stock.ticker(futures, "140")
    told = prices(client, symbols="BTC")
    assert (told["data"][0]["priceUsd"], told["source"]) == (100, "coingecko")


def test_an_old_source_has_no_say_beside_a_fresh_one(stock, client):
    (futures,) = stock.asset("BTC", "bitcoin", 1)
    stock.snapshot("bitcoin", "104", ago=120)
    stock.ticker(futures, "100", ago=29)
    told = prices(client, symbols="BTC", parts="true")
    assert (told["data"][0]["priceUsd"], told["source"], told["stale"]) == (100, "binance", False)
    assert [part["fresh"] for part in told["data"][0]["parts"]] == [False, True]


def test_with_old_sources_only_the_newest_stands_in_marked_stale(stock, client):
    (futures,) = stock.asset("BTC", "bitcoin", 1)
    stock.snapshot("bitcoin", "104", ago=7200)
    stock.ticker(futures, "100", ago=3600)
    told = prices(client, symbols="BTC")
    assert (told["data"][0]["priceUsd"], told["data"][0]["stale"], told["stale"]) == (100, True, True)
    assert told["asOf"] == "2026-03-11T13:37:42.000Z"


def test_a_price_of_a_thousand_coins_becomes_that_of_one(stock, client):
    (futures,) = stock.asset("PEPE", "pepe", 30, base="1000PEPE", units=1000)
    stock.ticker(futures, "0.012")
    assert one(client, symbols="PEPE")["priceUsd"] == 0.000012


# --------------------------------------------------------------------------- currencies


def test_usdt_at_a_discount_makes_prices_in_usdt_higher(stock, client):
    (futures,) = stock.asset("BTC", "bitcoin", 1)
    stock.asset("USDT", "tether", 3, venues=())
    stock.snapshot("tether", "0.98", rank=3)
    stock.ticker(futures, "50000")
    told = one(client, symbols="BTC", convert="USDT")
    assert (told["price"], told["priceUsd"]) == (50000, 49000)  # 50 000 USDT at 0.98 USD each
    assert one(client, symbols="BTC", convert="USD")["price"] == 49000


def test_an_unknown_price_of_usdt_counts_as_a_dollar(stock, client):
    (futures,) = stock.asset("BTC", "bitcoin", 1)
    stock.ticker(futures, "50000")
    told = one(client, symbols="BTC", convert="usdt")
    assert (told["price"], told["priceUsd"]) == (50000, 50000)


def test_usdt_is_the_currency_unless_another_is_asked_for(stock, client):
    stock.asset("USDT", "tether", 3, venues=())
    stock.snapshot("tether", "0.98", rank=3)
    told = client.get("/api/prices?symbols=USDT").json()
    assert (told["convert"], told["data"][0]["price"], told["data"][0]["priceUsd"]) == ("USDT", 1, 0.98)


def test_another_currency_is_refused(client):
    assert prices(client, 400, convert="EUR")["error"]["code"] == "INVALID_PARAMETER"


# --------------------------------------------------------------------------- what is not known


def test_what_nobody_said_is_null_and_zero_is_zero(stock, client):
    stock.asset("BTC", "bitcoin", 1, venues=())
    stock.asset("NEW", "new", 2, venues=())
    stock.snapshot("bitcoin", "100", change_24h_pct=Decimal(0), volume_24h_usd=Decimal(0))
    btc, new = prices(client, symbols="BTC,NEW")["data"]
    assert (btc["change24h"], btc["volume24h"], btc["change1h"], btc["marketCap"]) == (0, 0, None, None)
    unknown = {"symbol": "NEW", "name": "New", "rank": 2, "stale": True}
    assert new == {**dict.fromkeys(btc), **unknown}


def test_the_change_at_a_venue_stands_in_for_that_of_an_aggregator(stock, client):
    (futures,) = stock.asset("BTC", "bitcoin", 1)
    stock.ticker(futures, "100", change=Decimal("-2.5"))
    assert one(client, symbols="BTC")["change24h"] == -2.5


def test_all_supported_assets_come_without_a_list_best_rank_first(stock, client):
    stock.asset("ETH", "ethereum", 2, venues=())
    stock.asset("BTC", "bitcoin", 1, venues=())
    stock.snapshot("bitcoin", "100")
    assert [row["symbol"] for row in prices(client)["data"]] == ["BTC", "ETH"]


def test_nothing_stored_and_nobody_to_ask_is_an_error(database, clock):
    nobody = client_of(application(database, Counting("coingecko", "kraken"), clock))
    told = prices(nobody, 503, symbols="BTC")["error"]
    assert told["code"] == "PROVIDER_ERROR"
    assert told["details"] == {"coingecko": "no route to coingecko", "kraken": "no route to kraken"}


# --------------------------------------------------------------------------- before the time is over


def test_the_next_prices_are_made_before_the_present_ones_are_old(database, clock, stock):
    (futures,) = stock.asset("BTC", "bitcoin", 1)
    stock.ticker(futures, "100")
    board = unified_of(database, Counting(), clock, symbols=()).board

    def price():
        return board.table(Budget(clock)).rows["BTC"].price_usd

    def after(seconds, stored):
        clock.advance(seconds)
        stock.ticker(futures, stored, ago=-(clock.now() - stock.now).total_seconds())
        board.ahead()
        board._upstream._background.submit(lambda: None).result(10)  # it has one thread
        return price()

    assert price() == 100
    assert after(20, "110") == 100  # 10 s are left of 30: too early
    assert after(2, "120") == 120
    assert after(20, "130") == 120  # the new table is good until second 52


# --------------------------------------------------------------------------- sentiment


def fear(stock, value, *, days_ago=0):
    day = stock.now.replace(hour=0, minute=0, second=0) - timedelta(days=days_ago)
    row = Sentiment(
        source="alternative_me", observed_at=day, received_at=stock.now, value=value, classification="Extreme Fear"
    )
    stock.put(row, source="alternative_me", dataset=Dataset.SENTIMENT)
    return day


def test_the_mood_follows_from_the_index_breadth_and_momentum(stock, client):
    day = fear(stock, 20)
    for number in range(20):
        stock.asset(f"A{number}", f"a{number}", number + 1, venues=())
        change = Decimal(1) if number < 15 else Decimal(-1)
        stock.snapshot(f"a{number}", "5", change_24h_pct=change, change_7d_pct=Decimal(3), rank=number + 1)
    told = client.get("/api/sentiment").json()
    assert told["data"] == {
        "fearGreed": {"value": 20, "classification": "Extreme Fear", "timestamp": to_millis(day)},
        "news": {"bullish": 0, "bearish": 0, "neutral": 0, "total": 0},
        "overall": {"sentiment": "bearish", "score": 43.8, "confidence": 0.45},  # as in test_sentiment.py
    }
    assert (told["source"], told["stale"]) == ("coingecko+alternative_me", False)


def test_an_index_of_another_day_is_stale_and_weighs_half(stock, client):
    fear(stock, 20, days_ago=3)
    told = client.get("/api/sentiment").json()
    assert told["stale"] is True
    assert told["data"]["overall"] == {"sentiment": "bearish", "score": 20.0, "confidence": 0.25}


def test_without_any_index_the_mood_is_that_of_prices(stock, client):
    stock.asset("BTC", "bitcoin", 1, venues=())
    stock.snapshot("bitcoin", "5", change_24h_pct=Decimal(5), change_7d_pct=Decimal(15))
    told = client.get("/api/sentiment").json()
    assert told["data"]["fearGreed"] == {"value": None, "classification": None, "timestamp": None}
    assert told["data"]["overall"]["sentiment"] == "bullish"
    assert told["stale"] is True


def test_no_mood_at_all_is_an_error(client):
    response = client.get("/api/sentiment")
    assert (response.status_code, response.json()["error"]["code"]) == (503, "PROVIDER_ERROR")


# --------------------------------------------------------------------------- the overview


def totals(stock, *, ago=0):
    at = stock.now - timedelta(seconds=ago)
    row = GlobalMarket(
        source="coingecko",
        observed_at=at,
        received_at=at,
        market_cap_usd=Decimal("3.1E+12"),
        volume_24h_usd=Decimal(120_000_000_000),
        btc_dominance_pct=Decimal("57.25"),
        eth_dominance_pct=None,
        market_cap_change_24h_pct=None,
        active_assets=17_000,
        markets=None,
    )
    stock.put(row, dataset=Dataset.GLOBAL)


def mover(stock, symbol, change, *, volume=2_000_000, cap=10_000_000, price="5", week=8):
    stock.asset(symbol, symbol.lower(), len(stock._assets) + 1, venues=())
    values = {"change_24h_pct": Decimal(change), "change_7d_pct": Decimal(week), "volume_24h_usd": Decimal(volume)}
    stock.snapshot(symbol.lower(), price, cap=Decimal(cap), **values)


def names(rows):
    return [row["symbol"] for row in rows]


def test_the_overview_tells_the_stored_totals(stock, client):
    totals(stock)
    mover(stock, "AAA", 3)
    told = client.get("/api/market/overview").json()
    data = told["data"]
    assert (data["totalMarketCap"], data["totalVolume24h"]) == (3_100_000_000_000, 120_000_000_000)
    assert (data["btcDominance"], data["ethDominance"], data["activeCoins"]) == (57.25, None, 17_000)
    assert (told["source"], told["stale"], told["asOf"]) == ("coingecko", False, "2026-03-11T14:37:42.000Z")


def test_old_totals_are_stale(stock, client):
    totals(stock, ago=301)
    mover(stock, "AAA", 3)
    assert client.get("/api/market/overview").json()["stale"] is True


def test_gainers_and_losers_are_the_ends_of_one_list(stock, client):
    for symbol, change in (("AAA", 3), ("BBB", -7), ("CCC", 12), ("DDD", 0), ("EEE", -1)):
        mover(stock, symbol, change)
    data = client.get("/api/market/overview").json()["data"]
    assert names(data["topGainers"]) == ["CCC", "AAA", "DDD"]
    assert names(data["topLosers"]) == ["BBB", "EEE"]


def test_what_is_hardly_traded_moves_nothing(stock, client):
    mover(stock, "AAA", 3)
    mover(stock, "THIN", 900, volume=999_999)
    data = client.get("/api/market/overview").json()["data"]
    assert names(data["topGainers"]) == ["AAA"]
    assert names(data["trending"]) == ["AAA"]


def test_trending_is_what_changes_hands_fastest_but_no_dollar(stock, client):
    mover(stock, "SLOW", 1, volume=2_000_000, cap=900_000_000)
    mover(stock, "FAST", 1, volume=5_000_000, cap=10_000_000)
    mover(stock, "PEG", 0, volume=90_000_000, cap=100_000_000, price="0.999", week=0)
    data = client.get("/api/market/overview").json()["data"]
    assert names(data["trending"]) == ["FAST", "SLOW"]


def test_an_entry_tells_what_is_known_of_the_asset(stock, client):
    mover(stock, "AAA", "3.5")
    assert client.get("/api/market/overview").json()["data"]["trending"] == [
        {
            "symbol": "AAA",
            "name": "Aaa",
            "price": 5,
            "change24h": 3.5,
            "volume24h": 2_000_000,
            "marketCap": 10_000_000,
            "rank": 1,
        }
    ]


# --------------------------------------------------------------------------- the age of what is stored


def test_health_tells_how_old_the_newest_row_of_each_dataset_is(stock, client):
    (futures,) = stock.asset("BTC", "bitcoin", 1)
    stock.ticker(futures, "100", ago=90)
    stock.ticker(futures, "101", ago=300)
    stock.snapshot("bitcoin", "100", ago=12)
    stock.bars(futures, Interval.H1, opens_before(stock.now, Interval.H1, 2))
    told = client.get("/api/health").json()
    # 14:37:42; the last bar ended at 14:00
    assert told["newestRows"] == {"tickers": 90, "market_snapshots": 12, "candles": 37 * 60 + 42}
    assert told["lastCycle"] == {
        "id": stock.cycle,
        "cadence": "market",
        "state": "running",
        "startedAt": "2026-03-11T14:37:42.000Z",
        "finishedAt": None,
    }
