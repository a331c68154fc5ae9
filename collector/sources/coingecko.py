"""CoinGecko API v3: listing, ranked markets, global market, details, history and index candles of coins, in USD.

An aggregator, not a venue: prices are averages over exchanges. Quirks that the code below relies on:

- An asset is named by its id ("bitcoin"); symbols are shared by many coins and not always lower case.
- Times come as ISO text (last_updated), seconds (updated_at) and milliseconds (charts and candles).
- Percentages are percent (-0.95 is minus 0.95 %). Numbers may be integers, fractions or 9.04e-07.
- Every number of a coin may be null. A market cap of 0 without a rank stands for an unknown supply, hence None
  (seen at coins without a supply, not documented); every other zero is a value.
- Ranks move between two page requests: a coin can come twice or not at all. Within a page the newest row of a coin
  counts; over pages the natural key does: the same coin and time is one row, another time is another observation.
- A market chart is not on a grid, and its last point is the price now under its own time, which can be earlier than
  the point before it. Its three series are joined by time.
- Candles carry their CLOSE time, no volume, and end with an unfinished one stamped in the future. Answers are up to
  15 minutes old, so a candle counts as closed only when it ended before such an answer could have been made.
- Errors come in five JSON shapes, as plain text and as HTML. 401 can mean a bad key, a paid endpoint or an old range.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar
from urllib.parse import quote

from collector.clock import EPOCH, Clock
from collector.errors import PayloadError, RequestRejected
from collector.parsing import (
    Fields,
    decode_json,
    objects,
    rows,
    to_decimal,
    to_list,
    to_millis_time,
    to_object,
    to_optional_decimal,
    to_text,
)
from collector.records import (
    Answer,
    Asset,
    AssetDetails,
    Candle,
    Dataset,
    GlobalMarket,
    Instrument,
    Interval,
    Job,
    Kind,
    MarketSnapshot,
    Payload,
    Record,
    Reject,
    RejectReason,
)
from collector.sources._coingecko import raise_error
from collector.sources._coingecko_plans import CALLS, PLANS
from collector.sources.base import Collector, Cost, Parser, Plan, Sdk, Shape, in_window, payload

NAME = "coingecko"
PAGE_SIZE = 250  # the most that /coins/markets gives
CALL = Cost(scope=CALLS)  # every request counts one, failed ones too
DAY = timedelta(days=1)
PATIENCE = timedelta(hours=1)  # a job that ended at most this long ago was meant to end now

CANDLE_DAYS = 30  # 3..30 days are answered with 4-hour candles, less with 30 minutes, more with 4 days
CANDLE_INTERVAL = Interval.H4
SETTLE = timedelta(minutes=20)  # /ohlc is rebuilt every 15 minutes, and the CDN adds up to a minute and its own age


# --------------------------------------------------------------------------- parsers


def _reject(source: Payload, row: object, reason: RejectReason, detail: str) -> Reject:
    text = str(row.values if isinstance(row, Fields) else row)
    return Reject(job=source.job, row=text[:500], reason=reason, detail=detail)


def _stamp(source: Payload, observed_at: datetime) -> dict[str, Any]:
    return {"source": NAME, "observed_at": observed_at, "received_at": source.received_at}


def _demand(row: Fields, *keys: str) -> None:
    """Raise PayloadError when a key is missing: without it the shape is unknown. Null is a value and passes."""
    for key in keys:
        row.require(key)


def _market_cap(value: Decimal | None, rank: int | None) -> Decimal | None:
    return None if value == 0 and rank is None else value


def parse_listing(source: Payload) -> Sequence[Record | Reject]:
    """Return an Asset per row of /coins/list: `[{id, symbol, name}]`; a row without id or symbol is a Reject.

    The listing says no time, so `observed_at` is when it was received.
    """
    found: dict[str, Asset] = {}
    rejects: list[Reject] = []
    for row in objects(decode_json(source.body)):
        _demand(row, "id", "symbol", "name")
        asset_id, symbol = row.optional_text("id"), row.optional_text("symbol")
        if asset_id is None or symbol is None:
            rejects.append(_reject(source, row, RejectReason.WRONG_SUBJECT, "a row without id or symbol"))
            continue
        found[asset_id] = Asset(
            **_stamp(source, source.received_at),
            asset_id=asset_id,
            symbol=symbol.upper(),
            name=row.optional_text("name") or asset_id,
        )
    return [*found.values(), *rejects]


def parse_markets(source: Payload) -> Sequence[Record | Reject]:
    """Return a MarketSnapshot per coin of a page of /coins/markets, in rank order, then the rejects.

    A row without id or time is a Reject; so is one with neither price, market cap, volume nor supply. A null price
    beside one of these stays, with `price_usd` None.
    """
    found: dict[str, MarketSnapshot] = {}
    rejects: list[Reject] = []
    for row in objects(decode_json(source.body)):
        _demand(row, "id", "current_price", "last_updated")
        asset_id, observed_at = row.optional_text("id"), row.optional_iso("last_updated")
        if asset_id is None:
            rejects.append(_reject(source, row, RejectReason.WRONG_SUBJECT, "a row without id"))
        elif observed_at is None:
            rejects.append(_reject(source, row, RejectReason.NO_TIME, f"{asset_id} has no last_updated"))
        else:
            snapshot = _snapshot(source, row, asset_id, observed_at)
            if _says_nothing(snapshot):
                rejects.append(_reject(source, row, RejectReason.NO_PRICE, f"{asset_id} has no current number"))
            elif asset_id not in found or found[asset_id].observed_at <= observed_at:
                found[asset_id] = snapshot
    return [*found.values(), *rejects]


def _snapshot(source: Payload, row: Fields, asset_id: str, observed_at: datetime) -> MarketSnapshot:
    rank = row.optional_integer("market_cap_rank")
    change_24h = row.optional_decimal("price_change_percentage_24h_in_currency")
    return MarketSnapshot(
        **_stamp(source, observed_at),
        asset_id=asset_id,
        price_usd=row.optional_decimal("current_price"),
        market_cap_usd=_market_cap(row.optional_decimal("market_cap"), rank),
        fully_diluted_usd=row.optional_decimal("fully_diluted_valuation"),
        rank=rank,
        volume_24h_usd=row.optional_decimal("total_volume"),
        high_24h_usd=row.optional_decimal("high_24h"),
        low_24h_usd=row.optional_decimal("low_24h"),
        change_1h_pct=row.optional_decimal("price_change_percentage_1h_in_currency"),
        # The plain field is the same number with five decimals, and the only one in answers without windows.
        change_24h_pct=row.optional_decimal("price_change_percentage_24h") if change_24h is None else change_24h,
        change_7d_pct=row.optional_decimal("price_change_percentage_7d_in_currency"),
        circulating_supply=row.optional_decimal("circulating_supply"),
        total_supply=row.optional_decimal("total_supply"),
        max_supply=row.optional_decimal("max_supply"),
        ath_usd=row.optional_decimal("ath"),
        ath_at=row.optional_iso("ath_date"),
        atl_usd=row.optional_decimal("atl"),
        atl_at=row.optional_iso("atl_date"),
    )


def _says_nothing(row: MarketSnapshot) -> bool:
    numbers = (row.price_usd, row.market_cap_usd, row.volume_24h_usd, row.circulating_supply, row.total_supply)
    return all(number is None for number in numbers)


def parse_global(source: Payload) -> Sequence[Record | Reject]:
    """Return the GlobalMarket of /global: `{data: {total_market_cap: {usd}, ...}}`.

    Dominance is None when the coin is not among the ten that the answer names. Without cap, volume or time: a Reject.
    """
    data = to_object(decode_json(source.body), "$").object("data")
    observed_at = None if data.require("updated_at") is None else data.seconds("updated_at")
    shares = data.object("market_cap_percentage")
    market_cap = data.object("total_market_cap").optional_decimal("usd")
    volume = data.object("total_volume").optional_decimal("usd")
    if observed_at is None:
        return [_reject(source, data, RejectReason.NO_TIME, "no updated_at")]
    if market_cap is None or volume is None:
        return [_reject(source, data, RejectReason.NO_PRICE, "no total market cap or volume in usd")]
    return [
        GlobalMarket(
            **_stamp(source, observed_at),
            market_cap_usd=market_cap,
            volume_24h_usd=volume,
            btc_dominance_pct=shares.optional_decimal("btc"),
            eth_dominance_pct=shares.optional_decimal("eth"),
            market_cap_change_24h_pct=data.optional_decimal("market_cap_change_percentage_24h_usd"),
            active_assets=data.optional_integer("active_cryptocurrencies"),
            markets=data.optional_integer("markets"),
        )
    ]


def parse_asset_details(source: Payload) -> Sequence[Record | Reject]:
    """Return the AssetDetails of /coins/{id}, or a Reject: another coin than asked for, or no last_updated.

    `platforms` leaves out what has no name or no address: a coin on its own chain has `{"": ""}`.
    """
    coin = to_object(decode_json(source.body), "$")
    _demand(coin, "id", "symbol", "last_updated")
    asset_id, symbol = coin.optional_text("id"), coin.optional_text("symbol")
    observed_at = coin.optional_iso("last_updated")
    if asset_id is None or symbol is None or asset_id not in (source.job.assets or (asset_id,)):
        return [_reject(source, coin, RejectReason.WRONG_SUBJECT, f"asked for {source.job.subject}, got {asset_id}")]
    if observed_at is None:
        return [_reject(source, coin, RejectReason.NO_TIME, f"{asset_id} has no last_updated")]
    return [
        AssetDetails(
            **_stamp(source, observed_at),
            asset_id=asset_id,
            symbol=symbol.upper(),
            name=coin.optional_text("name") or asset_id,
            categories=_texts(coin, "categories"),
            platforms=_platforms(coin),
            genesis_date=_iso_date(coin, "genesis_date"),
            hashing_algorithm=coin.optional_text("hashing_algorithm"),
            homepage=_homepage(coin),
            country_origin=coin.optional_text("country_origin"),
        )
    ]


def _texts(fields: Fields, key: str) -> tuple[str, ...]:
    """Return the texts of a list, without nulls and empty ones; a null or absent list has none."""
    values = fields.values.get(key)
    items = [] if values is None else to_list(values, fields.at(key))
    return tuple(
        to_text(item, f"{fields.at(key)}[{index}]") for index, item in enumerate(items) if item not in (None, "")
    )


def _platforms(coin: Fields) -> dict[str, str]:
    if coin.values.get("platforms") is None:
        return {}
    platforms = coin.object("platforms")
    addresses = {name: platforms.optional_text(name) for name in platforms.values if name}
    return {name: address for name, address in addresses.items() if address is not None}


def _homepage(coin: Fields) -> str | None:
    pages = _texts(coin.object("links"), "homepage") if coin.values.get("links") is not None else ()
    return pages[0] if pages else None


def _iso_date(fields: Fields, key: str) -> str | None:
    text = fields.optional_text(key)
    try:
        return None if text is None else date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise PayloadError(f"expected a date, got {text!r:.40}", fields.at(key)) from error


def parse_market_history(source: Payload) -> Sequence[Record | Reject]:
    """Return a MarketSnapshot per moment of /coins/{id}/market_chart inside the job's window, oldest first.

    `{prices, market_caps, total_volumes}` are lists of [milliseconds, number or null], joined by time; the newest point
    is the price at the time of the answer. A moment without any number, or a point without a time, is a Reject.
    """
    chart = to_object(decode_json(source.body), "$")
    points: dict[datetime, dict[str, Decimal | None]] = {}
    rejects: list[Reject] = []
    for key in ("prices", "market_caps", "total_volumes"):
        for path, row in rows(chart.require(key), 2, chart.at(key)):
            millis, value = row[:2]
            if millis is None:
                rejects.append(_reject(source, row, RejectReason.NO_TIME, f"{path} has no time"))
                continue
            moment = to_millis_time(millis, f"{path}[0]")
            points.setdefault(moment, {})[key] = to_optional_decimal(value, f"{path}[1]")
    records: list[Record | Reject] = []
    for moment in sorted(moment for moment in points if in_window(moment, source.job)):
        snapshot = _past_snapshot(source, moment, points[moment])
        if _says_nothing(snapshot):
            rejects.append(_reject(source, moment.isoformat(), RejectReason.NO_PRICE, "a moment without any number"))
        else:
            records.append(snapshot)
    return [*records, *rejects]


def _past_snapshot(source: Payload, moment: datetime, point: Mapping[str, Decimal | None]) -> MarketSnapshot:
    return MarketSnapshot(
        **_stamp(source, moment),
        asset_id=_subject(source.job),
        price_usd=point.get("prices"),
        market_cap_usd=_market_cap(point.get("market_caps"), None),
        volume_24h_usd=point.get("total_volumes"),
    )


def parse_candles(source: Payload) -> Sequence[Record | Reject]:
    """Return the 4-hour Candles of /coins/{id}/ohlc that open inside the job's window, oldest first.

    Rows are [close time in milliseconds, open, high, low, close] in USD. `closed` is False for a candle that had not
    ended `SETTLE` before the answer came. A time off the 4-hour grid means candles of another length: PayloadError.
    """
    instrument = index_instrument(_subject(source.job))
    candles: dict[datetime, Candle] = {}
    rejects: list[Reject] = []
    for path, row in rows(decode_json(source.body), 5):
        close_millis, *prices = row[:5]
        if close_millis is None:
            rejects.append(_reject(source, row, RejectReason.NO_TIME, f"{path} has no time"))
        elif None in prices:
            rejects.append(_reject(source, row, RejectReason.NO_PRICE, f"{path} lacks a price"))
        else:
            end = to_millis_time(close_millis, f"{path}[0]")
            open_price, high, low, close = (to_decimal(price, f"{path}[{i}]") for i, price in enumerate(prices, 1))
            open_time = _open_time(end, f"{path}[0]")
            candles[open_time] = Candle(
                **_stamp(source, end),
                instrument=instrument,
                interval=CANDLE_INTERVAL,
                open_time=open_time,
                open=open_price,
                high=high,
                low=low,
                close=close,
                volume=None,
                quote_volume=None,
                trades=None,
                taker_buy_volume=None,
                closed=end + SETTLE <= source.received_at,
            )
    return [*(candles[moment] for moment in sorted(candles) if in_window(moment, source.job)), *rejects]


def _open_time(end: datetime, path: str) -> datetime:
    """Return when the candle that ends at `end` opened."""
    if (end - EPOCH) % CANDLE_INTERVAL.width:
        raise PayloadError(f"expected candles of {CANDLE_INTERVAL}, got one that ends at {end.isoformat()}", path)
    try:
        return end - CANDLE_INTERVAL.width
    except OverflowError as error:
        raise PayloadError(f"time out of range: {end.isoformat()}", path) from error


def index_instrument(asset_id: str) -> Instrument:
    """Return the instrument that stands for CoinGecko's average price of an asset, `coingecko:bitcoin-USD:index`."""
    return Instrument(venue=NAME, base=asset_id, quote="USD", kind=Kind.INDEX, venue_symbol=asset_id)


