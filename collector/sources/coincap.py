"""CoinCap API v3: prices, caps, volumes and supplies of coins in USD, for when the first aggregator gives none.

Every call needs a key, free ones included. Version 2, without keys, is retired: it answers 429 for ever.

- Every number is text, most with 16 decimals. Null is unknown: a maximum supply mostly, others at small coins.
- An asset is named by CoinCap's own id ("bitcoin", "xrp"), which is often CoinGecko's but not always. So that it can be
  recognised, its symbol comes along with every price, as an Asset beside the MarketSnapshot.
- `timestamp` is when the answer was made, in milliseconds. No row says how old its price is.
- Percentages are percent. No currency but USD, no highs and lows, no changes but of 24 hours.
- A call costs 1 credit and 1 more for each 2 500 bytes of its answer. Credits are few (4 000 a month with a free key),
  so the cost of a list is reckoned from its length. No header tells what is left.
- The bodies of its refusals are not documented; an error is read off the status.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import ClassVar

from collector.errors import AccessDenied, PayloadError, RateLimited, RequestRejected, VenueError, VenueUnreachable
from collector.parsing import Fields, decode_json, objects, to_object
from collector.records import (
    Answer,
    Asset,
    Dataset,
    Interval,
    Job,
    MarketSnapshot,
    Payload,
    Record,
    Reject,
    RejectReason,
)
from collector.sources.base import Collector, Cost, Http, Limit, Parser, Plan, Shape, payload, reject

NAME = "coincap"
CREDITS = "credits"
CREDIT_BYTES = 2_500  # of the body, for one credit beside the one that each call costs
ROW_BYTES = 500  # of one asset; 390 without addresses of tokens, and each chain adds some 60
PAGE_SIZE = 1_000  # 2 000 is the most; a call that must be repeated costs all its credits again
LISTED = 3_000  # assets in the whole list, for the proof of a schedule; more are read when there are more
MOST_PAGES = 20  # a list that goes on after so many ignores where a page should start
CALLS_A_MINUTE = 600
MONTH = timedelta(days=31)  # credits renew by the month; no month is longer
OK, REDIRECTION, TIMEOUT, TOO_MANY, SERVER_SIDE = 200, 300, 408, 429, 500
DENIED = frozenset({401, 402, 403, 451})
RETIRED = "deprecat"  # in the message of version 2


def _plan(credits_a_month: int) -> Plan:
    """Return a plan. Each call costs one credit at least, so 600 credits a minute are never more than 600 calls."""
    return Plan(
        base_url="https://rest.coincap.io/v3",
        limits=(
            Limit(scope=CREDITS, capacity=CALLS_A_MINUTE, window=timedelta(minutes=1)),
            Limit(scope=CREDITS, capacity=credits_a_month, window=MONTH),
        ),
        key_header="Authorization",
        key_prefix="Bearer ",
    )


PLANS: Mapping[str, Plan] = {
    "free": _plan(4_000),
    "basic": _plan(75_000),
    "growth": _plan(225_000),
    "professional": _plan(675_000),
    "enterprise": _plan(5_000_000),
}


def unwrap(answer: Answer) -> None:
    """Raise the VenueError that an answer stands for; return when it is good."""
    if OK <= answer.status < REDIRECTION:
        return
    raise _refusal(answer.status, _message(answer))


def _refusal(status: int, message: str) -> VenueError:
    text = f"HTTP {status}: {message}" if message else f"HTTP {status}"
    if status in DENIED or (status == TOO_MANY and RETIRED in message.lower()):
        return AccessDenied(text, source=NAME, status=status)
    if status == TOO_MANY:
        return RateLimited(text, source=NAME, status=status, retry_at=None)
    if status == TIMEOUT or status >= SERVER_SIDE:
        return VenueUnreachable(text, source=NAME, status=status)
    return RequestRejected(text, source=NAME, status=status)


def _message(answer: Answer) -> str:
    """Return the text of `{"data": {"message": ...}}`, the one shape of a refusal that was seen; "" without one."""
    try:
        message = to_object(decode_json(answer.body), "$").object("data").optional_text("message")
    except PayloadError:
        return ""
    return " ".join((message or "").split())[:200]


def parse_listing(payload: Payload) -> list[Record | Reject]:
    """Return an Asset for each row of `{"data": [{"id", "symbol", "name", ...}], "timestamp"}`, then the rejects."""
    rows, rejects, observed_at = _rows(payload)
    return [*(_asset(fields, payload, observed_at) for fields in rows), *rejects]


def parse_markets(payload: Payload) -> list[Record | Reject]:
    """Return the Asset and the MarketSnapshot of each row, in rank order, then the rejects.

    A row without price, cap, volume and supply is a Reject. A null price beside one of these stays, with `price_usd`
    None.
    """
    rows, rejects, observed_at = _rows(payload)
    records: list[Record] = []
    for fields in rows:
        found = _snapshot(fields, payload, observed_at)
        if _says_nothing(found):
            detail = f"{found.asset_id} has no current number"
            rejects.append(reject(payload, fields.values, RejectReason.NO_PRICE, detail))
        else:
            records += [_asset(fields, payload, observed_at), found]
    return [*records, *rejects]


def _rows(payload: Payload) -> tuple[list[Fields], list[Reject], datetime]:
    """Return one row for each asset, what is not one, and the time of the answer, which is that of all rows."""
    body = to_object(decode_json(payload.body), "$")
    rows: dict[str, Fields] = {}
    rejects: list[Reject] = []
    for fields in objects(body.list("data"), "$.data"):
        for key in ("id", "symbol", "name"):
            fields.require(key)
        asset_id, symbol = fields.optional_text("id"), fields.optional_text("symbol")
        if asset_id is None or symbol is None:
            rejects.append(reject(payload, fields.values, RejectReason.WRONG_SUBJECT, "a row without id or symbol"))
        else:
            rows.setdefault(asset_id, fields)
    return list(rows.values()), rejects, body.millis("timestamp")


def _asset(fields: Fields, payload: Payload, observed_at: datetime) -> Asset:
    return Asset(
        source=NAME,
        observed_at=observed_at,
        received_at=payload.received_at,
        asset_id=fields.text("id"),
        symbol=fields.text("symbol").upper(),
        name=fields.optional_text("name") or fields.text("id"),
    )


def _snapshot(fields: Fields, payload: Payload, observed_at: datetime) -> MarketSnapshot:
    for key in ("priceUsd", "marketCapUsd", "volumeUsd24Hr", "supply"):  # null is a value, absence another shape
        fields.require(key)
    return MarketSnapshot(
        source=NAME,
        observed_at=observed_at,
        received_at=payload.received_at,
        asset_id=fields.text("id"),
        price_usd=fields.optional_decimal("priceUsd"),
        market_cap_usd=fields.optional_decimal("marketCapUsd"),
        rank=fields.optional_integer("rank"),
        volume_24h_usd=fields.optional_decimal("volumeUsd24Hr"),
        change_24h_pct=fields.optional_decimal("changePercent24Hr"),
        circulating_supply=fields.optional_decimal("supply"),
        max_supply=fields.optional_decimal("maxSupply"),
    )


def _says_nothing(row: MarketSnapshot) -> bool:
    numbers = (row.price_usd, row.market_cap_usd, row.volume_24h_usd, row.circulating_supply)
    return all(number is None for number in numbers)


def page_cost(assets: int) -> Cost:
    """Return what a list of so many assets costs."""
    return Cost(scope=CREDITS, weight=1 + -(-assets * ROW_BYTES // CREDIT_BYTES))


class CoincapCollector(Collector):
    """CoinCap v3. Shared by threads: it keeps no state between calls."""

    name: ClassVar[str] = NAME
    shapes: ClassVar[Mapping[Dataset, Shape]] = {Dataset.LISTING: Shape.WHOLE, Dataset.MARKETS: Shape.RANKED}
    parsers: ClassVar[Mapping[Dataset, Parser]] = {
        Dataset.LISTING: parse_listing,
        Dataset.MARKETS: parse_markets,
    }
    intervals: ClassVar[tuple[Interval, ...]] = ()
    plans: ClassVar[Mapping[str, Plan]] = PLANS

    def __init__(self, http: Http) -> None:
        self._http = http

    @staticmethod
    def check(answer: Answer) -> None:
        """Raise the VenueError that an answer stands for; return when it is good."""
        unwrap(answer)

    @staticmethod
    def calls(job: Job) -> Sequence[Cost]:
        """Return a call for each page; the whole list is reckoned with 3 000 assets and an empty page at its end."""
        if job.dataset is Dataset.LISTING:
            return [page_cost(PAGE_SIZE)] * (LISTED // PAGE_SIZE + 1)
        return [page_cost(size) for _, size in _ranked_pages(job)]

    def fetch(self, job: Job) -> Iterator[Payload]:
        """Make the calls of a job and yield their answers, best rank first."""
        match job.dataset:
            case Dataset.LISTING:
                yield from self._everything(job)
            case Dataset.MARKETS:
                yield from self._ranked(job)
            case _:
                raise ValueError(f"{NAME} has no {job.dataset}")

    def _ranked(self, job: Job) -> Iterator[Payload]:
        """Yield pages until `limit` assets are there or a page is short."""
        for offset, size in _ranked_pages(job):
            page = self._page(job, offset, size)
            yield page
            if _length(page) < size:
                return

    def _everything(self, job: Job) -> Iterator[Payload]:
        """Yield pages until an empty one: after a short one that is not the last, the rest would count as delisted."""
        offset = 0
        for _ in range(MOST_PAGES):
            page = self._page(job, offset, PAGE_SIZE)
            yield page
            count = _length(page)
            if not count:
                return
            offset += count
        raise PayloadError(f"the list does not end within {MOST_PAGES} pages", "$.data")

    def _page(self, job: Job, offset: int, size: int) -> Payload:
        return payload(job, self._http.get("/assets", {"limit": size, "offset": offset}, page_cost(size)))


def _ranked_pages(job: Job) -> Iterator[tuple[int, int]]:
    """Yield offset and size of each page of the best ranked; no limit is one page."""
    most = job.limit or PAGE_SIZE
    return ((offset, min(PAGE_SIZE, most - offset)) for offset in range(0, most, PAGE_SIZE))


def _length(page: Payload) -> int:
    return len(to_object(decode_json(page.body), "$").list("data"))
