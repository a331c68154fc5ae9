"""GET /api/prices: the newest price of each asset, and who it comes from."""

from collections.abc import Sequence
from decimal import Context, Decimal
from typing import Any

import orjson

from collector.api.cache import Body
from collector.api.fallback import Budget, Upstream, joined
from collector.api.parts import Parts
from collector.api.symbols import Coin
from collector.api.unified.board import Board
from collector.api.unified.pricing import Row
from collector.clock import iso

CURRENCIES = ("USD", "USDT")
DIGITS = Context(prec=12)


class Prices:
    """Builds the answers."""

    def __init__(self, parts: Parts, upstream: Upstream, board: Board) -> None:
        self._parts, self._upstream, self._board = parts, upstream, board

    def body(self, coins: Sequence[Coin], convert: str, budget: Budget, *, with_parts: bool) -> Body:
        """Return the answer. Raises ApiError PROVIDER_ERROR when there is no price of any of the assets."""
        table = self._board.table(budget)
        rows = [table.rows.get(coin.symbol) or Row(coin=coin) for coin in coins]
        priced = [row for row in rows if row.price_usd is not None]
        if not priced:
            raise self._upstream.error(f"a price of {_named(coins)}", table.reasons)
        rate = Decimal(1) if convert == "USD" else table.usdt_usd or Decimal(1)
        stale = all(row.stale for row in priced)
        source = joined([name for row in priced for name in row.givers])
        as_of = max(row.observed_at for row in priced if row.observed_at is not None)
        content = {
            "success": True,
            "data": [_entry(row, rate, with_parts=with_parts) for row in rows],
            "timestamp": iso(self._parts.clock.now()),
            "source": source,
            "convert": convert,
            "stale": stale,
            "asOf": iso(as_of),
        }
        return Body(orjson.dumps(content), source=source, as_of=as_of, stale=stale)


def number(value: Decimal | None) -> float | None:
    """Return an exact number as the nearest one of JSON."""
    return None if value is None else float(value)


def _computed(value: Decimal | None) -> float | None:
    """Return a quotient or a mean with as many digits as mean something."""
    return None if value is None else float(DIGITS.plus(value))


def _named(coins: Sequence[Coin]) -> str:
    names = ", ".join(coin.symbol for coin in coins[:3])
    return f"{names} and {len(coins) - 3} more" if len(coins) > 3 else names  # noqa: PLR2004 - as many as are named


def _entry(row: Row, rate: Decimal, *, with_parts: bool) -> dict[str, Any]:
    facts = row.snapshot
    entry: dict[str, Any] = {
        "symbol": row.coin.symbol,
        "name": row.coin.name,
        "price": _computed(None if row.price_usd is None else row.price_usd / rate),
        "priceUsd": _computed(row.price_usd),
        "change1h": number(facts.change_1h_pct) if facts else None,
        "change24h": number(row.change_24h_pct),
        "change7d": number(facts.change_7d_pct) if facts else None,
        "volume24h": number(facts.volume_24h_usd) if facts else None,
        "marketCap": number(facts.market_cap_usd) if facts else None,
        "rank": (facts.rank if facts else None) or row.coin.rank,
        "lastUpdate": None if row.observed_at is None else iso(row.observed_at),
        "stale": row.stale,
    }
    if with_parts:
        entry["parts"] = [
            {
                "source": part.source,
                "priceUsd": _computed(part.price_usd),
                "observedAt": iso(part.observed_at),
                "fresh": part.fresh,
                "used": part.used,
            }
            for part in row.parts
        ]
    return entry