def _subject(job: Job) -> str:
    """Return the one asset of a job, by its instrument if it fills a hole; charts and candles do not name theirs."""
    (asset_id,) = job.assets or [item.venue_symbol for item in job.instruments]
    return asset_id


# --------------------------------------------------------------------------- the collector


class CoingeckoCollector(Collector):
    """CoinGecko through pycoingecko. `history` is how far back the plan reaches, None without a limit."""

    name: ClassVar[str] = NAME
    shapes: ClassVar[Mapping[Dataset, Shape]] = {
        Dataset.LISTING: Shape.WHOLE,
        Dataset.MARKETS: Shape.RANKED,
        Dataset.GLOBAL: Shape.WHOLE,
        Dataset.ASSET_DETAILS: Shape.EACH_ASSET,
        Dataset.MARKET_HISTORY: Shape.EACH_ASSET,
        Dataset.CANDLES: Shape.EACH_ASSET,
    }
    parsers: ClassVar[Mapping[Dataset, Parser]] = {
        Dataset.LISTING: parse_listing,
        Dataset.MARKETS: parse_markets,
        Dataset.GLOBAL: parse_global,
        Dataset.ASSET_DETAILS: parse_asset_details,
        Dataset.MARKET_HISTORY: parse_market_history,
        Dataset.CANDLES: parse_candles,
    }
    intervals: ClassVar[tuple[Interval, ...]] = (CANDLE_INTERVAL,)
    plans: ClassVar[Mapping[str, Plan]] = PLANS

    def __init__(self, client: Sdk, clock: Clock, *, history: timedelta | None = PLANS["public"].history) -> None:
        self._client = client
        self._clock = clock
        self._history = history

    @staticmethod
    def check(answer: Answer) -> None:
        """Raise the VenueError that an answer stands for; a 2xx without an error object passes."""
        raise_error(answer, NAME)

    @staticmethod
    def calls(job: Job) -> Sequence[Cost]:
        """Return one call, for MARKETS one per 250 assets."""
        pages = _page_count(job) if job.dataset is Dataset.MARKETS else 1
        return (CALL,) * pages

    def fetch(self, job: Job) -> Iterator[Payload]:
        """Make the calls of a job, one but for MARKETS; raise RequestRejected for what CoinGecko does not have."""
        if job.dataset is Dataset.MARKETS:
            yield from self._fetch_pages(job)
        else:
            yield payload(job, self._client.call(self._request(job), CALL))

    def _fetch_pages(self, job: Job) -> Iterator[Payload]:
        """Yield full pages until `limit` assets are covered or a page is short; no limit is one page."""
        pages = _page_count(job)
        for page in range(1, pages + 1):
            answer = self._client.call(_markets_page(page), CALL)
            yield payload(job, answer)
            if page < pages and len(to_list(decode_json(answer.body), "$")) < PAGE_SIZE:
                return

    def _request(self, job: Job) -> Callable[[Any], object]:
        match job.dataset:
            case Dataset.LISTING:
                return lambda api: api.get_coins_list()
            case Dataset.GLOBAL:
                return lambda api: api.get_global()
            case Dataset.ASSET_DETAILS:
                return _details(_path(job))
            case Dataset.MARKET_HISTORY:
                asset_id, days = _path(job), self._days_back(job)
                return lambda api: api.get_coin_market_chart_by_id(id=asset_id, vs_currency="usd", days=days)
            case Dataset.CANDLES if job.interval in (None, CANDLE_INTERVAL):
                asset_id = _path(job)
                return lambda api: api.get_coin_ohlc_by_id(id=asset_id, vs_currency="usd", days=CANDLE_DAYS)
        raise RequestRejected(f"no {job.dataset} {job.interval or ''}".rstrip(), source=NAME)

    def _days_back(self, job: Job) -> int:
        """Return how many days before now reach `since`: 1 gives points every 5 minutes, 2..90 hourly, more daily.

        Without `since`, one day. Never more than the plan's history, which would be refused as a whole.
        """
        now = self._clock.now()
        # A job waits a little between planning and calling. Counted from the call, 90 days would be 91, and daily.
        end = job.until if job.until is not None and now - job.until < PATIENCE else now
        days = 1 if job.since is None else max(1, -((job.since - end) // DAY))
        return days if self._history is None else min(days, self._history // DAY)


def _page_count(job: Job) -> int:
    return -(-(job.limit or PAGE_SIZE) // PAGE_SIZE)


def _path(job: Job) -> str:
    """Return the asset id as a path segment: the SDK puts it into the URL as it is."""
    return quote(_subject(job), safe="")


def _markets_page(page: int) -> Callable[[Any], object]:
    return lambda api: api.get_coins_markets(
        vs_currency="usd",
        order="market_cap_desc",
        per_page=PAGE_SIZE,
        page=page,
        price_change_percentage="1h,24h,7d",
        precision="full",  # by default prices are rounded, bitcoin's to whole dollars
        sparkline=False,
    )


def _details(asset_id: str) -> Callable[[Any], object]:
    """Switch everything heavy off: bitcoin with all options is 123 KB."""
    return lambda api: api.get_coin_by_id(
        asset_id,
        localization=False,
        tickers=False,
        market_data=False,
        community_data=False,
        developer_data=False,
        sparkline=False,
    )
