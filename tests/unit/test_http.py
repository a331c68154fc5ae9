"""The door over real loopback connections: good answers, bounded time and size, errors in words."""

import gc
import gzip
import resource
import socket
import threading
import time
import traceback
import zlib
from pathlib import Path

import pytest

from collector.clock import SystemClock
from collector.errors import (
    AccessDenied,
    ConfigError,
    IllegalTransition,
    PayloadError,
    RequestRejected,
    VenueError,
    VenueUnreachable,
)
from collector.http import Timeouts, redact
from collector.resilience.breaker import NotTried, State
from tests.unit.http_door import COST, door
from tests.unit.http_server import ElasticClock, Server, drip, reply, send_then_close

CLOCK = SystemClock()


def no_repeats(venue) -> None:
    """Use up the retry budget, so that a failing call is made once."""
    venue._retry._retries = 1_000


def fails_within(url: str, seconds: float, **settings) -> VenueError:
    """Return the error of one try, which must come in time."""
    with door(url, **settings) as venue:
        no_repeats(venue)
        began = CLOCK.monotonic()
        with pytest.raises(VenueError) as caught:
            venue.get("/x", {}, COST)
        assert CLOCK.monotonic() - began < seconds
        assert caught.value.source == "made_up"
        assert "\n" not in str(caught.value)
        return caught.value


def test_a_good_answer_comes_with_status_lower_case_headers_body_and_time():
    with Server(lambda _: reply(b'{"a":1}', X_Used="7")) as server, door(server.url) as venue:
        answer = venue.get("/fapi/v1/depth", {"symbol": "AAAUSDT", "limit": 5}, COST)
        assert (answer.status, answer.body, answer.headers["x-used"]) == (200, b'{"a":1}', "7")
        assert answer.received_at.utcoffset().total_seconds() == 0
        sent = server.log[0]
        assert sent.target == "/fapi/v1/depth?symbol=AAAUSDT&limit=5"
        assert sent.headers["user-agent"].startswith("crypto-data-collector/")
        assert sent.headers["accept-encoding"] == "gzip"
        assert "cookie" not in sent.headers


def test_a_compressed_answer_is_decompressed():
    packed = gzip.compress(b'{"a":1}')
    with Server(lambda _: reply(packed, Content_Encoding="gzip")) as server, door(server.url) as venue:
        assert venue.get("/x", {}, COST).body == b'{"a":1}'


def test_one_connection_serves_many_calls_of_a_thread():
    with Server(lambda _: reply()) as server, door(server.url) as venue:
        for _ in range(20):
            venue.get("/x", {}, COST)
        assert (len(server.log), server.connections) == (20, 1)


def test_each_thread_has_its_own_session_and_a_finished_threads_session_is_used_again():
    with Server(lambda _: reply()) as server, door(server.url) as venue:
        sessions = []

        def work() -> None:
            venue.get("/x", {}, COST)
            sessions.append(venue.session())

        for _ in range(5):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        assert len(set(sessions)) == 1
        gate = threading.Barrier(4)
        at_once = []

        def together() -> None:
            at_once.append(venue.session())
            gate.wait()

        threads = [threading.Thread(target=together) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(at_once)) == 4
        assert server.connections == 1


def test_a_path_from_outside_cannot_change_query_or_host():
    with Server(lambda _: reply()) as server, door(server.url) as venue:
        venue.get("/coins/a?key=1#x @other", {"b": "c&d"}, COST)
        assert server.log[0].target == "/coins/a%3Fkey=1%23x%20@other?b=c%26d"
        with pytest.raises(ValueError, match="begins with a slash"):
            venue.get("@other.example/x", {}, COST)


def test_a_session_refuses_another_host_and_a_request_without_a_cost():
    with Server(lambda _: reply()) as server, Server(lambda _: reply()) as other, door(server.url) as venue:
        session = venue.session()
        with pytest.raises(IllegalTransition, match="another place"), session.charging(COST):
            session.get(other.url + "/x")
        with pytest.raises(IllegalTransition, match="without a cost"):
            session.get(server.url + "/x")
        assert (server.log, other.log) == ([], [])


