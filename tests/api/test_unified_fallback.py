"""Providers that refuse, hang or lie: who answers then, who is named, and how long it takes."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta

import httpx2
import pytest

from collector import providers
from collector.api.live import LiveProviders
from collector.clock import SystemClock
from collector.records import CycleReport, CycleState, Dataset, Interval, SourceReport
from collector.simulator import Fault, Faults
from collector.storage.database import Database
from collector.storage.writer import Writer
from tests.api.unified_stand import Counting, Stock, application, bar, client_of, live_on, opens_before
from tests.unit.cycle_rig import frozen_market, listed, perpetual, settings_of

REAL = SystemClock()
NOWHERE = "postgresql://nobody@127.0.0.1:9/nothing"


@pytest.fixture
def database(emptied):
    return emptied


def faulty(clock, *faults):
    return frozen_market(clock, interceptor=Faults(faults))


@pytest.mark.parametrize("kind", ["forbidden", "geo_blocked", "error_503", "silence", "html", "truncated_json"])
def test_when_binance_fails_kraken_answers_and_is_named(database, clock, kind):
    waits = REAL if kind == "silence" else clock
    with faulty(clock, Fault(kind, "binance*")) as simulator, live_on(simulator, waits) as live:
        response = client_of(application(database, live, clock)).get("/api/ohlcv?symbol=BTC&limit=5")
        told = response.json()
        assert response.status_code == 200, told
        assert (told["source"], told["count"], told["stale"]) == ("kraken", 5, False)
        assert told["detail"] == {"instrument": "kraken:BTC-USDT:spot", "quote": "USDT", "from": "provider"}


def test_when_kraken_fails_too_okx_answers(database, clock):
    faults = (Fault("geo_blocked", "binance*"), Fault("error_502", "kraken"))
    with faulty(clock, *faults) as simulator, live_on(simulator, clock) as live:
        told = client_of(application(database, live, clock)).get("/api/ohlcv?symbol=ETH&limit=5").json()
        assert (told["source"], told["count"]) == ("okx", 5)


def test_binance_spot_answers_as_binance_when_futures_are_refused(database, clock):
    with faulty(clock, Fault("geo_blocked", "binance_futures")) as simulator, live_on(simulator, clock) as live:
        told = client_of(application(database, live, clock)).get("/api/ohlcv?symbol=BTC&limit=5").json()
        assert (told["source"], told["detail"]["instrument"]) == ("binance", "binance_spot:BTC-USDT:spot")


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("/api/ohlcv?symbol=BTC", {"binance_futures", "binance_spot", "kraken", "okx"}),
        ("/api/prices?symbols=BTC", {"coingecko", "binance_futures", "binance_spot", "kraken", "okx"}),
        ("/api/market/overview", {"coingecko"}),
    ],
)
def test_with_everybody_silent_and_nothing_stored_an_error_tells_why_within_three_seconds(database, clock, path, named):
    with faulty(clock, Fault("silence")) as simulator, live_on(simulator, REAL) as live:
        client = client_of(application(database, live, REAL))
        began = REAL.monotonic()
        response = client.get(path)
        took = REAL.monotonic() - began
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (503, "PROVIDER_ERROR")
    assert named <= error["details"].keys()
    assert all("within" in error["details"][name] for name in named)
    assert response.headers["retry-after"] == str(error["retryAfter"])
    assert took < 3


def test_with_everybody_refusing_each_path_is_an_error_with_the_reasons(database, clock):
    with faulty(clock, Fault("geo_blocked")) as simulator, live_on(simulator, clock) as live:
        client = client_of(application(database, live, clock))
        for path in ("/api/ohlcv?symbol=BTC", "/api/prices", "/api/sentiment", "/api/market/overview"):
            response = client.get(path)
            error = response.json()["error"]
            assert (response.status_code, error["code"], error["retryAfter"]) == (503, "PROVIDER_ERROR", 3600)
            assert all("HTTP 451" in reason for reason in error["details"].values())


def test_prices_come_from_whoever_answers(database, clock):
    faults = (Fault("geo_blocked", "binance*"), Fault("geo_blocked", "coingecko"))
    with faulty(clock, *faults) as simulator, live_on(simulator, clock) as live:
        told = client_of(application(database, live, clock)).get("/api/prices?symbols=BTC,ETH").json()
        assert told["source"] == "kraken"
        assert all(row["price"] > 0 for row in told["data"])


def test_a_provider_that_may_not_be_asked_for_want_of_quota_spoils_no_answer(database, clock):
    tree = {"sources": {"coincap": {"enabled": True, "api_key": "a-key"}}}
    with frozen_market(clock) as simulator, ExitStack() as stack:
        settings = settings_of(tree, addresses=simulator.base_urls)
        # 5 % of 600 credits a minute; the one call weighs 51
        shares = {"coincap": 0.05}
        names = ("coingecko", "coincap", "binance_futures", "alternative_me")
        sources = [providers.build_source(name, settings, clock, share=shares.get(name)) for name in names]
        for source in sources:
            stack.callback(providers.close_source, source)
        live = LiveProviders([(source.collector, source.venue) for source in sources], clock)
        stack.callback(live.close)
        client = client_of(application(database, live, clock))
        for path in ("/api/prices?symbols=BTC", "/api/sentiment", "/api/market/overview"):
            response = client.get(path)
            assert response.status_code == 200, response.text
        assert client.get("/api/prices?symbols=BTC").json()["source"] == "coingecko+binance"
        assert not [path for name, path in simulator.requests if name == "coincap"]


def test_an_empty_database_is_answered_for_by_coingecko_and_binance(database, clock):
    with frozen_market(clock) as simulator, live_on(simulator, clock) as live:
        told = client_of(application(database, live, clock)).get("/api/prices?symbols=BTC").json()
        assert (told["source"], told["stale"]) == ("coingecko+binance", False)


# --------------------------------------------------------------------------- health follows the breaker


def states(client):
    return {item["name"]: item["status"] for item in client.get("/api/health").json()["providers"]}


def test_a_provider_that_refuses_access_is_offline(database, clock):
    with faulty(clock, Fault("geo_blocked", "binance_futures")) as simulator, live_on(simulator, clock) as live:
        client = client_of(application(database, live, clock))
        assert states(client)["binance_futures"] == "online"
        client.get("/api/ohlcv?symbol=BTC&limit=5")
        assert states(client)["binance_futures"] == "offline"
        assert states(client)["binance_spot"] == "online"
        told = client.get("/api/health").json()
        assert told["status"] == "degraded"
        reasons = {item["name"]: item["reason"] for item in told["providers"]}
        assert "HTTP 451" in reasons["binance_futures"]
        assert reasons["kraken"] is None


def test_a_provider_on_a_short_pause_is_degraded_and_online_again_after_it(database, clock):
    with frozen_market(clock) as simulator, live_on(simulator, clock, names=("kraken",)) as live:
        client = client_of(application(database, live, clock))
        live.venues["kraken"].quota.pause(clock.now() + timedelta(seconds=40), "HTTP 429")
        assert states(client)["kraken"] == "degraded"
        clock.advance(41)
        assert states(client)["kraken"] == "online"


def test_a_provider_without_answers_goes_offline_when_its_breaker_opens(database, clock):
    with faulty(clock, Fault("error_500", "kraken")) as simulator, live_on(simulator, clock, names=("kraken",)) as live:
        client = client_of(application(database, live, clock))
        for limit in range(1, 7):
            client.get(f"/api/ohlcv?symbol=BTC&limit={limit}")
        assert states(client)["kraken"] == "offline"


def test_what_the_collector_had_since_the_failure_makes_a_provider_online(database, clock):
    with faulty(clock, Fault("error_500", "kraken")) as simulator, live_on(simulator, clock, names=("kraken",)) as live:
        client = client_of(application(database, live, clock))
        stock = Stock(database, clock.now())
        stock.put(source="kraken", dataset=Dataset.TICKERS)  # before the failures: tells nothing
        clock.advance(1)
        for limit in range(1, 7):
            client.get(f"/api/ohlcv?symbol=BTC&limit={limit}")
        assert states(client)["kraken"] == "offline"
        clock.advance(6)
        assert states(client)["kraken"] == "degraded"
        stock.now = clock.now()
        stock.put(source="kraken", dataset=Dataset.CANDLES)
        clock.advance(6)  # the database is looked at every five seconds
        told = client.get("/api/health").json()
        (kraken,) = told["providers"]
        assert (kraken["status"], kraken["reason"], told["status"]) == ("online", None, "healthy")


def ended(database, at, *sources):
    """Store a cycle that ended with these parts."""
    writer = Writer(database)
    number = writer.begin_cycle("market", at, instance="test:1", folder="f", simulated=True)
    moments = {"started_at": at, "finished_at": at + timedelta(seconds=1)}
    report = CycleReport(cycle_id=number, cadence="market", state=CycleState.PARTIAL, sources=sources, **moments)
    writer.finish_cycle(report)


def test_a_provider_that_gave_the_collector_nothing_is_degraded_until_it_gives_something(database, clock):
    failed = SourceReport(source="kraken", jobs_failed=40, jobs_skipped=90, errors=("HTTP 503", "no answer"))
    with frozen_market(clock) as simulator, live_on(simulator, clock, names=("kraken", "okx")) as live:
        client = client_of(application(database, live, clock))
        ended(database, clock.now(), failed, SourceReport(source="okx", jobs_ok=1, jobs_failed=39))
        told = client.get("/api/health").json()
        by_name = {item["name"]: (item["status"], item["reason"]) for item in told["providers"]}
        assert by_name == {"kraken": ("degraded", "HTTP 503"), "okx": ("online", None)}
        assert told["status"] == "degraded"
        clock.advance(6)
        ended(database, clock.now(), SourceReport(source="okx", jobs_ok=40))  # kraken was not asked: nothing new of it
        clock.advance(6)
        assert states(client)["kraken"] == "degraded"
        ended(database, clock.now(), SourceReport(source="kraken", jobs_ok=1, jobs_failed=3))
        clock.advance(6)
        assert states(client)["kraken"] == "online"


def test_what_the_collector_had_does_not_lift_a_pause(database, clock):
    with frozen_market(clock) as simulator, live_on(simulator, clock, names=("kraken",)) as live:
        client = client_of(application(database, live, clock))
        client.get("/api/ohlcv?symbol=BTC&limit=5")
        live.venues["kraken"].quota.pause(clock.now() + timedelta(seconds=40), "HTTP 429")
        stock = Stock(database, clock.now() + timedelta(seconds=1))
        stock.put(source="kraken", dataset=Dataset.TICKERS)
        assert states(client)["kraken"] == "degraded"


def test_latency_and_time_of_the_last_call_are_told(database, clock):
    with frozen_market(clock) as simulator, live_on(simulator, REAL, names=("kraken",)) as live:
        client = client_of(application(database, live, clock))
        (before,) = client.get("/api/health").json()["providers"]
        assert (before["latency"], before["lastCheck"]) == (None, None)
        client.get("/api/ohlcv?symbol=BTC&limit=5")
        (after,) = client.get("/api/health").json()["providers"]
        assert 0 < after["latency"] < 3000
        assert after["lastCheck"].endswith("Z")


# --------------------------------------------------------------------------- a database that is away


@pytest.fixture
def away():
    database = Database(NOWHERE, clock=REAL)
    yield database
    database.close()


def test_without_a_database_providers_answer(away, clock):
    with frozen_market(clock) as simulator, live_on(simulator, clock) as live:
        client = client_of(application(away, live, clock))
        assert client.get("/api/ohlcv?symbol=BTC&limit=5").json()["source"] == "binance"
        assert client.get("/api/prices?symbols=BTC").json()["source"] == "coingecko+binance"
        assert client.get("/api/sentiment").status_code == 200
        assert client.get("/api/market/overview").status_code == 200
        health = client.get("/api/health").json()
        assert (health["status"], health["database"]["status"]) == ("degraded", "offline")


def test_without_a_database_and_providers_health_still_answers(away, clock):
    response = client_of(application(away, Counting("kraken"), clock)).get("/api/health")
    assert (response.status_code, response.json()["status"]) == (200, "unhealthy")


# --------------------------------------------------------------------------- many askers, one call


def test_a_thousand_simultaneous_askers_of_one_series_make_one_call(database, clock):
    gate, begun = threading.Event(), threading.Event()

    def answer(job):
        begun.set()
        gate.wait(10)
        if job.dataset is Dataset.INSTRUMENTS:
            return [listed(perpetual("BTC", job.source), job.source, clock.now())]
        opens = opens_before(clock.now(), Interval.H1, 3)
        return [bar(job.instruments[0], Interval.H1, opened, 100, 1) for opened in opens]

    live = Counting(answer=answer)
    door = httpx2.ASGITransport(application(database, live, REAL), client=("127.0.0.1", 50_000))

    async def ask_all():
        async with httpx2.AsyncClient(transport=door, base_url="http://localhost") as client:
            asked = [asyncio.create_task(client.get("/api/ohlcv?symbol=BTC&limit=3")) for _ in range(1000)]
            await asyncio.to_thread(begun.wait, 20)
            gate.set()
            return [response.status_code for response in await asyncio.gather(*asked)]

    assert asyncio.run(ask_all()) == [200] * 1000
    assert live.asked == {("binance_futures", Dataset.INSTRUMENTS): 1, ("binance_futures", Dataset.CANDLES): 1}


def test_threads_that_ask_for_different_things_make_one_call_for_prices(database, clock):
    stock = Stock(database, clock.now())
    for rank in range(1, 13):
        stock.asset(f"A{rank}", f"a{rank}", rank)
    gate, together = threading.Event(), threading.Barrier(12)

    def answer(job):
        gate.wait(10)
        return []

    live = Counting(answer=answer)
    app = application(database, live, REAL, symbols=())

    def ask(number):
        client = client_of(app)
        together.wait(20)
        return client.get(f"/api/prices?symbols=A{number + 1}").status_code

    with ThreadPoolExecutor(12) as threads:
        asked = [threads.submit(ask, number) for number in range(12)]
        together_asked = threading.Timer(0.3, gate.set)
        together_asked.start()
        assert {work.result() for work in asked} == {503}  # nobody has a price
    assert live.asked == {("binance_futures", Dataset.TICKERS): 1}


def test_askers_of_different_lists_share_one_table_of_prices(database, clock):
    stock = Stock(database, clock.now())
    (futures,) = stock.asset("BTC", "bitcoin", 1)
    stock.asset("ETH", "ethereum", 2)
    stock.ticker(futures, "100", ago=90)
    with frozen_market(clock) as simulator, live_on(simulator, clock) as live:
        client = client_of(application(database, live, clock, symbols=()))
        for symbols in ("BTC", "ETH", "BTC,ETH", "ETH,BTC"):
            assert client.get(f"/api/prices?symbols={symbols}").status_code == 200
        client.get("/api/sentiment")
        client.get("/api/market/overview")
        assert simulator.requests["binance_futures", "/fapi/v1/ticker/24hr"] == 1
        assert simulator.requests["coingecko", "/coins/markets"] == 1
