"""GET /api/market/overview: the whole market in a few numbers, and the assets that move it.

Lists hold at most ten assets with a volume of `FLOOR_USD` or more within 24 h. Gainers are the largest changes over
24 h, losers the smallest, whatever their sign; no asset is in both. Trending are the assets that change hands fastest:
the largest volume as a share of market cap, without those that are pegged to the dollar, of which this is always true.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import orjson

from collector.api.cache import Body
from collector.api.fallback import Budget, Stored, Upstream, joined
from collector.api.parts import Parts
from collector.api.unified.board import Board
from collector.api.unified.prices import number
from collector.api.unified.pricing import Row, Table
from collector.clock import iso
from collector.errors import PayloadError, VenueError
from collector.fallback import RANKING
from collector.records import Dataset, GlobalMarket, Job

LISTED = 10
FLOOR_USD = Decimal(1_000_000)
PEG_PRICE = Decimal("0.03")  # of a dollar
PEG_CHANGE_PCT = Decimal(1)  # over 7 days


class Overview:
    """Builds the answers."""

    def __init__(self, parts: Parts, stored: Stored, upstream: Upstream, board: Board) -> None:
        self._parts, self._stored, self._upstream, self._board = parts, stored, upstream, board

    def body(self, budget: Budget) -> Body:
        """Return the answer. Raises ApiError PROVIDER_ERROR when neither totals nor any asset is known."""
        reasons: dict[str, str] = {}
        totals = self._totals(budget, reasons)
        table = self._board.table(budget)
        movers = _movers(table)
        if totals is None and not movers:
            raise self._upstream.error("the market", {**table.reasons, **reasons})
        now = self._parts.clock.now()
        old = totals is None or now - totals.received_at > self._parts.settings.ttl_overview
        stale = old or not any(row.current for row in movers)
        givers = [row.snapshot.source for row in movers if row.snapshot is not None]
        source = joined([*givers, *([totals.source] if totals else [])])
        times = [row.snapshot.observed_at for row in movers if row.snapshot is not None]
        as_of = totals.observed_at if totals else max(times)
        content = {
            "success": True,
            "data": {**_numbers(totals), **_lists(movers)},
            "timestamp": iso(now),
            "source": source,
            "stale": stale,
            "asOf": iso(as_of),
        }
        return Body(orjson.dumps(content), source=source, as_of=as_of, stale=stale)

    def _totals(self, budget: Budget, reasons: dict[str, str]) -> GlobalMarket | None:
        """Return the totals: young stored ones, else the provider's, else what is stored."""
        stored = self._stored.read_or(None, lambda quotes: quotes.latest_global(RANKING))
        if stored is not None and self._parts.clock.now() - stored.received_at <= self._parts.settings.ttl_overview:
            return stored
        try:
            given = self._upstream.ask(Job(source=RANKING, dataset=Dataset.GLOBAL), budget.share(2))
        except (VenueError, PayloadError) as error:
            reasons[RANKING] = str(error)
            return stored
        return next((item for item in given if isinstance(item, GlobalMarket)), stored)


def _numbers(totals: GlobalMarket | None) -> dict[str, Any]:
    return {
        "totalMarketCap": number(totals.market_cap_usd) if totals else None,
        "totalVolume24h": number(totals.volume_24h_usd) if totals else None,
        "btcDominance": number(totals.btc_dominance_pct) if totals else None,
        "ethDominance": number(totals.eth_dominance_pct) if totals else None,
        "activeCoins": totals.active_assets if totals else None,
    }


def _movers(table: Table) -> list[Row]:
    """Return the assets that may be listed: traded enough for their change to mean something."""
    return [
        row
        for row in table.rows.values()
        if row.snapshot is not None
        and row.change_24h_pct is not None
        and (row.snapshot.volume_24h_usd or 0) >= FLOOR_USD
    ]


def _lists(movers: Sequence[Row]) -> dict[str, list[dict[str, Any]]]:
    by_change = sorted(movers, key=lambda row: (-(row.change_24h_pct or 0), row.coin.symbol))
    gainers = by_change[: min(LISTED, -(-len(by_change) // 2))]
    losers = by_change[::-1][: min(LISTED, len(by_change) // 2)]
    free = [row for row in movers if not _is_pegged(row) and _turnover(row) is not None]
    trending = sorted(free, key=lambda row: (-(_turnover(row) or 0), row.coin.symbol))[:LISTED]
    return {
        "topGainers": [_mover(row) for row in gainers],
        "topLosers": [_mover(row) for row in losers],
        "trending": [_mover(row) for row in trending],
    }


def _turnover(row: Row) -> Decimal | None:
    """Return volume as a share of market cap; None when either is unknown."""
    facts = row.snapshot
    if facts is None or facts.volume_24h_usd is None or not facts.market_cap_usd:
        return None
    return facts.volume_24h_usd / facts.market_cap_usd


def _is_pegged(row: Row) -> bool:
    near = row.price_usd is not None and abs(row.price_usd - 1) <= PEG_PRICE
    week = row.snapshot.change_7d_pct if row.snapshot else None
    return near and (week is None or abs(week) <= PEG_CHANGE_PCT)


def _mover(row: Row) -> dict[str, Any]:
    facts = row.snapshot
    return {
        "symbol": row.coin.symbol,
        "name": row.coin.name,
        "price": number(row.price_usd),
        "change24h": number(row.change_24h_pct),
        "volume24h": number(facts.volume_24h_usd) if facts else None,
        "marketCap": number(facts.market_cap_usd) if facts else None,
        "rank": (facts.rank if facts else None) or row.coin.rank,
    }