@pytest.mark.parametrize("target", ["https://127.0.0.1:{port}/x", "http://elsewhere.example/x", "/other", "", "//h/x"])
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(status, target):
    with Server(lambda _: reply(b"", status, Location=target.format(port=server.port))) as server:
        error = fails_within(server.url, 0.5)
        assert type(error) is VenueError
        assert error.status == status
        assert "not followed" in str(error)
        assert (len(server.log), server.connections) == (1, 1)


# ------------------------------------------------------------------ time


def test_a_body_that_drips_ends_at_the_deadline():
    slow = drip(b"x", 0.05, first=b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    with Server(lambda _: slow) as server:
        error = fails_within(server.url, 0.45 + 0.5)
        assert isinstance(error, VenueUnreachable)
        assert str(error) == f"no complete answer from 127.0.0.1:{server.port} within 0.45 s"


def test_a_dripping_body_without_length_is_not_taken_for_a_whole_one():
    slow = drip(b"1", 0.05, first=b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    with Server(lambda _: slow) as server:
        assert "no complete answer" in str(fails_within(server.url, 0.95))


def test_chunks_that_drip_end_at_the_deadline():
    slow = drip(b"1\r\nx\r\n", 0.05, first=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    with Server(lambda _: slow) as server:
        assert "no complete answer" in str(fails_within(server.url, 0.95))


def test_headers_that_drip_end_at_the_deadline():
    slow = drip(b"X-A: b\r\n", 0.05, first=b"HTTP/1.1 200 OK\r\n")
    with Server(lambda _: slow) as server:
        assert "no complete answer" in str(fails_within(server.url, 0.95))


def test_a_status_line_that_drips_ends_at_the_deadline_on_a_kept_connection_too():
    slow = drip(b"H", 0.05)
    with Server(lambda request: reply() if request.target == "/good" else slow) as server, door(server.url) as venue:
        no_repeats(venue)
        venue.get("/good", {}, COST)
        began = CLOCK.monotonic()
        with pytest.raises(VenueUnreachable, match="no complete answer"):
            venue.get("/bad", {}, COST)
        assert 0.4 < CLOCK.monotonic() - began < 0.95
        assert server.connections == 1
        assert venue.get("/good", {}, COST).status == 200  # on a new connection
        assert server.connections == 2


def test_a_silent_peer_ends_at_the_read_timeout():
    with Server(lambda _: drip(b"", 5)) as server:
        error = fails_within(server.url, 0.7)
        assert str(error) == f"no answer from 127.0.0.1:{server.port} within 0.25 s"


def test_a_peer_that_never_greets_in_tls_ends_in_time():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        error = fails_within(f"https://127.0.0.1:{silent.getsockname()[1]}", 0.95)
        assert isinstance(error, VenueUnreachable)


def test_a_full_backlog_ends_at_the_connect_timeout():
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        error = fails_within(f"http://127.0.0.1:{port}", 0.9)
        for filler in fillers:
            filler.close()
        assert str(error) == f"no connection to 127.0.0.1:{port} within 0.25 s"


def test_the_deadline_of_one_call_does_not_hit_the_next_on_the_same_connection():
    timeouts = Timeouts(connect=1, read=1, total=0.15)
    with Server(lambda _: reply()) as server, door(server.url, timeouts=timeouts) as venue:
        end = CLOCK.monotonic() + 0.6
        while CLOCK.monotonic() < end:
            assert venue.get("/x", {}, COST).status == 200
            CLOCK.sleep(0.01)
        assert server.connections == 1


def test_many_calls_at_once_all_end_at_their_deadline():
    slow = drip(b"x", 0.05, first=b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    with Server(lambda _: slow) as server, door(server.url) as venue:
        no_repeats(venue)
        took = []

        def work() -> None:
            began = CLOCK.monotonic()
            with pytest.raises(VenueUnreachable):
                venue.get("/x", {}, COST)
            took.append(CLOCK.monotonic() - began)

        threads = [threading.Thread(target=work) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(5)
        assert len(took) == 16
        assert max(took) < 0.45 + 0.5


def test_closing_ends_running_calls_at_once():
    slow = drip(b"x", 0.05, first=b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    errors = []
    with Server(lambda _: slow) as server, door(server.url, timeouts=Timeouts()) as venue:

        def work() -> None:
            try:
                venue.get("/x", {}, COST)
            except VenueUnreachable as error:
                errors.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        while not server.log:
            CLOCK.sleep(0.01)
        venue.close()
        thread.join(1)
        assert not thread.is_alive()
        assert "the collector stops" in str(errors[0])
        with pytest.raises(NotTried, match="stopping"):
            venue.get("/x", {}, COST)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files can be counted on Linux only")
def test_after_closing_no_file_is_open_and_nothing_waits_for_the_garbage_collector():
    slow = drip(b"x", 0.05, first=b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    gc.disable()
    try:
        with Server(lambda request: slow if request.target == "/slow" else reply()) as server:
            before = len(list(Path("/proc/self/fd").iterdir()))
            with door(server.url, clock=SystemClock()) as venue:
                no_repeats(venue)

                def work() -> None:
                    venue.get("/x", {}, COST)
                    with pytest.raises(VenueUnreachable):
                        venue.get("/slow", {}, COST)

                threads = [threading.Thread(target=work) for _ in range(4)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join(5)
                venue.get("/x", {}, COST)
        assert len(list(Path("/proc/self/fd").iterdir())) <= before - 1  # the server's own listener is gone too
    finally:
        gc.enable()


# ------------------------------------------------------------------ size and broken answers


def bomb(megabytes: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = b" " * 1_000_000
    return b"".join(packer.compress(block) for _ in range(megabytes)) + packer.flush()


def test_a_decompression_bomb_is_refused_before_it_unfolds():
    packed = bomb(150)
    assert len(packed) < 200_000
    with Server(lambda _: reply(packed, Content_Encoding="gzip")) as server:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        error = fails_within(server.url, 2.0, timeouts=Timeouts())
        grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        assert "more than 20971520 bytes" in str(error)
        assert grown_mb < 40
        assert error.verdict is not VenueUnreachable.verdict


def test_a_bomb_in_chunks_is_refused_too():
    packed = bomb(150)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"%x\r\n%s\r\n0\r\n\r\n" % (len(packed), packed)
    with Server(lambda _: send_then_close(head + chunk)) as server:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        error = fails_within(server.url, 2.0, timeouts=Timeouts())
        grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        assert "more than 20971520 bytes" in str(error)
        assert grown_mb < 40


def test_chunks_make_a_whole_body():
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[1,\r\n2\r\n2]\r\n0\r\n\r\n"
    with Server(lambda _: send_then_close(data)) as server, door(server.url) as venue:
        assert venue.get("/x", {}, COST).body == b"[1,2]"


def test_a_body_above_the_cap_is_refused_by_its_announced_length():
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n"
    with Server(lambda _: drip(b"", 5, first=head)) as server:
        assert "more than 20971520 bytes" in str(fails_within(server.url, 0.3))


def test_a_body_of_exactly_the_cap_is_accepted_and_one_byte_more_is_not():
    bodies = {"/fits": b"x" * 1000, "/not": b"x" * 1001}
    with Server(lambda r: reply(bodies[r.target])) as server, door(server.url, max_body=1000) as venue:
        assert len(venue.get("/fits", {}, COST).body) == 1000
        with pytest.raises(VenueError, match="more than 1000 bytes"):
            venue.get("/not", {}, COST)
        assert len(venue.get("/fits", {}, COST).body) == 1000


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n12345", "is cut off (5 bytes came, 95 were missing)"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n", "is cut off"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd", "cannot be decompressed"),
        (b"", "closed the connection without a full answer"),
        (b"HTTP/1.1 200 OK\r\nX-A", "is cut off"),
        (b"nonsense\r\n\r\n", "does not speak HTTP"),
    ],
)
def test_a_broken_answer_is_unreachable_in_one_line(data, text):
    with Server(lambda _: send_then_close(data)) as server:
        error = fails_within(server.url, 1)
        assert isinstance(error, VenueUnreachable)
        assert text in str(error)


def test_a_reset_after_the_headers_is_unreachable():
    def script(sock: socket.socket, _closing: threading.Event) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n123")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")

    with Server(lambda _: script) as server:
        error = fails_within(server.url, 1)
        assert isinstance(error, VenueUnreachable)


def test_a_refused_connection_names_the_place():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    error = fails_within(f"http://127.0.0.1:{port}", 0.5)
    assert str(error) == f"127.0.0.1:{port} refuses connections"


def test_a_name_that_cannot_be_resolved_is_named(monkeypatch):
    def no_such_name(*_args, **_kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_such_name)
    error = fails_within("http://api.x.invalid", 0.5)
    assert str(error) == "cannot resolve api.x.invalid"


def test_a_name_server_that_does_not_answer_costs_the_connect_timeout(monkeypatch):
    over = threading.Event()

    def never_in_time(*_args, **_kwargs):
        over.wait(10)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", never_in_time)
    error = fails_within("http://api.x.invalid", 0.9)
    over.set()
    assert str(error) == "cannot resolve api.x.invalid"


# ------------------------------------------------------------------ what an answer stands for


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, RequestRejected),
        (401, AccessDenied),
        (403, AccessDenied),
        (404, RequestRejected),
        (408, VenueUnreachable),
        (422, RequestRejected),
        (451, AccessDenied),
        (500, VenueUnreachable),
        (502, VenueUnreachable),
        (503, VenueUnreachable),
        (504, VenueUnreachable),
    ],
)
@pytest.mark.parametrize("body", [b"", b"<html>blocked</html>", b'{"code":0,"msg":"x"}'])
def test_a_status_without_an_envelope_is_classified(status, kind, body):
    with Server(lambda _: reply(body, status)) as server:
        error = fails_within(server.url, 1)
        assert type(error) is kind
        assert error.status == status
        assert str(error).startswith(f"HTTP {status}")
        assert "<" not in str(error)


def test_the_check_of_the_source_comes_first():
    with Server(lambda _: reply(b'{"error":"gone"}', 500)) as server:
        error = fails_within(server.url, 1)
        assert isinstance(error, RequestRejected)
        assert (error.symbol_gone, error.status) == (True, 500)


def test_an_error_envelope_with_status_200_is_an_error():
    with Server(lambda _: reply(b'{"error":"gone"}')) as server:
        assert isinstance(fails_within(server.url, 1), RequestRejected)


def test_a_check_that_cannot_read_an_error_page_leaves_it_to_the_status():
    def check(_answer):
        raise PayloadError("not JSON")

    with Server(lambda _: reply(b"<html>", 503)) as server:
        error = fails_within(server.url, 1, check=check)
        assert isinstance(error, VenueUnreachable)
        assert isinstance(error.__cause__, PayloadError)
    with Server(lambda _: reply(b"<html>", 200)) as server, door(server.url, check=check) as venue:
        with pytest.raises(PayloadError):
            venue.get("/x", {}, COST)
        assert venue.breaker.state is State.CLOSED


def test_the_used_weight_of_the_provider_corrects_the_quota():
    with Server(lambda _: reply(X_Used="60")) as server, door(server.url, limit=100) as venue:
        venue.get("/x", {}, COST)
        assert venue.quota.state().uses[0].used == 60


# ------------------------------------------------------------------ repeats, breaker, counters, cycle


def test_a_server_failure_is_tried_three_times_and_counted():
    clock = ElasticClock()
    with Server(lambda _: reply(b"", 503)) as server, door(server.url, clock=clock) as venue:
        with pytest.raises(VenueUnreachable, match="HTTP 503"):
            venue.get("/x", {}, COST)
        assert len(server.log) == 3
        counters = venue.counters()
        assert (counters.requests, counters.retries, counters.refused) == (3, 2, 0)
        assert len(clock.slept) == 2
        venue.begin(clock.monotonic() + 60)
        assert venue.counters().requests == 0


def test_a_rejected_request_is_made_once():
    with Server(lambda _: reply(b"", 400)) as server, door(server.url) as venue:
        with pytest.raises(RequestRejected):
            venue.get("/x", {}, COST)
        assert len(server.log) == 1


def test_a_dead_provider_costs_few_tries_and_then_nothing():
    with Server(lambda _: reply(b"", 500)) as server, door(server.url) as venue:
        errors = []
        for _ in range(100):
            try:
                venue.get("/x", {}, COST)
            except VenueUnreachable as error:
                errors.append(error)
        assert len(errors) == 100
        assert len(server.log) == 5  # the breaker opens at the fifth failure in a row
        assert sum(isinstance(error, NotTried) for error in errors) >= 96


def test_nothing_is_sent_after_the_time_of_the_cycle():
    clock = ElasticClock()
    with Server(lambda _: reply()) as server, door(server.url, clock=clock) as venue:
        venue.begin(clock.monotonic() - 0.001)
        with pytest.raises(VenueError, match="the time for calls is over") as caught:
            venue.get("/x", {}, COST)
        assert caught.value.source == "made_up"
        assert server.log == []


def test_waiting_for_the_quota_is_counted():
    clock = ElasticClock()
    with Server(lambda _: reply()) as server, door(server.url, clock=clock, limit=2) as venue:
        venue.get("/x", {}, COST)
        venue.get("/x", {}, COST)
        assert venue.counters().waited_s == pytest.approx(60, abs=2)


# ------------------------------------------------------------------ secrets, environment, events

CANARY = "CG-canary/+ key=42"


def test_the_key_travels_in_its_header_and_is_in_no_error_event_or_traceback():
    events = []

    def echo(request):
        key = request.headers["x-cg-demo-api-key"]
        return reply(f'bad key "{key}" (api_key={key})'.encode(), 401)

    settings = {"headers": {"x-cg-demo-api-key": CANARY}, "secrets": [CANARY]}
    settings["on_event"] = lambda event, /, **fields: events.append((event, fields))
    with Server(echo) as server, door(server.url, **settings) as venue:
        with pytest.raises(AccessDenied) as caught:
            venue.get("/x", {"q": CANARY}, COST)
        assert server.log[0].headers["x-cg-demo-api-key"] == CANARY
        text = "".join(traceback.format_exception(caught.value)) + repr(events)
        assert "bad key" in text
        for form in (CANARY, "CG-canary", "canary%2F"):
            assert form not in text


def test_foreign_errors_behind_ours_are_clean_too():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with door(f"http://127.0.0.1:{port}", secrets=[CANARY]) as venue:
        no_repeats(venue)
        with pytest.raises(VenueUnreachable) as caught:
            venue.get("/x", {"api_key": CANARY}, COST)
        assert caught.value.__cause__ is not None
        text = "".join(traceback.format_exception(caught.value))
        assert "CG-canary" not in text
        assert "api_key=***" in text


def test_a_key_that_cannot_be_a_header_is_refused_without_showing_it():
    text = "made_up: the value of the header x-key cannot be sent"
    for value in ("CANARY\n", "CANÀRY", " CANARY", "CANARY\x00b"):
        with pytest.raises(ConfigError, match=text) as caught, door("http://127.0.0.1:1", headers={"x-key": value}):
            pytest.fail("built")
        assert "CAN" not in str(caught.value)


def test_redaction_knows_quoted_forms_key_parameters_and_logins():
    assert redact("GET /a?x=s%2Fcret&y=1", ["s/cret"]) == "GET /a?x=***&y=1"
    assert redact("http://me:pass@proxy:8080/") == "http://***@proxy:8080/"
    assert redact("u?x_cg_demo_api_key=CG-1&b=2") == "u?x_cg_demo_api_key=***&b=2"
    assert redact("nothing here", [""]) == "nothing here"


def test_proxies_of_the_environment_are_used_and_netrc_is_not(monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("default login me password hunter2\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with Server(lambda _: reply()) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        with door("http://api.x.invalid") as venue:
            assert venue.get("/v1", {}, COST).status == 200
        assert proxy.log[0].target == "http://api.x.invalid/v1"
        assert "authorization" not in proxy.log[0].headers


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_provider_on_this_machine_is_asked_without_the_proxy(monkeypatch, host):
    monkeypatch.setenv("http_proxy", "http://proxy.x.invalid:8080")
    with Server(lambda _: reply(b"[1]")) as server, door(server.url.replace("127.0.0.1", host)) as venue:
        assert venue.get("/x", {}, COST).body == b"[1]"


@pytest.mark.parametrize(
    ("url", "proxied"),
    [
        ("http://127.9.9.9:1", False),
        ("http://[::1]:1/x", False),
        ("http://LOCALHOST:1", False),
        ("http://10.0.0.1", True),
        ("http://localhost.x.invalid", True),
    ],
)
def test_only_addresses_of_this_machine_leave_the_proxy_out(monkeypatch, url, proxied):
    monkeypatch.setenv("http_proxy", "http://proxy.x.invalid:8080")
    with door(url) as venue:
        assert ("http" in venue._sending["proxies"]) is proxied


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_refuses_is_named_without_its_login(monkeypatch, scheme):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv(f"{scheme}_proxy", f"http://me:hunter2@127.0.0.1:{port}")
    error = fails_within(f"{scheme}://api.x.invalid", 0.5)
    assert isinstance(error, VenueUnreachable)
    assert str(error) == f"the proxy 127.0.0.1:{port} on the way to api.x.invalid refuses connections"


def test_a_proxy_that_opens_no_tunnel_is_named(monkeypatch):
    with Server(lambda _: reply(b"", 403)) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        where = proxy.url.removeprefix("http://")
        error = fails_within("https://api.x.invalid", 1)
        assert str(error) == f"the proxy {where} on the way to api.x.invalid gives no connection"


def test_a_proxy_that_was_in_between_is_named_when_the_answer_breaks(monkeypatch):
    answers = {"/none": b"", "/part": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n12345"}
    with Server(lambda r: send_then_close(answers[r.target.removeprefix("http://api.x.invalid")])) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        where = proxy.url.removeprefix("http://")
        with door("http://api.x.invalid") as venue:
            with pytest.raises(VenueUnreachable) as none:
                venue.get("/none", {}, COST)
            with pytest.raises(VenueUnreachable) as part:
                venue.get("/part", {}, COST)
    assert str(none.value).startswith(f"the proxy {where} on the way to api.x.invalid closed the connection")
    assert str(part.value).startswith(f"the answer of api.x.invalid (through the proxy {where}) is cut off")


def test_each_call_is_told_to_the_event_hook():
    events = []
    hook = lambda event, /, **fields: events.append((event, fields))  # noqa: E731
    with (
        Server(lambda r: reply(b"{}", 200 if r.target == "/a?b=1" else 404)) as server,
        door(server.url, on_event=hook) as venue,
    ):
        venue.get("/a", {"b": 1}, COST)
        with pytest.raises(RequestRejected):
            venue.get("/c", {}, COST)
    assert [name for name, _ in events] == ["call_answered", "call_answered", "call_failed"]
    assert {k: events[0][1][k] for k in ("path", "status", "bytes")} == {"path": "/a?b=1", "status": 200, "bytes": 2}
    assert events[2][1]["tries"] == 1


def test_the_spelling_of_the_host_does_not_matter():
    with Server(lambda _: reply()) as server, door(server.url.replace("http://127.0.0.1", "HTTP://LOCALHOST")) as venue:
        assert venue.get("/x", {}, COST).status == 200


@pytest.mark.parametrize("url", ["api.x.invalid", "ftp://api.x.invalid", "http://", "https:///api"])
def test_an_address_that_is_none_is_a_configuration_error(url):
    with pytest.raises(ConfigError, match="made_up: base_url"), door(url):
        pytest.fail("built")


def test_timeouts_default_to_the_published_numbers():
    assert (Timeouts().connect, Timeouts().read, Timeouts().total) == (3.0, 10.0, 15.0)


def test_calls_are_cheap():
    with Server(lambda _: reply(b'{"a":1}')) as server, door(server.url, clock=SystemClock()) as venue:
        venue.get("/x", {}, COST)
        began = time.thread_time()
        for _ in range(200):
            venue.get("/x", {}, COST)
        assert (time.thread_time() - began) / 200 < 0.0024  # measured 0.5 ms; this only catches a tenfold mistake
