"""The server: its address, a port that is taken, and an end that waits for nobody for long."""

import socket
import threading

import httpx2
import pytest
from fastapi import FastAPI, Request

from collector.api.serve import CONNECTIONS, address, build_server, listen
from collector.clock import SystemClock
from collector.errors import ConfigError
from tests.api.streaming import wait_until


def test_a_port_that_is_taken_is_one_line_with_key_value_and_remedy():
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(ConfigError) as refused:
            listen("127.0.0.1", port)
    text = str(refused.value)
    assert text.startswith(f"api.port: {port} on 127.0.0.1 cannot be used")
    assert "Address already in use" in text
    assert "PORT" in text
    assert "\n" not in text


def test_a_host_that_is_not_of_this_machine_is_one_line_too():
    with pytest.raises(ConfigError, match=r"api\.port: 8000 on 192\.0\.2\.1 cannot be used"):
        listen("192.0.2.1", 8000)
    with pytest.raises(ConfigError, match=r"api\.host: '300\.1\.1\.1' is no address"):
        listen("300.1.1.1", 8000)


def test_the_address_is_one_that_can_be_opened():
    with listen("127.0.0.1", 0) as opened:
        assert address(opened) == f"http://127.0.0.1:{opened.getsockname()[1]}"
    with listen("0.0.0.0", 0) as opened:
        assert address(opened).startswith("http://127.0.0.1:")


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_an_ipv6_address_is_written_in_brackets():
    try:
        with listen("::1", 0) as opened:
            assert address(opened).startswith("http://[::1]:")
    except ConfigError:
        pytest.skip("this machine has no ::1")


def test_nothing_of_the_server_is_told_and_proxies_are_not_believed():
    app = FastAPI()

    @app.get("/who")
    async def who(request: Request) -> str:
        return request.client.host

    opened = listen("127.0.0.1", 0)
    server = build_server(app, streams=3)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]})
    thread.start()
    wait_until(lambda: server.started, "the server")
    answer = httpx2.get(f"{address(opened)}/who", headers={"x-forwarded-for": "9.9.9.9"})
    assert answer.json() == "127.0.0.1"
    assert "server" not in answer.headers
    assert server.config.limit_concurrency == CONNECTIONS + 3
    began = SystemClock().monotonic()
    server.stop()
    thread.join(5)
    assert not thread.is_alive()
    assert SystemClock().monotonic() - began < 2
    opened.close()
