"""The simulator as an HTTP server: marks, compression, unknown paths and malformed requests."""

import gzip
import http.client
import json
import socket
from urllib.parse import urlencode

import pytest

from collector.simulator import Simulator
from tests.simulator.client import Client


def test_every_answer_is_marked_as_simulated_and_every_name_says_so(client: Client) -> None:
    for path in ("/binance/fapi/v1/ping", "/okx/api/v5/public/time", "/coingecko/api/v3/ping", "/nowhere"):
        assert client.get(path)[2]["x-simulated"] == "true"
    _, coins, _ = client.get("/coingecko/api/v3/coins/list")
    assert all(row["name"].endswith(" (simulated)") for row in coins)


@pytest.mark.parametrize("path", ["/binance/fapi/v1/nothing", "/okx/api/v5/nothing", "/coingecko/api/v3/nothing", "/x"])
def test_an_unknown_path_is_404(client: Client, path: str) -> None:
    assert client.get(path)[0] == 404


def test_big_answers_are_compressed_when_asked_for(simulator: Simulator) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", simulator.port, timeout=10)
    connection.request("GET", "/binance/fapi/v1/exchangeInfo", headers={"Accept-Encoding": "gzip"})
    response = connection.getresponse()
    assert response.getheader("Content-Encoding") == "gzip"
    assert json.loads(gzip.decompress(response.read()))["timezone"] == "UTC"
    connection.request("GET", "/binance/fapi/v1/ping", headers={"Accept-Encoding": "gzip"})
    small = connection.getresponse()
    assert small.getheader("Content-Encoding") is None
    assert small.read() == b"{}"
    connection.close()


@pytest.mark.parametrize(
    "raw",
    [
        b"NONSENSE\r\n\r\n",
        b"GET /okx HTTP/3\r\n\r\n",
        b"GET okx HTTP/1.1\r\n\r\n",
        b"GET /okx?a=%ff HTTP/1.1\r\n\r\n",
        b"GET /okx/%fe HTTP/1.1\r\n\r\n",
        b"GET /okx HTTP/1.1\r\nno colon\r\n\r\n",
        b"POST /okx HTTP/1.1\r\nContent-Length: many\r\n\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
    ],
)
def test_a_malformed_request_gets_400_and_the_server_lives_on(simulator: Simulator, client: Client, raw: bytes) -> None:
    with socket.create_connection(("127.0.0.1", simulator.port), timeout=10) as connection:
        connection.sendall(raw)
        assert connection.recv(100).startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert client.get("/binance/fapi/v1/ping")[0] == 200


@pytest.mark.parametrize("value", ["", "-1", "abc", "9" * 40, "1e3", "٣"])
@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/binance/fapi/v1/klines?symbol=BTCUSDT&interval=1m", "limit"),
        ("/binance/fapi/v1/klines?symbol=BTCUSDT&interval=1m", "startTime"),
        ("/binance/fapi/v1/fundingRate?symbol=BTCUSDT", "startTime"),
        ("/okx/api/v5/market/candles?instId=BTC-USDT-SWAP", "after"),
        ("/okx/api/v5/market/books?instId=BTC-USDT-SWAP", "sz"),
        ("/coingecko/api/v3/coins/markets?vs_currency=usd", "per_page"),
        ("/coingecko/api/v3/coins/bitcoin/market_chart?vs_currency=usd", "days"),
    ],
)
def test_nonsense_parameters_are_answered_and_never_break_the_server(
    client: Client, path: str, name: str, value: str
) -> None:
    status, _, _ = client.get(f"{path}&{urlencode({name: value})}")
    assert status in {200, 400, 422}
