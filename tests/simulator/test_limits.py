"""The simulator's limits: weights, windows, bans and headers as documented, and what it counts."""

import http.client
import json
import socket
import threading
from collections.abc import Mapping
from typing import Any

import pytest

from collector.simulator import Market, Simulator
from collector.simulator.limits import binance_weight
from collector.simulator.wire import Request, Response, json_response

MINUTE_START = 1_767_225_600_000  # 2026-01-01T00:00:00Z
MARKET = Market(seed=7, assets=60)


class Hand:
    """A clock moved by hand."""

    def __init__(self) -> None:
        self.now_ms = MINUTE_START

    def __call__(self) -> int:
        return self.now_ms


def ask(simulator: Simulator, path: str, *, address: str = "127.0.0.1", **query: str) -> Response:
    headers: Mapping[str, str] = {}
    return simulator.answer(Request(method="GET", path=path, query=query, headers=headers, address=address))


def made(clock: Hand, **settings: Any) -> Simulator:
    return Simulator(market=MARKET, now_ms=clock, **settings)


@pytest.mark.parametrize(
    ("path", "query", "weight"),
    [
        ("/fapi/v1/depth", {"limit": "5"}, 2),
        ("/fapi/v1/depth", {"limit": "50"}, 2),
        ("/fapi/v1/depth", {"limit": "100"}, 5),
        ("/fapi/v1/depth", {}, 10),
        ("/fapi/v1/depth", {"limit": "1000"}, 20),
        ("/fapi/v1/klines", {"limit": "99"}, 1),
        ("/fapi/v1/klines", {"limit": "100"}, 2),
        ("/fapi/v1/klines", {"limit": "499"}, 2),
        ("/fapi/v1/klines", {}, 5),
        ("/fapi/v1/klines", {"limit": "1000"}, 5),
        ("/fapi/v1/klines", {"limit": "1500"}, 10),
        ("/fapi/v1/premiumIndex", {"symbol": "BTCUSDT"}, 1),
        ("/fapi/v1/premiumIndex", {}, 10),
        ("/fapi/v1/ticker/24hr", {"symbol": "BTCUSDT"}, 1),
        ("/fapi/v1/ticker/24hr", {}, 40),
        ("/fapi/v1/ticker/bookTicker", {}, 5),
        ("/fapi/v1/openInterest", {"symbol": "BTCUSDT"}, 1),
        ("/fapi/v1/exchangeInfo", {}, 1),
        ("/fapi/v1/fundingRate", {}, 0),
        ("/futures/data/openInterestHist", {"symbol": "BTCUSDT"}, 0),
    ],
)
def test_binance_weights_are_the_documented_ones(path: str, query: dict[str, str], weight: int) -> None:
    assert binance_weight(path, query) == weight


def test_binance_tells_the_used_weight_on_every_answer_and_forgets_it_at_second_zero() -> None:
    clock = Hand()
    simulator = made(clock)
    used = [
        ask(simulator, "/binance/fapi/v1/time"),
        ask(simulator, "/binance/fapi/v1/depth", symbol="BTCUSDT", limit="500"),
        ask(simulator, "/binance/fapi/v1/klines", symbol="NOSUCHUSDT", interval="1m"),
        ask(simulator, "/binance/fapi/v1/fundingInfo"),
    ]
    assert [answer.headers["X-MBX-USED-WEIGHT-1M"] for answer in used] == ["1", "11", "16", "16"]
    clock.now_ms += 59_999
    assert ask(simulator, "/binance/fapi/v1/time").headers["X-MBX-USED-WEIGHT-1M"] == "17"
    clock.now_ms += 1
    assert ask(simulator, "/binance/fapi/v1/time").headers["X-MBX-USED-WEIGHT-1M"] == "1"


def test_binance_refuses_with_429_above_2400_and_bans_after_ten_more_calls() -> None:
    clock = Hand()
    simulator = made(clock)
    for _ in range(60):
        assert ask(simulator, "/binance/fapi/v1/ticker/24hr").status == 200
    first = ask(simulator, "/binance/fapi/v1/ping")
    assert first.status == 429
    assert json.loads(first.body)["code"] == -1003
    assert "Retry-After" not in first.headers
    assert {ask(simulator, "/binance/fapi/v1/ping").status for _ in range(10)} == {429}
    banned = ask(simulator, "/binance/fapi/v1/ping")
    assert banned.status == 418
    assert banned.headers["Retry-After"] == "120"
    assert f"banned until {MINUTE_START + 120_000}" in json.loads(banned.body)["msg"]
    clock.now_ms += 119_999
    assert ask(simulator, "/binance/fapi/v1/ping").status == 418
    clock.now_ms += 1
    assert ask(simulator, "/binance/fapi/v1/ping").status == 200
    assert simulator.refused["binance_futures"] == 13


