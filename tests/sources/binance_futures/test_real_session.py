"""Binance futures over the whole real path: our session, python-binance inside it, and a server on loopback."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from collector.clients import BinanceSdk
from collector.clock import SystemClock
from collector.errors import RateLimited, RequestRejected
from collector.http import Venue
from collector.records import Dataset, Interval
from collector.resilience.breaker import Breaker
from collector.resilience.quota import Quota
from collector.sources.binance_futures import LIMITS, BinanceFuturesCollector
from tests.sources.binance_futures.samples import BTC, NOON, body, instrument, job

BAN_ENDS = (SystemClock().now() + timedelta(hours=2)).replace(microsecond=0)  # the suite may take a while to get here
BAN_ENDS_MS = round(BAN_ENDS.timestamp() * 1000)
ANSWERS = {
    "/fapi/v1/klines?endTime=1772452859999&interval=1m&limit=4&startTime=1772452620000&symbol=BTCUSDT": (
        200,
        "candles__normal",
    ),
    "/fapi/v1/fundingInfo": (200, "funding_terms__normal"),
    "/fapi/v1/fundingRate?limit=1000&symbol=BTCUSDT": (200, "funding__error"),
    "/fapi/v1/openInterest?symbol=BTCUSDT": (418, "ban"),
    "/fapi/v1/openInterest?symbol=%E5%B8%81USDT": (400, "open_interest__error"),
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        status, name = ANSWERS[self.path]
        content = b'{"code": -1003, "msg": "IP banned until %d."}' % BAN_ENDS_MS if name == "ban" else body(name)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("X-MBX-USED-WEIGHT-1M", "37")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def collector() -> Iterator[BinanceFuturesCollector]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    clock = SystemClock()
    venue = Venue(
        source="binance_futures",
        base_url=f"http://127.0.0.1:{server.server_port}",
        check=BinanceFuturesCollector.check,
        used_weight=BinanceFuturesCollector.used_weight,
        quota=Quota(LIMITS, clock=clock),
        breaker=Breaker(clock=clock),
        clock=clock,
    )
    yield BinanceFuturesCollector(BinanceSdk(venue))
    venue.close()
    server.shutdown()
    thread.join()
    server.server_close()


def test_candles_arrive_with_every_digit(collector):
    work = job(
        Dataset.CANDLES, BTC, interval=Interval.M1, since=NOON - timedelta(minutes=3), until=NOON + timedelta(minutes=1)
    )
    (page,) = collector.fetch(work)
    records = collector.parsers[Dataset.CANDLES](page)
    assert page.body == body("candles__normal")
    assert [str(record.close) for record in records] == ["66420.30", "66440.00", "66450.10", "66449.80"]


def test_terms_are_read_by_the_generated_method_of_the_sdk(collector):
    pepe = instrument("1000PEPEUSDT", "1000PEPE")
    (page,) = collector.fetch(job(Dataset.FUNDING_TERMS, pepe))
    (terms,) = collector.parsers[Dataset.FUNDING_TERMS](page)
    assert terms.interval_hours == Decimal(4)


def test_an_error_object_with_status_200_is_refused(collector):
    with pytest.raises(RequestRejected, match="99099990: illegal params"):
        list(collector.fetch(job(Dataset.FUNDING, BTC)))


def test_a_symbol_outside_ascii_is_asked_for_and_its_loss_is_noticed(collector):
    with pytest.raises(RequestRejected) as caught:
        list(collector.fetch(job(Dataset.OPEN_INTEREST, instrument("币USDT", "币"))))
    assert caught.value.symbol_gone


def test_a_ban_comes_through_with_its_end(collector):
    with pytest.raises(RateLimited) as caught:
        list(collector.fetch(job(Dataset.OPEN_INTEREST, BTC)))
    assert caught.value.banned
    assert abs(caught.value.retry_at - BAN_ENDS) < timedelta(seconds=1)  # it went through seconds as a float
