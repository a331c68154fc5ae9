"""The simulated CoinCap: the documented shape, ids of its own, and few credits; read by the real collector as well."""

import json
from decimal import Decimal

import pytest

from collector.clock import from_millis
from collector.records import Asset, Dataset, Job, MarketSnapshot, Payload
from collector.simulator import Market, Simulator
from collector.simulator.limits import CoinCapLimits
from collector.simulator.wire import Request
from collector.sources.coincap import page_cost, parse_markets

NOW = 1_767_270_034_567  # 2026-01-01 12:20:34.567 UTC
FEBRUARY = 1_769_904_000_000
MARKET = Market(seed=7, assets=60)
KEY = {"authorization": "Bearer a-key"}
FIELDS = [
    "id",
    "rank",
    "symbol",
    "name",
    "supply",
    "maxSupply",
    "marketCapUsd",
    "volumeUsd24Hr",
    "priceUsd",
    "changePercent24Hr",
    "vwap24Hr",
    "explorer",
    "tokens",
]


class Hand:
    """A clock moved by hand."""

    now_ms = NOW

    def __call__(self):
        return self.now_ms


@pytest.fixture
def clock():
    return Hand()


@pytest.fixture
def simulator(clock):
    return Simulator(market=MARKET, now_ms=clock)


def ask(simulator, path, *, headers=KEY, **query):
    request = Request(method="GET", path=path, query=query, headers=headers, address="127.0.0.1")
    response = simulator.answer(request)
    return response.status, json.loads(response.body)


def assets(simulator, **query):
    status, body = ask(simulator, "/coincap/v3/assets", **query)
    assert status == 200
    assert body["timestamp"] == NOW
    return body["data"]


def test_every_number_is_text_with_sixteen_decimals_but_the_rank(simulator):
    first, *_ = assets(simulator)
    assert list(first) == FIELDS
    assert (first["id"], first["rank"], first["symbol"]) == ("bitcoin", "1", "BTC")
    assert first["supply"] == "19900000.0000000000000000"
    assert all(len(first[name].partition(".")[2]) == 16 for name in ("priceUsd", "marketCapUsd", "volumeUsd24Hr"))


def test_ids_are_its_own_and_symbols_the_same(simulator):
    rows = {row["id"]: row["symbol"] for row in assets(simulator)}
    assert (rows["xrp"], rows["binance-coin"]) == ("XRP", "BNB")
    assert "ripple" not in rows


def test_prices_are_near_the_market_s(simulator):
    for row in MARKET.coin_market.rows(NOW)[:3]:
        (found,) = assets(simulator, ids=row.coin.id)
        assert abs(Decimal(found["priceUsd"]) / row.price - 1) <= Decimal("0.001")


def test_coins_without_a_known_cap_come_last_and_dead_ones_never(simulator):
    rows = assets(simulator, limit="2000")
    assert [row["rank"] for row in rows] == [str(place) for place in range(1, len(rows) + 1)]
    assert rows[-1]["marketCapUsd"] in (None, "0.0000000000000000")
    dead = {coin.id for coin in MARKET.coins if coin.quirk == "dead"}
    assert dead
    assert not dead & {row["id"] for row in rows}


def test_pages_join_without_overlap(simulator):
    whole = [row["id"] for row in assets(simulator, limit="2000")]
    pages = [row["id"] for offset in range(0, 80, 20) for row in assets(simulator, limit="20", offset=str(offset))]
    assert pages == whole


def test_one_asset_is_an_object_and_an_unknown_one_is_not_found(simulator):
    status, body = ask(simulator, "/coincap/v3/assets/ethereum")
    assert (status, body["data"]["symbol"]) == (200, "ETH")
    assert ask(simulator, "/coincap/v3/assets/nothing")[0] == 404
    assert ask(simulator, "/coincap/v3/candles")[0] == 404


@pytest.mark.parametrize("query", [{"limit": "0"}, {"limit": "2001"}, {"limit": "many"}, {"offset": "-1"}])
def test_a_page_that_cannot_be_is_refused(simulator, query):
    assert ask(simulator, "/coincap/v3/assets", **query)[0] == 400


def test_without_a_key_nothing_is_answered_and_the_address_may_carry_it(simulator):
    assert ask(simulator, "/coincap/v3/assets", headers={})[0] == 401
    assert ask(simulator, "/coincap/v3/assets", headers={"authorization": "Basic a-key"})[0] == 401
    assert ask(simulator, "/coincap/v3/assets", headers={}, apiKey="a-key")[0] == 200


def test_the_601st_call_of_a_minute_is_refused_and_other_keys_are_not():
    limits = CoinCapLimits()
    assert [limits.refuse("a", NOW) for _ in range(600)] == [None] * 600
    refused = limits.refuse("a", NOW)
    assert refused is not None
    assert refused.status == 429
    assert limits.refuse("b", NOW) is None
    assert limits.refuse("a", NOW + 60_000) is None


@pytest.mark.parametrize(("key", "month"), [("a-key", 4_000), ("basic-key", 75_000)])
def test_a_key_without_credits_is_refused_until_the_next_month(key, month):
    limits = CoinCapLimits()
    limits.charge(key, (month - 2) * 2_500, NOW)
    assert limits.used(key, NOW) == month - 1
    assert limits.refuse(key, NOW) is None
    limits.charge(key, 0, NOW)
    refused = limits.refuse(key, NOW)
    assert refused is not None
    assert refused.status == 429
    assert limits.refuse(key, FEBRUARY - 1) is not None
    assert limits.refuse(key, FEBRUARY) is None


def test_an_answer_costs_no_more_credits_than_the_collector_reckons():
    limits, body = CoinCapLimits(), json.dumps(assets(Simulator(market=MARKET, now_ms=Hand()))).encode()
    count = len(json.loads(body))
    limits.charge("a", len(body), NOW)
    assert limits.used("a", NOW) <= page_cost(count).weight


def test_the_collector_reads_every_row(simulator):
    request = Request(
        method="GET", path="/coincap/v3/assets", query={"limit": "2000"}, headers=KEY, address="127.0.0.1"
    )
    job = Job(source="coincap", dataset=Dataset.MARKETS, limit=2000)
    response = simulator.answer(request)
    found = parse_markets(Payload(job=job, status=200, body=response.body, received_at=from_millis(NOW)))
    rows = json.loads(response.body)["data"]
    assert [item.asset_id for item in found if isinstance(item, Asset)] == [row["id"] for row in rows]
    assert [item.rank for item in found if isinstance(item, MarketSnapshot)] == list(range(1, len(rows) + 1))
    assert len(found) == 2 * len(rows)