def test_binance_waiting_for_the_next_minute_after_429_is_enough() -> None:
    clock = Hand()
    simulator = made(clock)
    statuses = [ask(simulator, "/binance/fapi/v1/ticker/24hr").status for _ in range(61)]
    assert statuses == [200] * 60 + [429]
    clock.now_ms += 60_000
    assert ask(simulator, "/binance/fapi/v1/ticker/24hr").status == 200


def test_binance_addresses_do_not_share_a_limit() -> None:
    simulator = made(Hand())
    for _ in range(61):
        ask(simulator, "/binance/fapi/v1/ticker/24hr")
    assert ask(simulator, "/binance/fapi/v1/ping").status == 429
    assert ask(simulator, "/binance/fapi/v1/ping", address="127.0.0.2").status == 200


def test_binance_funding_calls_share_a_pool_of_500_in_five_minutes() -> None:
    clock = Hand()
    simulator = made(clock)
    for number in range(500):
        path = "fundingInfo" if number % 2 else "fundingRate"
        assert ask(simulator, "/binance/fapi/v1/" + path, symbol="BTCUSDT", limit="1").status == 200
    assert ask(simulator, "/binance/fapi/v1/fundingInfo").status == 429
    assert ask(simulator, "/binance/fapi/v1/time").status == 200
    clock.now_ms += 300_000
    assert ask(simulator, "/binance/fapi/v1/fundingInfo").status == 200


def test_binance_statistics_have_a_pool_of_1000_in_five_minutes() -> None:
    simulator = made(Hand())
    query = {"symbol": "BTCUSDT", "period": "5m", "limit": "1"}
    for _ in range(1000):
        assert ask(simulator, "/binance/futures/data/globalLongShortAccountRatio", **query).status == 200
    assert ask(simulator, "/binance/futures/data/openInterestHist", **query).status == 429


def test_okx_rejects_the_21st_ticker_call_within_two_seconds() -> None:
    clock = Hand()
    simulator = made(clock)
    path = "/okx/api/v5/market/ticker"
    assert {ask(simulator, path, instId="BTC-USDT-SWAP").status for _ in range(20)} == {200}
    refused = ask(simulator, path, instId="ETH-USDT-SWAP")
    assert refused.status == 429
    assert json.loads(refused.body) == {"msg": "Too Many Requests", "code": "50011"}
    clock.now_ms += 1_999
    assert ask(simulator, path, instId="BTC-USDT-SWAP").status == 429
    clock.now_ms += 1
    assert ask(simulator, path, instId="BTC-USDT-SWAP").status == 200
    assert simulator.refused == {"okx": 2}


def test_okx_window_rolls_so_a_burst_at_the_edge_is_refused() -> None:
    clock = Hand()
    simulator = made(clock)
    clock.now_ms += 1_900
    for _ in range(40):
        assert ask(simulator, "/okx/api/v5/market/books", instId="BTC-USDT-SWAP").status == 200
    clock.now_ms += 200
    assert ask(simulator, "/okx/api/v5/market/books", instId="BTC-USDT-SWAP").status == 429


def test_okx_gives_each_instrument_its_own_funding_budget() -> None:
    simulator = made(Hand())
    path = "/okx/api/v5/public/funding-rate"
    assert [ask(simulator, path, instId="BTC-USDT-SWAP").status for _ in range(11)] == [200] * 10 + [429]
    assert ask(simulator, path, instId="ETH-USDT-SWAP").status == 200


def test_okx_status_may_be_asked_once_in_five_seconds() -> None:
    clock = Hand()
    simulator = made(clock)
    statuses = []
    for step_ms in (0, 4_999, 1):
        clock.now_ms += step_ms
        statuses.append(ask(simulator, "/okx/api/v5/system/status").status)
    assert statuses == [200, 429, 200]


