"""The SDKs over our door: documented paths and queries, our errors unchanged, no key in a URL, no open files left."""

import contextlib
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from collector.clients import BinanceSdk, CoingeckoSdk
from collector.errors import IllegalTransition, RateLimited, RequestRejected, VenueUnreachable
from collector.http import Timeouts
from tests.unit.http_door import COST, door
from tests.unit.http_server import ElasticClock, Server, reply, send_then_close

BINANCE_CALLS = [
    (lambda sdk: sdk.futures_exchange_info(), "/fapi/v1/exchangeInfo"),
    (lambda sdk: sdk.futures_mark_price(), "/fapi/v1/premiumIndex"),
    (lambda sdk: sdk.futures_order_book(symbol="AAAUSDT", limit=50), "/fapi/v1/depth?limit=50&symbol=AAAUSDT"),
    (lambda sdk: sdk.futures_open_interest(symbol="AAAUSDT"), "/fapi/v1/openInterest?symbol=AAAUSDT"),
    (lambda sdk: sdk.futures_v1_get_funding_info(), "/fapi/v1/fundingInfo"),
    (lambda sdk: sdk.futures_ticker(), "/fapi/v1/ticker/24hr"),
    (
        lambda sdk: sdk.futures_funding_rate(symbol="AAAUSDT", startTime=1, limit=500),
        "/fapi/v1/fundingRate?limit=500&startTime=1&symbol=AAAUSDT",
    ),
    (
        lambda sdk: sdk.futures_klines(symbol="AAAUSDT", interval="1m", startTime=1, endTime=2, limit=99),
        "/fapi/v1/klines?endTime=2&interval=1m&limit=99&startTime=1&symbol=AAAUSDT",
    ),
    (
        lambda sdk: sdk.futures_open_interest_hist(symbol="AAAUSDT", period="5m"),
        "/futures/data/openInterestHist?period=5m&symbol=AAAUSDT",
    ),
    (lambda sdk: sdk.get_order_book(symbol="AAAUSDT"), "/api/v3/depth?symbol=AAAUSDT"),
]

COINGECKO_CALLS = [
    (lambda sdk: sdk.get_coins_list(), "/api/v3/coins/list"),
    (
        lambda sdk: sdk.get_coins_markets(vs_currency="usd", per_page=250, page=2),
        "/api/v3/coins/markets?per_page=250&page=2&vs_currency=usd",
    ),
    (lambda sdk: sdk.get_coin_ohlc_by_id(id="aaa", vs_currency="usd", days=1), None),
    (lambda sdk: sdk.get_coin_by_id(id="aaa", tickers=False), "/api/v3/coins/aaa/?tickers=false"),
]


def same_query(target: str) -> tuple[str, set[str]]:
    path, _, query = target.partition("?")
    return path, set(query.split("&"))


@pytest.mark.parametrize(("use", "target"), BINANCE_CALLS, ids=lambda value: value if isinstance(value, str) else "")
def test_python_binance_asks_for_the_documented_paths_as_us(use, target):
    with Server(lambda _: reply(b'[{"price":"0.10"}]')) as server, door(server.url) as venue:
        answer = BinanceSdk(venue).call(use, COST)
        assert answer.body == b'[{"price":"0.10"}]'
        assert [request.target for request in server.log] == [target]
        assert server.log[0].headers["user-agent"].startswith("crypto-data-collector/")


@pytest.mark.parametrize(("use", "target"), COINGECKO_CALLS)
def test_pycoingecko_asks_for_the_documented_paths_with_the_key_in_the_header(use, target):
    headers = {"x-cg-demo-api-key": "CG-canary"}
    with (
        Server(lambda _: reply(b"[1.10]")) as server,
        door(server.url + "/api/v3", headers=headers, secrets=["CG-canary"]) as venue,
    ):
        assert CoingeckoSdk(venue).call(use, COST).body == b"[1.10]"
        sent = server.log[0]
        assert target is None or same_query(sent.target) == same_query(target)
        assert "CG-canary" not in sent.target
        assert sent.headers["x-cg-demo-api-key"] == "CG-canary"
        assert len(server.log) == 1


