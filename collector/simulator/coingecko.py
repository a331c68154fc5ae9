"""CoinGecko v3 on the wire: JSON numbers, null for what is not known, ISO times in rows, milliseconds in charts.

Serves the public root (no key or a demo key) and the pro root (a pro key); a key on the wrong root gets the documented
refusal. Demo keys begin with "CG-demo" and pro keys with "CG-pro" here, because real ones cannot be told apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal

import numpy as np

from collector.simulator.coin_bodies import (
    IMAGES,
    chart_times,
    image_number,
    in_currency,
    iso,
    market_body,
    trend_category,
    trend_item,
    trend_nft,
    whole,
)
from collector.simulator.coin_market import WINDOWS_MS, MarketRow
from collector.simulator.markets import Market
from collector.simulator.noise import key
from collector.simulator.series import HOUR_MS
from collector.simulator.universe import Coin
from collector.simulator.wire import BadQuery, Request, Response, json_response

Query = Mapping[str, str]
_ROW_WINDOWS = ("1h", "24h", "7d", "14d", "30d", "200d", "1y")
_USD_PER = {"usd": Decimal(1), "eur": Decimal("1.08"), "gbp": Decimal("1.27"), "jpy": Decimal("0.0066")}
_OHLC_DAYS = (1, 7, 14, 30, 90, 180, 365)
_FREE_REACH_DAYS = 365
_LONGEST_NUMBER = 8
_TOO_OLD = (
    "Your request exceeds the allowed time range. Public API users are limited to querying historical data within the "
    "past 365 days. Upgrade to a paid plan to enjoy full historical data access: "
    "https://www.coingecko.com/en/api/pricing. "
)
_HELP = "Please refer here for more details: https://docs.coingecko.com/v3.0.1/reference/introduction"


class CoinGecko:
    """Answers the documented paths of both roots from the market's truth."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self._truth = market.coin_market
        self._routes: dict[str, Callable[[Query, int], object]] = {
            "/ping": lambda _query, _now: {"gecko_says": "(V3) To the Moon!"},
            "/coins/list": self._list,
            "/coins/markets": self._markets,
            "/global": self._global,
            "/simple/price": self._simple_price,
            "/search/trending": self._trending,
        }

    def refuse(self, request: Request, plan: str, now_ms: int) -> Response | None:
        """Return the answer to a missing or misplaced key, or None; `plan` is the root: public or pro."""
        pro = request.headers.get("x-cg-pro-api-key") or request.query.get("x_cg_pro_api_key") or ""
        demo = request.headers.get("x-cg-demo-api-key") or request.query.get("x_cg_demo_api_key") or ""
        if plan == "public":
            if pro or demo.startswith("CG-pro"):
                return _wrong_root(10010, "Pro", "api.coingecko.com", "pro-api.coingecko.com", now_ms)
            return None if not demo or demo.startswith("CG-demo") else _bad_key(now_ms)
        if demo or pro.startswith("CG-demo"):
            return _wrong_root(10011, "Demo", "pro-api.coingecko.com", "api.coingecko.com", now_ms)
        return None if pro.startswith("CG-pro") else _bad_key(now_ms)

    def plan_of(self, request: Request, root: str) -> tuple[str, str]:
        """Return the plan whose limit applies and who is counted: the key, or the address without one."""
        if root == "pro":
            given = request.headers.get("x-cg-pro-api-key") or request.query.get("x_cg_pro_api_key")
            return "pro", given or request.address
        given = request.headers.get("x-cg-demo-api-key") or request.query.get("x_cg_demo_api_key")
        return ("demo", given) if given else ("public", request.address)

    def answer(self, path: str, query: Query, root: str, now_ms: int) -> Response:
        """Return the answer to a GET; a trailing slash is tolerated."""
        path = path.rstrip("/")
        try:
            route = self._routes.get(path)
            if route is not None:
                return json_response(route(query, now_ms))
            return json_response(self._coin_route(path, query, root, now_ms))
        except BadQuery as refused:
            return json_response(refused.body, refused.status)

    def _coin_route(self, path: str, query: Query, root: str, now_ms: int) -> object:
        root_word, coin_id, what, *rest = [*path.strip("/").split("/"), "", ""]
        if root_word != "coins" or not coin_id or any(rest):
            raise BadQuery(404, {"error": "Incorrect path. Please check https://www.coingecko.com/api/"})
        if what == "ohlc" and not query.get("vs_currency") and not query.get("days"):
            raise BadQuery(500, {"status": 500, "error": "Internal Server Error"})
        if what not in {"", "market_chart", "ohlc"}:
            raise BadQuery(404, {"error": "Incorrect path. Please check https://www.coingecko.com/api/"})
        try:
            coin = self._truth.coin(coin_id)
        except KeyError:
            raise BadQuery(404, {"error": "coin not found"}) from None
        if what == "market_chart":
            return self._market_chart(coin, query, root, now_ms)
        return self._ohlc(coin, query, root, now_ms) if what == "ohlc" else self._coin(coin, query, now_ms)

    # listing and rows -------------------------------------------------------------------------------------------

    def _list(self, query: Query, _now_ms: int) -> object:
        if query.get("status", "active") == "inactive":
            return []
        rows: list[dict[str, object]] = [
            {"id": c.id, "symbol": c.symbol, "name": c.name} for c in sorted(self._market.coins, key=lambda c: c.id)
        ]
        if query.get("include_platform") == "true":
            for row in rows:
                row["platforms"] = {}
        return rows

    def _rate(self, currency: str, now_ms: int) -> Decimal:
        """Return the worth of one unit of a currency in USD; raises KeyError for an unknown one."""
        coin_id = {"btc": "bitcoin", "eth": "ethereum"}.get(currency)
        return self._truth.price(coin_id, now_ms - now_ms % 10_000) if coin_id else _USD_PER[currency]

    def _currency(self, query: Query, now_ms: int) -> Decimal:
        name = query.get("vs_currency", "").lower()
        if not name:
            raise BadQuery(422, {"error": "Missing parameter vs_currency"})
        try:
            return self._rate(name, now_ms)
        except KeyError:
            raise BadQuery(400, {"error": "invalid vs_currency"}) from None

    def _markets(self, query: Query, now_ms: int) -> object:
        rate = self._currency(query, now_ms)
        rows = _ordered(self._chosen(query, now_ms), query.get("order", "market_cap_desc"))
        per_page = min(max(_whole(query, "per_page", 100), 1), 250)
        page = max(_whole(query, "page", 1), 1)
        windows = [w for w in query.get("price_change_percentage", "").split(",") if w in _ROW_WINDOWS]
        sparkline = query.get("sparkline") == "true"
        made: list[object] = []
        for row in rows[(page - 1) * per_page : page * per_page]:
            body = market_body(row, rate)
            if sparkline:
                body["sparkline_in_7d"] = {"price": self._sparkline(row, rate)}
            for window in windows:
                body[f"price_change_percentage_{window}_in_currency"] = row.changes_pct[window]
            made.append(body)
        return made

    def _chosen(self, query: Query, now_ms: int) -> list[MarketRow]:
        rows = list(self._truth.rows(now_ms))
        for name, read in (("ids", _id_of), ("names", _name_of), ("symbols", _symbol_of)):
            if query.get(name):
                wanted = {word.strip().lower() for word in query[name].split(",")}
                return [row for row in rows if read(row).lower() in wanted]
        return rows

    def _sparkline(self, row: MarketRow, rate: Decimal) -> list[float]:
        if row.last_updated_ms is None:
            return []
        end = row.last_updated_ms // HOUR_MS * HOUR_MS
        times = np.arange(end - 167 * HOUR_MS, end + 1, HOUR_MS, dtype=np.int64)
        return [float(price / rate) for price in self._truth.prices(row.coin.id, times)]

    def _global(self, _query: Query, now_ms: int) -> object:
        whole = self._truth.whole(now_ms)
        rates = {name: self._rate(name, whole.updated_ms) for name in (*_USD_PER, "btc", "eth")}
        return {
            "data": {
                "active_cryptocurrencies": whole.active_coins,
                "upcoming_icos": 0,
                "ongoing_icos": 49,
                "ended_icos": 3376,
                "markets": whole.markets,
                "total_market_cap": {name: in_currency(Decimal(whole.total_cap), rate) for name, rate in rates.items()},
                "total_volume": {name: in_currency(Decimal(whole.total_volume), rate) for name, rate in rates.items()},
                "market_cap_percentage": whole.dominance,
                "market_cap_change_percentage_24h_usd": whole.cap_change_24h_pct,
                "volume_change_percentage_24h_usd": whole.volume_change_24h_pct,
                "updated_at": whole.updated_ms // 1000,
            }
        }

    def _simple_price(self, query: Query, now_ms: int) -> object:
        if not query.get("vs_currencies"):
            raise BadQuery(422, {"error": "Missing parameter vs_currencies"})
        if not (query.get("ids") or query.get("names") or query.get("symbols")):
            raise BadQuery(422, {"error": "Missing parameter ids"})
        # words are not trimmed here: a space after the comma silently loses the coin, as at the provider
        ids = set(query.get("ids", "").split(","))
        found = [row for row in self._truth.rows(now_ms) if row.coin.id in ids]
        if not query.get("ids"):
            found = self._chosen(query, now_ms)
        return {row.coin.id: self._price_body(row, query, now_ms) for row in found}

    def _price_body(self, row: MarketRow, query: Query, now_ms: int) -> dict[str, object]:
        body: dict[str, object] = {}
        if row.price is None or row.last_updated_ms is None:
            return body
        for currency in query["vs_currencies"].split(","):
            try:
                rate = self._rate(currency, now_ms)
            except KeyError:
                continue
            body[currency] = in_currency(row.price, rate)
            if query.get("include_market_cap") == "true":
                body[f"{currency}_market_cap"] = in_currency(whole(row.market_cap), rate)
            if query.get("include_24hr_vol") == "true":
                body[f"{currency}_24h_vol"] = in_currency(whole(row.volume_24h), rate)
            if query.get("include_24hr_change") == "true":
                body[f"{currency}_24h_change"] = row.changes_pct["24h"]
        if query.get("include_last_updated_at") == "true":
            body["last_updated_at"] = row.last_updated_ms // 1000
        return body

    # one coin ---------------------------------------------------------------------------------------------------

    def _coin(self, coin: Coin, query: Query, now_ms: int) -> object:
        row = self._truth.row(coin.id, now_ms)
        body: dict[str, object] = {
            "id": coin.id,
            "symbol": coin.symbol,
            "name": coin.name,
            "web_slug": coin.id,
            "asset_platform_id": None,
            "platforms": {"": ""},
            "detail_platforms": {"": {"decimal_place": None, "contract_address": ""}},
            "block_time_in_minutes": 10,
            "hashing_algorithm": None,
            "categories": ["Cryptocurrency"],
            "preview_listing": False,
            "public_notice": None,
            "additional_notices": [],
            "has_supply_breakdown": False,
            "description": {"en": f"{coin.name} exists only inside the simulator."},
            "links": {"homepage": ["https://example.invalid/", "", ""], "blockchain_site": [], "subreddit_url": None},
            "image": {size: f"{IMAGES}/{image_number(coin)}/{size}/coin.png" for size in ("thumb", "small", "large")},
            "country_origin": "",
            "genesis_date": iso(coin.listed_ms)[:10],
            "sentiment_votes_up_percentage": 80.5,
            "sentiment_votes_down_percentage": 19.5,
            "watchlist_portfolio_users": 1000,
            "market_cap_rank": row.rank,
            "status_updates": [],
            "last_updated": None if row.last_updated_ms is None else iso(row.last_updated_ms),
        }
        parts: tuple[tuple[str, object], ...] = (
            ("localization", {"en": coin.name}),
            ("market_data", self._market_data(row, now_ms)),
            ("community_data", {"facebook_likes": None, "reddit_subscribers": 0, "telegram_channel_user_count": None}),
            ("developer_data", {"forks": 0, "stars": 0, "subscribers": 0, "commit_count_4_weeks": 0}),
            ("tickers", []),
        )
        return body | {name: value for name, value in parts if query.get(name, "true") != "false"}

    def _market_data(self, row: MarketRow, now_ms: int) -> dict[str, object]:
        rates = {name: self._rate(name, now_ms) for name in ("usd", "eur", "btc", "eth")}

        def per_currency(value: Decimal | int | None) -> dict[str, object]:
            return {} if value is None else {name: in_currency(Decimal(value), rate) for name, rate in rates.items()}

        def same(value: object) -> dict[str, object]:
            return {} if value is None else dict.fromkeys(rates, value)

        ath_date = None if row.ath_ms is None else iso(row.ath_ms)
        atl_date = None if row.atl_ms is None else iso(row.atl_ms)
        body: dict[str, object] = {
            "current_price": per_currency(row.price),
            "total_value_locked": None,
            "mcap_to_tvl_ratio": None,
            "fdv_to_tvl_ratio": None,
            "roi": None,
            "ath": per_currency(row.ath),
            "ath_change_percentage": same(row.ath_change_pct),
            "ath_date": same(ath_date),
            "atl": per_currency(row.atl),
            "atl_change_percentage": same(row.atl_change_pct),
            "atl_date": same(atl_date),
            "market_cap": per_currency(row.market_cap),
            "market_cap_rank": row.rank,
            "fully_diluted_valuation": per_currency(row.fully_diluted),
            "total_volume": per_currency(row.volume_24h),
            "high_24h": per_currency(row.high_24h),
            "low_24h": per_currency(row.low_24h),
            "price_change_24h": row.change_24h,
            "price_change_percentage_24h": row.changes_pct["24h"],
            "market_cap_change_24h": row.cap_change_24h,
            "market_cap_change_percentage_24h": row.cap_change_24h_pct,
            "total_supply": row.total_supply,
            "max_supply": row.max_supply,
            "max_supply_infinite": row.max_supply is None,
            "circulating_supply": row.circulating,
            "last_updated": None if row.last_updated_ms is None else iso(row.last_updated_ms),
        }
        for window in WINDOWS_MS:
            body[f"price_change_percentage_{window}_in_currency"] = same(row.changes_pct[window])
            if window not in {"1h", "24h"}:
                body[f"price_change_percentage_{window}"] = row.changes_pct[window]
        return body

    # history ----------------------------------------------------------------------------------------------------

    def _days(self, query: Query, root: str, now_ms: int) -> int:
        text = query.get("days", "")
        if not text:
            raise BadQuery(422, {"error": "Missing parameter days"})
        days = 100_000 if text == "max" else int(text) if text.isdecimal() and len(text) < _LONGEST_NUMBER else 0
        if days < 1:
            raise BadQuery(400, {"error": "invalid days"})
        if root == "public" and days > _FREE_REACH_DAYS:
            status = {"timestamp": iso(now_ms, offset=True), "error_code": 10012, "error_message": _TOO_OLD}
            raise BadQuery(401, {"error": {"status": status}})
        return days

    def _market_chart(self, coin: Coin, query: Query, root: str, now_ms: int) -> object:
        rate = self._currency(query, now_ms)
        days = self._days(query, root, now_ms)
        grid = now_ms - now_ms % 10_000
        times = [t for t in chart_times(coin, days, query.get("interval", ""), grid) if t < grid] + [grid]
        if coin.quirk == "dead":
            return {"prices": [], "market_caps": [], "total_volumes": []}
        prices = self._truth.prices(coin.id, np.array(times, dtype=np.int64))
        return {
            "prices": [[t, in_currency(p, rate)] for t, p in zip(times, prices, strict=True)],
            "market_caps": [
                [t, in_currency(Decimal(int(p * coin.supply)), rate)] for t, p in zip(times, prices, strict=True)
            ],
            "total_volumes": [[t, in_currency(Decimal(self._truth.volume(coin.id, t)), rate)] for t in times],
        }

    def _ohlc(self, coin: Coin, query: Query, root: str, now_ms: int) -> object:
        rate = self._currency(query, now_ms)
        days = self._days(query, root, now_ms)
        if days not in _OHLC_DAYS and query.get("days") != "max":
            raise BadQuery(400, {"error": "invalid days"})
        if root == "public" and query.get("interval"):
            status = {"error_code": 10005, "error_message": "This request is limited to PRO API subscribers."}
            raise BadQuery(401, {"status": {"timestamp": iso(now_ms, offset=True), **status}})
        rows = self._truth.ohlc(coin.id, min(days, 3_650), now_ms)
        return [[closed, *(in_currency(value, rate) for value in prices)] for closed, *prices in rows]

    # trending ---------------------------------------------------------------------------------------------------

    def _trending(self, _query: Query, now_ms: int) -> object:
        hour = now_ms // HOUR_MS
        rows = [row for row in self._truth.rows(now_ms) if row.price is not None]
        rows.sort(key=lambda row: key("trending", row.coin.id, hour))
        btc = self._rate("btc", now_ms)
        return {
            "coins": [{"item": trend_item(row, score, btc)} for score, row in enumerate(rows[:15])],
            "nfts": [trend_nft(number) for number in range(7)],
            "categories": [trend_category(number) for number in range(6)],
        }


