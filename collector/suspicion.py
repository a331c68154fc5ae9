"""Doubt: values that are stored although they look wrong, because a market can do anything; pure.

A jump is a price far from the one before it in its series. Prices move less than in proportion to time, so the bound
grows with its fourth root: |ln(price / before)| > ln(1 + jump_pct / 100) * (minutes between, at least 1) ^ (1/4).
With the default of 20 % that is 20 % for a minute, 31 % for five, 66 % for an hour, and a factor of 3.1 for a day. A
wrong unit or a swapped symbol is beyond that in any case; the wildest minute of a large market is not.

A divergence is a price that differs from what other sources say of the same asset in the same class of quote currency
(see `QUOTE_CLASSES`). Prices are per coin. With three sources or more each is compared with the median of all; with
two, with the other, and both are doubted, for nobody can say which is wrong.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from statistics import median

from collector.records import Batch, Candle, Dataset, MarketSnapshot, MarkPrice, Record, Suspect, Ticker

SAME_TIME = timedelta(minutes=5)  # prices observed within this of each other are of one moment
# Currencies that follow the dollar closely enough for a tolerance of percents.
QUOTE_CLASSES: Mapping[str, str] = dict.fromkeys(
    ("USD", "USDT", "USDC", "USD_UM", "FDUSD", "BUSD", "TUSD", "DAI", "USDE"), "USD"
)

Series = tuple[Dataset, str, str]
"""(dataset, instrument or asset id, interval or "")"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What is still believed without a doubt, in percent."""

    jump_pct: Decimal = Decimal(20)
    divergence_pct: Decimal = Decimal(5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """The last price of a series."""

    price: Decimal
    observed_at: datetime
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What one source says a coin costs."""

    asset_id: str
    quote: str
    dataset: Dataset
    subject: str  # instrument or asset id
    source: str
    price: Decimal  # of one coin, in quote
    observed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """How far the sources are apart."""

    compared: int = 0  # assets and quote classes with two sources or more
    suspects: tuple[Suspect, ...] = ()
    worst_pct: Decimal | None = None  # None when nothing was compared
    worst_subject: str = ""


# --------------------------------------------------------------------------- jumps


def series_of(record: Record) -> Series | None:
    """Return the price series that a record belongs to; None for a record without a price."""
    if isinstance(record, Candle):
        return Dataset.CANDLES, record.instrument.id, str(record.interval)
    if isinstance(record, Ticker):
        return Dataset.TICKERS, record.instrument.id, ""
    if isinstance(record, MarkPrice):
        return Dataset.MARK_PRICES, record.instrument.id, ""
    if isinstance(record, MarketSnapshot) and record.price_usd is not None:
        return Dataset.MARKETS, record.asset_id, ""
    return None


def suspects_of(batch: Batch, previous: Mapping[Series, Price], bounds: Bounds) -> list[Suspect]:
    """Return the jumps in a batch of believed records, each against the value before it.

    The first of a series is compared with `previous`; with nothing when that is newer, as for a bar fetched late.
    """
    found: list[Suspect] = []
    for series, records in _by_series(batch).items():
        before = previous.get(series)
        for record in records:
            if before is not None and before.observed_at < record.observed_at:
                suspect = _jump(series, record, before, bounds)
                found += [suspect] if suspect else []
            before = _last_price(record)
    return found


def newest_prices(batch: Batch, previous: Mapping[Series, Price]) -> dict[Series, Price]:
    """Return the last price of each series of a batch that is newer than what was known before."""
    found = {series: _last_price(records[-1]) for series, records in _by_series(batch).items()}
    return {
        series: price
        for series, price in found.items()
        if series not in previous or previous[series].observed_at <= price.observed_at
    }


def _by_series(batch: Batch) -> dict[Series, list[Record]]:
    found: defaultdict[Series, list[Record]] = defaultdict(list)
    for record in batch.records:
        series = series_of(record)
        if series is not None:
            found[series].append(record)
    return {series: sorted(records, key=lambda item: item.observed_at) for series, records in found.items()}


def _prices(record: Record) -> tuple[Decimal, ...]:
    """Return every price of a record that can have jumped, the last one at the end."""
    if isinstance(record, Candle):
        return record.high, record.low, record.close
    if isinstance(record, Ticker):
        return (record.last_price,)
    if isinstance(record, MarkPrice):
        return (record.mark_price,)
    return (record.price_usd,) if isinstance(record, MarketSnapshot) and record.price_usd is not None else ()


def _last_price(record: Record) -> Price:
    return Price(price=_prices(record)[-1], observed_at=record.observed_at, source=record.source)


def _jump(series: Series, record: Record, before: Price, bounds: Bounds) -> Suspect | None:
    minutes = max(1.0, (record.observed_at - before.observed_at) / timedelta(minutes=1))
    bound = math.log(1 + float(bounds.jump_pct) / 100) * minutes**0.25
    worst = max(_prices(record), key=lambda price: abs(_log_ratio(price, before.price)))
    if abs(_log_ratio(worst, before.price)) <= bound:
        return None
    dataset, subject, interval = series
    change = (worst / before.price - 1) * 100
    what = f"{interval} bar" if interval else "price"
    return Suspect(
        dataset=dataset,
        subject=subject,
        source=record.source,
        observed_at=record.observed_at,
        kind="jump",
        value=worst,
        reference=before.price,
        reference_source=before.source,
        detail=f"{what} {float(change):+.3g} % from the one before, {minutes:.4g} min earlier",
    )


def _log_ratio(price: Decimal, other: Decimal) -> float:
    return math.log(price / other)


# --------------------------------------------------------------------------- divergence


def divergence_of(views: Iterable[View], bounds: Bounds) -> Divergence:
    """Compare what the sources say of each asset. Views older than `SAME_TIME` before the newest are left out."""
    compared, worst, worst_subject = 0, None, ""
    suspects: list[Suspect] = []
    for group in _by_meaning(views).values():
        by_source = _medians(group)
        if len(by_source) < 2:  # noqa: PLR2004 - one source has nobody to differ from
            continue
        compared += 1
        for view in group:
            reference, named = _reference(view.source, by_source)
            apart = abs(view.price / reference - 1) * 100
            if worst is None or apart > worst:
                worst, worst_subject = apart, view.subject
            if apart > bounds.divergence_pct:
                suspects.append(_divergent(view, reference, named, apart))
    shown = None if worst is None else worst.quantize(Decimal("0.001"))
    return Divergence(compared=compared, suspects=tuple(suspects), worst_pct=shown, worst_subject=worst_subject)


def _by_meaning(views: Iterable[View]) -> dict[tuple[str, str], list[View]]:
    """Return the views of each asset and class of quote currency that are of one moment."""
    groups: defaultdict[tuple[str, str], list[View]] = defaultdict(list)
    for view in views:
        groups[view.asset_id, QUOTE_CLASSES.get(view.quote, view.quote)].append(view)
    newest = {key: max(view.observed_at for view in group) for key, group in groups.items()}
    return {
        key: [view for view in group if newest[key] - view.observed_at <= SAME_TIME] for key, group in groups.items()
    }


def _medians(group: Sequence[View]) -> dict[str, Decimal]:
    prices: defaultdict[str, list[Decimal]] = defaultdict(list)
    for view in group:
        prices[view.source].append(view.price)
    return {source: median(values) for source, values in prices.items()}


def _reference(source: str, by_source: Mapping[str, Decimal]) -> tuple[Decimal, str]:
    """Return what a source is compared with, and who said it."""
    others = [name for name in by_source if name != source]
    if len(others) == 1:
        return by_source[others[0]], others[0]
    return median(by_source.values()), f"median of {', '.join(sorted(by_source))}"


def _divergent(view: View, reference: Decimal, named: str, apart: Decimal) -> Suspect:
    return Suspect(
        dataset=view.dataset,
        subject=view.subject,
        source=view.source,
        observed_at=view.observed_at,
        kind="divergence",
        value=view.price,
        reference=reference,
        reference_source=named,
        detail=f"{float(apart):.3g} % from what others say a coin of {view.asset_id} costs",
    )
