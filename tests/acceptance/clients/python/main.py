"""Calls every endpoint, checks every field, provokes every refusal; prints one line of JSON. `main.py <address>`"""

import json
import sys
from collections.abc import Callable
from typing import Any

from unified_client import Misshapen, Refused, UnifiedClient

SPELLINGS = ("BTC", "BTCUSDT", "BTC/USDT", "BTC-USDT")
INTERVALS = {"1m": 60_000, "1h": 3_600_000, "1d": 86_400_000}
SENTIMENTS_A_MINUTE = 30


def demand(condition: bool, what: str) -> None:
    if not condition:
        raise Misshapen(what)


def check_health(client: UnifiedClient) -> dict[str, Any]:
    found = client.health()
    demand(bool(found["providers"]), "health names no provider")
    demand(0 <= found["cache"]["hitRate"] <= 1, "the hit rate is a share")
    return {"status": found["status"], "providers": [provider["name"] for provider in found["providers"]]}


def check_candles(client: UnifiedClient) -> dict[str, Any]:
    by_default = client.ohlcv("ETH")
    demand((by_default["symbol"], by_default["interval"]) == ("ETHUSDT", "1h"), "1h is the default")
    demand(by_default["count"] == len(by_default["data"]) <= 100, "100 is the default")
    for interval, width in INTERVALS.items():
        for spelling in SPELLINGS if interval == "1m" else ("BTC",):
            found = client.ohlcv(spelling, interval, 5)
            demand(
                (found["symbol"], found["interval"], found["count"]) == ("BTCUSDT", interval, 5), f"{spelling}: asked"
            )
            demand(len(found["data"]) == found["count"], "count counts data")
            for n, candle in enumerate(found["data"]):
                body = (candle["open"], candle["close"])
                demand(candle["low"] <= min(body) and max(body) <= candle["high"], "low, body, high")
                demand(candle["volume"] >= 0, "volume is not negative")
                demand(candle["timestamp"] == found["data"][0]["timestamp"] + n * width, "oldest first, none missing")
    return {"source": by_default["source"], "count": by_default["count"]}


def check_prices(client: UnifiedClient) -> dict[str, Any]:
    everything = client.prices()
    demand(len(everything["data"]) >= 14, "all supported symbols are there")
    two = client.prices(["BTC", "ETH"], "USDT")
    demand([price["symbol"] for price in two["data"]] == ["BTC", "ETH"], "in the order asked for")
    demand(all(None not in price.values() for price in two["data"]), f"a big coin lacks a field: {two['data']}")
    (bitcoin,) = client.prices(["BTC"], "USD")["data"]
    demand(bitcoin["price"] == bitcoin["priceUsd"], "a price in USD is the price in USD")
    return {"source": two["source"], "supported": len(everything["data"])}


def check_moods(client: UnifiedClient) -> dict[str, Any]:
    mood = client.sentiment()["data"]
    news, overall = mood["news"], mood["overall"]
    demand(0 <= mood["fearGreed"]["value"] <= 100, "fear and greed is 0 to 100")
    demand(news["bullish"] + news["bearish"] + news["neutral"] == news["total"], "news add up")
    demand(0 <= overall["confidence"] <= 1, "confidence is a share")
    market = client.overview()["data"]
    for name in ("topGainers", "topLosers", "trending"):
        demand(bool(market[name]), f"{name} is empty")
    demand(0 < market["btcDominance"] <= 100 - market["ethDominance"], "dominance is in percent")
    return {"overall": overall["sentiment"], "activeCoins": market["activeCoins"]}


def check_cache(client: UnifiedClient) -> dict[str, Any]:
    client.cache_stats()
    client.clear_cache()
    return {"cleared": True}


def refusal(code: str, status: int, call: Callable[[], Any]) -> Refused:
    try:
        call()
    except Refused as refused:
        demand(
            (refused.answer["error"]["code"], refused.status) == (code, status), f"wanted {status} {code}: {refused}"
        )
        return refused
    raise Misshapen(f"{code}: was not refused")


def check_refusals(client: UnifiedClient) -> dict[str, Any]:
    refusal("INVALID_SYMBOL", 400, lambda: client.ohlcv("NOSUCHCOIN"))
    refusal("INVALID_SYMBOL", 400, lambda: client.prices(["BTC", "NOSUCHCOIN"]))
    refusal("INVALID_INTERVAL", 400, lambda: client.ohlcv("BTC", "7m"))
    refusal("INVALID_PARAMETER", 400, lambda: client.ohlcv("BTC", "1h", 0))
    refusal("INVALID_PARAMETER", 400, lambda: client.ohlcv("BTC", "1h", 1001))
    refusal("INVALID_PARAMETER", 400, lambda: client.prices(["BTC"], "EUR"))
    refusal("NOT_FOUND", 404, lambda: client.get("/api/no-such-thing"))
    told = refusal("RATE_LIMITED", 429, lambda: [client.sentiment() for _ in range(SENTIMENTS_A_MINUTE + 1)])
    wait = told.answer["error"]["retryAfter"]
    demand(wait is not None and 1 <= wait <= 60, f"retryAfter is the seconds to wait, not {wait}")
    demand(told.retry_after == str(wait), f"the header Retry-After says {told.retry_after}, the body {wait}")
    return {"retryAfter": wait}


def main(address: str) -> None:
    client = UnifiedClient(address)
    found = {
        "health": check_health(client),
        "ohlcv": check_candles(client),
        "prices": check_prices(client),
        "moods": check_moods(client),
        "cache": check_cache(client),
        "refusals": check_refusals(client),
    }
    sys.stdout.write(json.dumps({"client": "python", **found}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
