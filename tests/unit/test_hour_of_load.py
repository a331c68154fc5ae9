"""An hour of calls without end against each limit as the simulator counts it: none refused, nine tenths used.

The clock moves only when told, so an hour takes a second. Eight at once, each call takes 80 ms.
"""

import pytest

from collector.clock import ManualClock, to_millis
from collector.config import load_settings
from collector.resilience.quota import Quota
from collector.simulator.limits import BinanceLimits, CoinGeckoLimits, OkxLimits
from collector.simulator.wire import Request
from collector.sources import SOURCES
from collector.sources.base import Cost
from tests.conftest import NOW

HOUR_S = 3600.0
LATENCY_S = 0.08


def request(path, **query):
    return Request(method="GET", path=path, query=query, headers={}, address="127.0.0.1")


def binance(now_ms, limits=BinanceLimits()):  # noqa: B008 - one server
    return limits.refuse(request("/fapi/v1/klines", symbol="BTCUSDT", limit="499"), "/fapi/v1/klines", now_ms)


def gecko(now_ms, limits=CoinGeckoLimits(public=30, demo=30, pro=500)):  # noqa: B008 - one server
    return limits.refuse("demo", "key", now_ms)


def okx(now_ms, limits=OkxLimits()):  # noqa: B008 - one server
    return limits.refuse(request("/api/v5/market/candles", instId="BTC-USDT-SWAP"), "/api/v5/market/candles", now_ms)


@pytest.mark.parametrize(
    ("source", "plan", "scope", "weight", "server", "of_an_hour"),
    [
        ("binance_futures", "public", "weight", 2, binance, 2400 * 60),
        ("coingecko", "demo", "calls", 1, gecko, 30 * 60),
        ("okx", "public", "candles", 1, okx, 40 * 1800),
    ],
)
def test_an_hour_of_load_is_never_refused_and_uses_nine_tenths_of_the_limit(
    source, plan, scope, weight, server, of_an_hour
):
    clock = ManualClock(NOW)
    limits = [limit for limit in SOURCES[source].plans[plan].limits if limit.window.total_seconds() <= HOUR_S]
    quota = Quota(limits, clock=clock, reserve=load_settings(environment={})[0].http.reserve_pct / 100)
    end, used, refused = clock.monotonic() + HOUR_S, 0, 0
    parallel = 0
    while True:
        quota.acquire(Cost(scope=scope, weight=weight), end + HOUR_S)
        if clock.monotonic() >= end:
            break
        refused += server(to_millis(clock.now())) is not None
        used += weight
        quota.observe(LATENCY_S)
        parallel = (parallel + 1) % 8  # eight threads: the clock moves on after every eighth call
        if parallel == 0:
            clock.advance(LATENCY_S)
    assert refused == 0
    assert used >= 0.9 * of_an_hour