@pytest.mark.parametrize("sdk_class", [BinanceSdk, CoingeckoSdk])
@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [(200, b'{"error":"gone"}', RequestRejected), (400, b"{}", RequestRejected), (503, b"", VenueUnreachable)],
)
def test_our_errors_reach_the_caller_unchanged(sdk_class, status, body, kind):
    with Server(lambda _: reply(body, status)) as server, door(server.url) as venue:
        with pytest.raises(kind) as caught:
            sdk_class(venue).call(any_call, COST)
        assert caught.value.source == "made_up"


def any_call(sdk: object) -> object:
    return sdk.futures_ticker() if hasattr(sdk, "futures_ticker") else sdk.get_coins_list()


@pytest.mark.parametrize("sdk_class", [BinanceSdk, CoingeckoSdk])
def test_a_refusal_never_makes_the_sdk_sleep_or_repeat(sdk_class):
    clock = ElasticClock()
    with Server(lambda _: reply(b"{}", 418, Retry_After="900")) as server, door(server.url, clock=clock) as venue:
        with pytest.raises(RateLimited):
            sdk_class(venue).call(any_call, COST)
        assert len(server.log) == 1
        assert clock.slept == []


@pytest.mark.parametrize("sdk_class", [BinanceSdk, CoingeckoSdk])
@pytest.mark.parametrize("body", [b"<html>maintenance</html>", b"", b"[1", b"\xff"])
def test_whatever_came_with_a_good_status_is_kept_for_the_parser_to_judge(sdk_class, body):
    with Server(lambda _: reply(body)) as server, door(server.url) as venue:
        assert sdk_class(venue).call(any_call, COST).body == body


def test_what_only_the_sdk_cannot_digest_does_not_lose_the_answer():
    with Server(lambda _: reply(b'{"no_data":1}')) as server, door(server.url) as venue:
        answer = CoingeckoSdk(venue).call(lambda sdk: sdk.get_global(), COST)  # it asks for ["data"]
        assert answer.body == b'{"no_data":1}'


@pytest.mark.parametrize("sdk_class", [BinanceSdk, CoingeckoSdk])
def test_a_call_makes_exactly_one_request(sdk_class):
    with Server(lambda _: reply(b"[]")) as server, door(server.url) as venue:
        sdk = sdk_class(venue)
        with pytest.raises(IllegalTransition, match="made no request"):
            sdk.call(lambda _: None, COST)
        with pytest.raises(IllegalTransition, match="second request"):
            sdk.call(lambda inner: (any_call(inner), any_call(inner)), COST)
        assert len(server.log) == 1
        assert sdk.call(any_call, COST).status == 200


def test_a_cut_answer_is_repeated_by_us_and_not_by_the_sdk():
    todo = [send_then_close(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[")]
    with Server(lambda _: todo.pop() if todo else reply(b"[]")) as server, door(server.url) as venue:
        assert BinanceSdk(venue).call(any_call, COST).body == b"[]"
        assert len(server.log) == 2
        assert venue.counters().retries == 1


def test_threads_never_get_each_others_answers():
    def echo(request):
        return reply(json.dumps({"symbol": request.target.rpartition("=")[2]}).encode())

    patient = Timeouts()  # eight threads on a busy machine
    with Server(echo) as server, door(server.url, timeouts=patient) as venue, ThreadPoolExecutor(8) as pool:
        sdk = BinanceSdk(venue)

        def work(symbol: str) -> list[str]:
            answers = [sdk.call(lambda inner: inner.futures_open_interest(symbol=symbol), COST) for _ in range(20)]
            return [json.loads(answer.body)["symbol"] for answer in answers]

        symbols = [f"S{number}USDT" for number in range(8)]
        answered = list(pool.map(work, symbols))
    assert answered == [[symbol] * 20 for symbol in symbols]


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files can be counted on Linux only")
def test_binance_objects_in_twenty_threads_leave_no_open_files():
    gate = threading.Barrier(21)
    with Server(lambda _: reply(b"[]")) as server, door(server.url) as venue:
        sdk = BinanceSdk(venue)
        before = open_files()

        def work() -> None:
            with contextlib.suppress(IllegalTransition):  # the object is built, no request is made
                sdk.call(lambda _: None, COST)
            gate.wait(10)
            gate.wait(10)

        threads = [threading.Thread(target=work) for _ in range(20)]
        for thread in threads:
            thread.start()
        gate.wait(10)  # all twenty objects exist now
        after = open_files()
        gate.wait(10)
        for thread in threads:
            thread.join(10)
        assert len(sdk._objects._by_session) == 20
        assert after - before == 0
