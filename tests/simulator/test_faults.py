"""The simulator's faults: which answers a script hits, what each kind does to an answer, and how it leaves."""

import gzip
import http.client
import json
import socket
from datetime import timedelta
from email.utils import parsedate_to_datetime

import pytest

from collector.clock import SystemClock, from_millis
from collector.simulator import Fault, Faults, Market, Simulator
from collector.simulator.faults import KINDS, SCRIPTS
from collector.simulator.wire import Request, Response
from tests.simulator.client import NOW, Client

CLOCK = SystemClock()
MARKET = Market(7, 45, binance_perpetuals=5, okx_swaps=5)
GOOD = Response(
    status=200, body=b'{"price":"10.50","at":1767225600000}', headers={"Date": "Thu, 01 Jan 2026 00:00:00 GMT"}
)


def lend(*script, seed=1):
    return Simulator(market=MARKET, limits=False, now_ms=lambda: NOW, interceptor=Faults(script, seed))


def told(faults, number, venue="okx", path="/x"):
    """Return the statuses of so many answers."""
    request = Request(method="GET", path=path, query={}, headers={}, address="127.0.0.1")
    return [faults.after(venue, path, request, GOOD).status for _ in range(number)]


def spoiled(kind, document, venue="okx"):
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return KINDS[kind](venue, Response(status=200, body=body, headers=GOOD.headers)).body


# --------------------------------------------------------------------------- which answers


def test_a_fault_hits_the_numbered_requests_of_its_venue_and_path():
    faults = Faults([Fault("error_500", "okx", "/x", first=2, count=2)])
    assert told(faults, 2, path="/y") == [200, 200]
    assert told(faults, 2, venue="coingecko") == [200, 200]
    assert told(faults, 5) == [200, 500, 500, 200, 200]
    assert faults.counts() == {"error_500": 2}


def test_every_third_request_from_the_second_on_is_hit():
    assert told(Faults([Fault("error_500", first=2, every=3)]), 8) == [200, 500, 200, 200, 500, 200, 200, 500]


def test_a_probability_hits_about_its_share_and_the_same_ones_for_the_same_seed():
    once, again, other = (told(Faults([Fault("error_500", probability=0.25)], seed), 2000) for seed in (1, 1, 2))
    assert once == again
    assert once != other
    assert 420 < once.count(500) < 580


def test_the_first_line_that_hits_decides():
    assert told(Faults([Fault("error_500", count=1), Fault("error_503")]), 3) == [500, 503, 503]


def test_an_unknown_kind_or_script_is_refused():
    with pytest.raises(ValueError, match="'error_999' is no kind of fault"):
        Fault("error_999")
    with pytest.raises(ValueError, match="'drizzle' is no script of faults; use one of storm"):
        Faults.named("drizzle")


def test_the_storm_reaches_every_venue_it_names_and_is_the_same_for_a_seed():
    assert {fault.venue for fault in SCRIPTS["storm"]} >= {"coingecko*", "binance_futures", "okx", "*"}
    paths = [("okx", "/api/v5/market/candles"), ("binance_futures", "/fapi/v1/klines"), ("coingecko", "/coins/markets")]
    runs = []
    for _ in range(2):
        faults = Faults.named("storm", 5)
        runs.append([told(faults, 40, venue, path) for venue, path in paths])
    assert runs[0] == runs[1]
    assert all(set(statuses) - {200} for statuses in runs[0])


# --------------------------------------------------------------------------- what is said


@pytest.mark.parametrize(
    ("kind", "status", "retry_after"),
    [
        ("refused_for_seconds", 429, "2"),
        ("refused_until_date", 429, "Thu, 01 Jan 2026 00:00:02 GMT"),
        ("refused_negative", 429, "-5"),
        ("refused_for_ages", 429, "1000000000"),
        ("refused_garbage", 429, "soon, perhaps"),
        ("refused", 429, None),
        ("banned_for_seconds", 418, "180"),
        ("banned", 418, None),
    ],
)
def test_a_refusal_says_when_to_come_back_in_every_way_there_is(kind, status, retry_after):
    answer = KINDS[kind]("okx", GOOD)
    assert (answer.status, answer.headers.get("Retry-After")) == (status, retry_after)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("nan_literal", b'{"p":NaN,"q":NaN,"t":1767225600000}'),
        ("nan_text", b'{"p":"NaN","q":"NaN","t":1767225600000}'),
        ("infinity_literal", b'{"p":Infinity,"q":Infinity,"t":1767225600000}'),
        ("huge_exponent", b'{"p":1e400,"q":1e400,"t":1767225600000}'),
        ("zero_prices", b'{"p":"0.0","q":0.0,"t":1767225600000}'),
        ("negative_prices", b'{"p":"-1.5","q":2.5,"t":1767225600000}'),
        ("wrong_types", b'{"p":["1.5"],"q":[-2.5],"t":1767225600000}'),
        ("future", b'{"p":"1.5","q":-2.5,"t":1767312000000}'),
        (
            "thirty_digits",
            b'{"p":"1.5000000000000000000000123456789","q":-2.5000000000000000000000123456789,"t":1767225600000}',
        ),
    ],
)
def test_numbers_with_a_fraction_and_times_are_changed_and_nothing_else(kind, body):
    assert spoiled(kind, {"p": "1.5", "q": -2.5, "t": 1767225600000}) == body