def test_gecko_without_a_key_allows_30_calls_in_a_minute_and_failed_ones_count() -> None:
    clock = Hand()
    simulator = made(clock)
    for _ in range(15):
        assert ask(simulator, "/coingecko/api/v3/ping").status == 200
        assert ask(simulator, "/coingecko/api/v3/coins/no-such-coin").status == 404
    refused = ask(simulator, "/coingecko/api/v3/ping")
    assert refused.status == 429
    assert refused.headers["Retry-After"] == "60"
    assert json.loads(refused.body)["status"]["error_code"] == 429
    clock.now_ms += 60_000
    assert ask(simulator, "/coingecko/api/v3/ping").status == 200


def test_gecko_limit_without_a_key_is_configurable() -> None:
    simulator = made(Hand(), coingecko_per_minute=5)
    assert [ask(simulator, "/coingecko/api/v3/ping").status for _ in range(6)] == [200] * 5 + [429]


def test_limits_can_be_switched_off() -> None:
    simulator = made(Hand(), limits=False)
    assert {ask(simulator, "/okx/api/v5/public/time").status for _ in range(50)} == {200}
    assert not simulator.refused


def test_limits_may_run_on_another_clock_than_the_market() -> None:
    limits_clock = Hand()
    simulator = made(Hand(), limits_now_ms=limits_clock)
    for _ in range(3):
        assert {ask(simulator, "/okx/api/v5/public/time").status for _ in range(10)} == {200}
        limits_clock.now_ms += 2_000


def test_state_counts_requests_refusals_and_weight() -> None:
    simulator = made(Hand())
    for _ in range(11):
        ask(simulator, "/okx/api/v5/public/time")
    ask(simulator, "/binance/fapi/v1/depth", symbol="BTCUSDT", limit="100")
    body = json.loads(ask(simulator, "/_simulator/state").body)
    assert body["requests"] == {"okx /api/v5/public/time": 11, "binance_futures /fapi/v1/depth": 1}
    assert body["refused"] == {"okx": 1}
    assert body["weights"] == {"binance_futures": {"127.0.0.1": 5}, "binance_spot": {}}
    assert (body["seed"], body["assets"], body["now_ms"]) == (7, 60, MINUTE_START)
    assert simulator.requests["okx", "/api/v5/public/time"] == 11
    assert list(simulator.log)[-1] == (
        MINUTE_START,
        "binance_futures",
        "/fapi/v1/depth",
        {"symbol": "BTCUSDT", "limit": "100"},
        200,
    )


class Meddler:
    """Answers one path itself and marks the others."""

    def before(self, venue: str, path: str, request: Request) -> Response | None:
        return json_response({"down": True}, 503) if path == "/api/v5/public/time" else None

    def after(self, venue: str, path: str, request: Request, response: Response) -> Response:
        return Response(status=response.status, body=response.body + b" ")


def test_an_interceptor_may_answer_before_routing_and_change_the_answer_after() -> None:
    simulator = made(Hand(), interceptor=Meddler())
    assert ask(simulator, "/okx/api/v5/public/time").status == 503
    assert ask(simulator, "/binance/fapi/v1/ping").body == b"{} "


def test_a_slow_answer_holds_up_no_other_connection() -> None:
    with Simulator(market=MARKET, now_ms=Hand(), latency_s=0.5, limits=False) as simulator:
        done = threading.Barrier(21, timeout=5)
        statuses: list[int] = []

        def call() -> None:
            connection = http.client.HTTPConnection("127.0.0.1", simulator.port, timeout=10)
            connection.request("GET", "/okx/api/v5/public/time")
            statuses.append(connection.getresponse().status)
            connection.close()
            done.wait()

        threads = [threading.Thread(target=call) for _ in range(20)]
        for thread in threads:
            thread.start()
        done.wait()  # twenty answers one after the other would take 10 s, twice what the barrier allows
        for thread in threads:
            thread.join()
    assert statuses == [200] * 20


def test_it_can_be_stopped_and_started_again_on_the_same_port() -> None:
    simulator = Simulator(market=MARKET, now_ms=Hand(), limits=False).start()
    port = simulator.port
    simulator.stop()
    simulator.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
    with simulator:
        assert simulator.port == port
        assert simulator.base_urls["okx"] == f"http://127.0.0.1:{port}/okx"


def test_a_taken_port_is_an_error_at_the_start() -> None:
    with Simulator(market=MARKET, now_ms=Hand()) as first:
        second = Simulator(market=MARKET, now_ms=Hand(), port=first.port)
        with pytest.raises(OSError, match="address already in use"):
            second.start()


def test_it_listens_on_loopback_only() -> None:
    with pytest.raises(ValueError, match="loopback"):
        Simulator(market=MARKET, host="0.0.0.0")