def _id_of(row: MarketRow) -> str:
    return row.coin.id


def _name_of(row: MarketRow) -> str:
    return row.coin.name


def _symbol_of(row: MarketRow) -> str:
    return row.coin.symbol


def _wrong_root(code: int, kind: str, used: str, right: str, now_ms: int) -> Response:
    text = f"If you are using {kind} API key, please change your root URL from {used} to {right} {_HELP}"
    body = {"timestamp": iso(now_ms, offset=True), "error_code": code, "status": {"error_message": text}}
    return json_response(body, 400)


def _bad_key(now_ms: int) -> Response:
    status = {"timestamp": iso(now_ms, offset=True), "error_code": 10002, "error_message": "API Key Missing"}
    return json_response({"status": status}, 401)


def _whole(query: Query, name: str, default: int) -> int:
    text = query.get(name, "")
    return int(text) if text.isdecimal() and len(text) < _LONGEST_NUMBER else default


def _ordered(rows: list[MarketRow], order: str) -> list[MarketRow]:
    """Return rows in a documented order (an unknown one is the default); rows without the value come last."""
    column, _, direction = order.rpartition("_")
    if column == "id":
        return sorted(rows, key=lambda row: row.coin.id, reverse=direction == "desc")
    sign = 1 if direction == "asc" else -1

    def place(row: MarketRow) -> tuple[bool, int]:
        value = row.volume_24h if column == "volume" else row.market_cap
        return value is None, sign * (value or 0)

    return sorted(rows, key=place)