@pytest.mark.parametrize(
    ("kind", "rows"),
    [
        ("duplicate_rows", [[1], [1], [2], [2], [3], [3], [4], [4]]),
        ("missing_rows", [[1], [3], [4]]),
        ("shuffled_rows", [[2], [4], [1], [3]]),
    ],
)
def test_rows_are_doubled_dropped_or_mixed_in_the_longest_list(kind, rows):
    document = {"code": "0", "few": [[7], [8]], "data": [[1], [2], [3], [4]]}
    assert json.loads(spoiled(kind, document)) == {"code": "0", "few": [[7], [8]], "data": rows}


def test_a_time_in_words_moves_to_tomorrow_too():
    assert spoiled("future", ["2026-01-31T23:00:00.500Z"]) == b'["2026-02-01T23:00:00.500Z"]'


def test_an_unknown_symbol_is_said_in_the_venues_own_words():
    assert json.loads(spoiled("delisted", {}, "okx"))["code"] == "51001"
    assert json.loads(spoiled("delisted", {}, "binance_futures")) == {"code": -1121, "msg": "Invalid symbol."}
    assert KINDS["delisted"]("coingecko", GOOD).status == 404


def test_a_refusal_of_the_venue_itself_is_not_rewritten():
    refused = Response(status=400, body=b'{"code":-1121,"price":"1.5"}')
    assert KINDS["nan_text"]("okx", refused) == refused


# --------------------------------------------------------------------------- how it leaves


def fetch(simulator, path="/okx/api/v5/public/time", limit_s=2.0):
    connection = http.client.HTTPConnection("127.0.0.1", simulator.port, timeout=limit_s)
    try:
        connection.request("GET", path, headers={"Accept-Encoding": "gzip"})
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def test_silence_lasts_until_the_client_leaves_and_holds_up_nobody():
    with lend(Fault("silence", path="/api/v5/public/time")) as simulator:
        with pytest.raises(TimeoutError):
            fetch(simulator, limit_s=0.2)
        assert fetch(simulator, "/binance/fapi/v1/ping")[1] == b"{}"


def test_a_hang_up_is_a_closed_connection_without_a_byte():
    with lend(Fault("hang_up")) as simulator, pytest.raises(http.client.RemoteDisconnected):
        fetch(simulator)


def test_a_reset_comes_after_the_head():
    with lend(Fault("reset_after_head")) as simulator, pytest.raises(ConnectionResetError):
        fetch(simulator)


def test_a_cut_body_is_shorter_than_announced():
    with lend(Fault("cut_body")) as simulator, pytest.raises(http.client.IncompleteRead):
        fetch(simulator)


@pytest.mark.parametrize(("kind", "expected"), [("drip_head", b"HTT"), ("drip_body", b"\r\n\r\n{")])
def test_drips_come_byte_by_byte(kind, expected):
    with lend(Fault(kind)) as simulator, socket.create_connection(("127.0.0.1", simulator.port), 2) as sock:
        sock.sendall(b"GET /okx/api/v5/public/time HTTP/1.1\r\nHost: x\r\n\r\n")
        came, began = b"", CLOCK.monotonic()
        while not came.endswith(expected):
            came += sock.recv(1 if kind == "drip_head" else 4096)
        assert len(came) == 3 if kind == "drip_head" else came.endswith(b"{")
        assert CLOCK.monotonic() - began < 1.5


def test_a_bomb_is_small_on_the_wire_and_huge_when_opened():
    with lend(Fault("gzip_bomb")) as simulator:
        response, body = fetch(simulator, limit_s=10)
    assert response.headers["Content-Encoding"] == "gzip"
    assert len(body) < 200_000
    assert len(gzip.decompress(body)) == 150_000_000


def test_a_redirect_points_to_another_host():
    with lend(Fault("redirect")) as simulator:
        response, _ = fetch(simulator)
    assert (response.status, response.headers["Location"]) == (302, "http://elsewhere.invalid/answer")


def test_the_date_of_a_refusal_is_two_seconds_after_the_simulated_moment():
    with lend(Fault("refused_until_date")) as simulator:
        response, _ = fetch(simulator)
    moment = parsedate_to_datetime(response.headers["Retry-After"])
    assert moment == from_millis(NOW).replace(microsecond=0) + timedelta(seconds=2)


def test_the_state_tells_how_often_each_fault_happened():
    with lend(Fault("null", "okx", count=2), Fault("html", "binance_futures")) as simulator:
        client = Client(simulator)
        for path in ("/okx/api/v5/public/time",) * 3 + ("/binance/fapi/v1/ping",):
            client.get(path)
        assert client.get("/_simulator/state")[1]["faults"] == {"null": 2, "html": 1}
        client.close()
