"""A year of one minute bars: the range, and what a side has of it; only the standard library."""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

UNTIL = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE_MS = 60_000


def since(days: int) -> datetime:
    """Return the start of a range of so many days that ends with 2025."""
    return UNTIL - timedelta(days=days)


def told(bars: Iterable[tuple[int, float, float, float, float, float]]) -> dict[str, Any]:
    """Return the answer of a side: bars in order of time, with the open time in seconds, prices and volume."""
    digest, count = hashlib.sha256(), 0
    for opened, *numbers in bars:
        digest.update(f"{opened} {' '.join(map(repr, numbers))}\n".encode())
        count += 1
    return {"same": {"bars": count, "digest": digest.hexdigest()}, "facts": {"rows": count}}


def environment(work: Mapping[str, Any], own: Mapping[str, str]) -> dict[str, str]:
    """Return the collector's environment in which only Binance spot is asked, and no limit holds it up."""
    names = ("coingecko", "binance_futures", "binance_spot", "okx", "kraken", "coincap", "alternative_me")
    switches = {f"COLLECTOR_SOURCES__{name.upper()}__ENABLED": str(name == "binance_spot").lower() for name in names}
    return {
        **{key: value for key, value in own.items() if not key.startswith("COLLECTOR_")},
        **switches,
        "COLLECTOR_SIMULATED": "true",
        "COLLECTOR_SOURCES__BINANCE_SPOT__BASE_URL": work["spot"],
        "COLLECTOR_SOURCES__BINANCE_SPOT__LIMITS": '{"weight": {"capacity": 1000000, "window": "1s"}}',
        "COLLECTOR_FALLBACK__CANDLES": '["binance_spot"]',
    }
