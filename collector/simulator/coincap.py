"""CoinCap v3 on the wire: every number as text, mostly with 16 decimals, null for what is not known, best rank first.

Its ids are its own, some of them other than CoinGecko's, and its prices up to a tenth of a percent apart from theirs.
Any key is accepted and none refused; the bodies of refusals are made up, because the provider documents none.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from collector.simulator.coin_market import MarketRow
from collector.simulator.markets import Market
from collector.simulator.noise import key, pick
from collector.simulator.wire import BadQuery, Request, Response, json_response

Query = Mapping[str, str]
OTHER_IDS = {
    "binancecoin": "binance-coin",
    "ripple": "xrp",
    "avalanche-2": "avalanche",
    "near": "near-protocol",
    "hedera-hashgraph": "hedera",
}
"""CoinGecko's id: CoinCap's, where they differ."""
MOST_ROWS, USUAL_ROWS = 2_000, 100
_SPREAD = 10  # basis points


class CoinCap:
    """Answers GET /assets and /assets/{slug} from the market's truth."""

    def __init__(self, market: Market) -> None:
        self._market = market

    def answer(self, path: str, query: Query, now_ms: int) -> Response:
        """Return the answer to a request with a key; a trailing slash is tolerated."""
        root, _, slug = path.strip("/").partition("/")
        if root != "assets":
            return json_response({"error": "Not Found"}, 404)
        try:
            data = self._asset(slug, now_ms) if slug else self._assets(query, now_ms)
        except BadQuery as refused:
            return json_response(refused.body, refused.status)
        return json_response({"data": data, "timestamp": now_ms})

    def _assets(self, query: Query, now_ms: int) -> list[dict[str, object]]:
        limit, offset = _whole(query, "limit", USUAL_ROWS), _whole(query, "offset", 0)
        if not 1 <= limit <= MOST_ROWS:
            raise BadQuery(400, {"error": f"limit must be 1 to {MOST_ROWS}"})
        rows = self._rows(now_ms)
        if query.get("ids"):
            ids = set(query["ids"].split(","))
            rows = [row for row in rows if row["id"] in ids]
        if query.get("search"):
            word = query["search"].lower()
            rows = [row for row in rows if word in (row["id"], str(row["symbol"]).lower())]
        return rows[offset : offset + limit]

    def _asset(self, slug: str, now_ms: int) -> dict[str, object]:
        for row in self._rows(now_ms):
            if row["id"] == slug:
                return row
        raise BadQuery(404, {"error": f"{slug} not found"})

    def _rows(self, now_ms: int) -> list[dict[str, object]]:
        """Return every coin with a price; those without a known cap come last, with a rank all the same."""
        priced = [row for row in self._market.coin_market.rows(now_ms) if row.price is not None]
        priced.sort(key=lambda row: (not row.market_cap, -(row.market_cap or 0), row.coin.id))
        return [self._row(row, rank) for rank, row in enumerate(priced, start=1)]

    def _row(self, row: MarketRow, rank: int) -> dict[str, object]:
        apart = pick(key(self._market.seed, "coincap price", row.coin.id), 0, 2 * _SPREAD + 1) - _SPREAD
        price = (row.price or Decimal(0)) * (1 + Decimal(apart).scaleb(-4))
        cap = price * row.circulating if row.circulating and row.market_cap is not None else row.market_cap
        return {
            "id": OTHER_IDS.get(row.coin.id, row.coin.id),
            "rank": str(rank),
            "symbol": row.coin.symbol.upper(),
            "name": row.coin.name,
            "supply": _text(row.circulating),
            "maxSupply": _text(row.max_supply),
            "marketCapUsd": _text(cap),
            "volumeUsd24Hr": _text(row.volume_24h),
            "priceUsd": _text(price),
            "changePercent24Hr": _text(row.changes_pct["24h"]),
            "vwap24Hr": _text(price),
            "explorer": None,
            "tokens": {},
        }


def key_of(request: Request) -> str:
    """Return the key that a request carries in its header or address; "" without one."""
    kind, _, given = request.headers.get("authorization", "").partition(" ")
    return given.strip() if kind.lower() == "bearer" else request.query.get("apiKey", "")


def keyless() -> Response:
    """Return the answer to a request without a key."""
    return json_response({"error": "Unauthorized"}, 401)


def _text(value: Decimal | int | None) -> str | None:
    return None if value is None else format(Decimal(value), ".16f")


def _whole(query: Query, name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not text.isdecimal():
        raise BadQuery(400, {"error": f"{name} must be a whole number"})
    return int(text)
