"""Tables of what was observed: one row per observation, natural key as primary key."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Boolean, CheckConstraint, Column, Index, Numeric, PrimaryKeyConstraint, Table
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from collector.storage.models.columns import (
    METADATA,
    finite,
    instrument_id,
    moment,
    not_negative,
    number,
    positive,
    provenance,
    real,
    small,
    text,
    whole,
)

BY_OBSERVATION: Mapping[str, Any] = {"postgresql_partition_by": "RANGE (observed_at)"}
BY_BAR: Mapping[str, Any] = {"postgresql_partition_by": "RANGE (open_time)"}


def _by_time(table: str) -> Index:
    """Index whole cycles by time for next to nothing: rows arrive in time order, so block ranges suffice."""
    return Index(f"ix_{table}_observed_at", "observed_at", postgresql_using="brin")


MARKET_SNAPSHOTS = Table(
    "market_snapshots",
    METADATA,
    *provenance(),
    text("asset_id", "the provider's own id (assets.asset_id)"),
    number("price_usd", "price of one coin in USD", null=True),
    number("market_cap_usd", "circulating supply times price, USD", null=True),
    number("fully_diluted_usd", "value of all coins that will exist, USD", null=True),
    small("rank", "rank by market cap; 1 is the largest", null=True),
    number("volume_24h_usd", "traded in the last 24 h over all venues, USD", null=True),
    number("high_24h_usd", "highest price of the last 24 h, USD", null=True),
    number("low_24h_usd", "lowest price of the last 24 h, USD", null=True),
    number("change_1h_pct", "price change over 1 h, percent", null=True),
    number("change_24h_pct", "price change over 24 h, percent", null=True),
    number("change_7d_pct", "price change over 7 days, percent", null=True),
    number("circulating_supply", "coins in circulation", null=True),
    number("total_supply", "coins that exist", null=True),
    number("max_supply", "coins that can ever exist; NULL when unlimited or not said", null=True),
    number("ath_usd", "all-time high, USD", null=True),
    moment("ath_at", "time of the all-time high (UTC)", null=True),
    number("atl_usd", "all-time low, USD", null=True),
    moment("atl_at", "time of the all-time low (UTC)", null=True),
    PrimaryKeyConstraint("asset_id", "observed_at", "source"),
    not_negative("price_usd", "market_cap_usd", "volume_24h_usd", "circulating_supply"),
    finite("change_1h_pct", "change_24h_pct", "change_7d_pct"),
    _by_time("market_snapshots"),
    comment="Price, size and changes of one asset over all venues, as an aggregator computes them",
    **BY_OBSERVATION,
)

GLOBAL_SNAPSHOTS = Table(
    "global_snapshots",
    METADATA,
    *provenance(),
    number("market_cap_usd", "market cap of all assets, USD"),
    number("volume_24h_usd", "traded in the last 24 h, USD"),
    number("btc_dominance_pct", "share of bitcoin in the market cap, percent", null=True),
    number("eth_dominance_pct", "share of ethereum in the market cap, percent", null=True),
    number("market_cap_change_24h_pct", "change of the market cap over 24 h, percent", null=True),
    small("active_assets", "assets the provider follows", null=True),
    small("markets", "venues the provider follows", null=True),
    PrimaryKeyConstraint("source", "observed_at"),
    not_negative("market_cap_usd", "volume_24h_usd"),
    comment="The whole market in one row per observation",
)

TICKERS = Table(
    "tickers",
    METADATA,
    *provenance(),
    instrument_id(),
    number("last_price", "price of the last trade, in quote"),
    number("bid_price", "best bid, in quote", null=True),
    number("bid_size", "size at the best bid, in base units", null=True),
    number("ask_price", "best ask, in quote", null=True),
    number("ask_size", "size at the best ask, in base units", null=True),
    number("open_24h", "price 24 h ago, in quote", null=True),
    number("high_24h", "highest price of the last 24 h, in quote", null=True),
    number("low_24h", "lowest price of the last 24 h, in quote", null=True),
    number("volume_24h", "traded in the last 24 h, in base units", null=True),
    number("quote_volume_24h", "traded in the last 24 h, in quote", null=True),
    number("change_24h_pct", "price change over 24 h, percent", null=True),
    PrimaryKeyConstraint("instrument_id", "observed_at", "source"),
    positive("last_price"),
    not_negative("bid_price", "bid_size", "ask_price", "ask_size", "volume_24h", "quote_volume_24h"),
    _by_time("tickers"),
    comment="Last trade, best quotes and rolling 24 h figures per instrument",
    **BY_OBSERVATION,
)

CANDLES = Table(
    "candles",
    METADATA,
    *provenance("end of the bar (UTC)"),
    instrument_id(),
    text("interval", "length of the bar: 1m 5m 15m 1h 4h 1d 1w"),
    moment("open_time", "start of the bar, on the UTC grid; weeks start on Monday"),
    number("open", "first price, in quote"),
    number("high", "highest price, in quote"),
    number("low", "lowest price, in quote"),
    number("close", "last price, in quote"),
    number("volume", "traded, in base units", null=True),
    number("quote_volume", "traded, in quote", null=True),
    whole("trades", "number of trades", null=True),
    number("taker_buy_volume", "bought by takers, in base units", null=True),
    PrimaryKeyConstraint("instrument_id", "interval", "open_time"),
    CheckConstraint("high >= greatest(open, close) AND high < 'Infinity'", name="high"),
    CheckConstraint("low <= least(open, close) AND low > 0", name="low"),
    not_negative("volume", "quote_volume", "taker_buy_volume"),
    CheckConstraint("trades >= 0", name="trades"),
    comment="Closed bars only, one per instrument, interval and start; source says who gave it",
    **BY_BAR,
)

ORDER_BOOKS = Table(
    "order_books",
    METADATA,
    *provenance(),
    instrument_id(),
    whole("last_update_id", "the venue's sequence number of the book", null=True),
    *(
        Column(name, ARRAY(Numeric()), nullable=False, comment=comment)
        for name, comment in (
            ("bid_prices", "prices of the bid levels, best (highest) first, in quote"),
            ("bid_sizes", "sizes of the bid levels, in base units"),
            ("ask_prices", "prices of the ask levels, best (lowest) first, in quote"),
            ("ask_sizes", "sizes of the ask levels, in base units"),
        )
    ),
    number("best_bid", "bid_prices[1]; NULL without bids", null=True),
    number("best_ask", "ask_prices[1]; NULL without asks", null=True),
    real("spread_bps", "(best_ask - best_bid) / mid * 10000, mid = (best_bid + best_ask) / 2; NULL on an empty side"),
    real(
        "imbalance", "(bids - asks) / (bids + asks) of the sizes of the ten best levels, -1 to 1; NULL on an empty side"
    ),
    *(
        number(
            f"depth_{side}_{bps}bps",
            f"base units in {side} levels within {bps} bps of mid; NULL on an empty side; "
            f"a lower bound when reach_{side}_bps is smaller than {bps}",
            null=True,
        )
        for bps in (10, 50, 100)
        for side in ("bid", "ask")
    ),
    real("reach_bid_bps", "distance of the last stored bid level from mid, in bps"),
    real("reach_ask_bps", "distance of the last stored ask level from mid, in bps"),
    PrimaryKeyConstraint("instrument_id", "observed_at", "source"),
    CheckConstraint("cardinality(bid_prices) = cardinality(bid_sizes)", name="bid_levels"),
    CheckConstraint("cardinality(ask_prices) = cardinality(ask_sizes)", name="ask_levels"),
    CheckConstraint("0 < ALL (bid_prices) AND 0 < ALL (ask_prices)", name="positive_prices"),
    CheckConstraint("0 <= ALL (bid_sizes) AND 0 <= ALL (ask_sizes)", name="sizes"),
    _by_time("order_books"),
    comment="Resting orders of one instrument at one moment",
    **BY_OBSERVATION,
)

MARK_PRICES = Table(
    "mark_prices",
    METADATA,
    *provenance(),
    instrument_id(),
    number("mark_price", "price the venue uses for margin and funding, in quote"),
    number("index_price", "price of the underlying index, in quote", null=True),
    PrimaryKeyConstraint("instrument_id", "observed_at", "source"),
    positive("mark_price", "index_price"),
    _by_time("mark_prices"),
    comment="Mark and index price per instrument",
    **BY_OBSERVATION,
)

FUNDING_FORECASTS = Table(
    "funding_forecasts",
    METADATA,
    *provenance(),
    instrument_id(),
    moment("funding_time", "the payment that the forecast is about (UTC)"),
    number("rate", "forecast rate as a fraction of the position's value; positive: long pays short"),
    PrimaryKeyConstraint("instrument_id", "observed_at", "source"),
    finite("rate"),
    _by_time("funding_forecasts"),
    comment="The funding rate that would be charged, as it stood; never a settled rate",
    **BY_OBSERVATION,
)

FUNDING_RATES = Table(
    "funding_rates",
    METADATA,
    *provenance(),
    instrument_id(),
    moment("funding_time", "time of the payment (UTC)"),
    number("rate", "settled rate as a fraction of the position's value; positive: long pays short"),
    number("mark_price", "mark price used for the payment, in quote", null=True),
    text("rate_type", "regular, or the venue's word for a special payment"),
    PrimaryKeyConstraint("instrument_id", "funding_time", "rate_type", "source"),
    finite("rate"),
    positive("mark_price"),
    comment="Settled funding payments",
)

FUNDING_TERMS = Table(
    "funding_terms",
    METADATA,
    *provenance(),
    instrument_id(),
    number("interval_hours", "hours between payments", null=True),
    number("rate_cap", "largest rate per payment, fraction", null=True),
    number("rate_floor", "smallest rate per payment, fraction", null=True),
    PrimaryKeyConstraint("instrument_id", "source"),
    positive("interval_hours"),
    finite("rate_cap", "rate_floor"),
    comment="Funding interval and bounds per instrument, as last announced",
)

OPEN_INTEREST = Table(
    "open_interest",
    METADATA,
    *provenance(),
    instrument_id(),
    number("open_interest", "open positions, one side, in base units"),
    number("contracts", "the same in contracts", null=True),
    number("value_usd", "the same in USD, by the venue", null=True),
    PrimaryKeyConstraint("instrument_id", "observed_at", "source"),
    not_negative("open_interest", "contracts", "value_usd"),
    _by_time("open_interest"),
    comment="Open positions per instrument",
    **BY_OBSERVATION,
)

SENTIMENTS = Table(
    "sentiments",
    METADATA,
    *provenance("start of the day that the value is about (UTC)"),
    small("value", "0 is extreme fear, 100 is extreme greed"),
    text("classification", "the same in the provider's words"),
    PrimaryKeyConstraint("source", "observed_at"),
    CheckConstraint("value BETWEEN 0 AND 100", name="value"),
    comment="The mood of the market, one row per day",
)

INDICATOR_COLUMNS = {
    "rsi_14": "relative strength index, 14 bars, 0 to 100",
    "macd": "EMA 12 minus EMA 26 of close, in quote",
    "macd_signal": "EMA 9 of macd, in quote",
    "macd_hist": "macd minus macd_signal, in quote",
    "sma_20": "mean close of 20 bars, in quote",
    "sma_50": "mean close of 50 bars, in quote",
    "sma_200": "mean close of 200 bars, in quote",
    "ema_12": "exponential mean of close, 12 bars, in quote",
    "ema_26": "exponential mean of close, 26 bars, in quote",
    "ema_50": "exponential mean of close, 50 bars, in quote",
    "ema_200": "exponential mean of close, 200 bars, in quote",
    "bb_upper": "Bollinger band, 20 bars, +2 deviations, in quote",
    "bb_middle": "Bollinger band, mean of 20 bars, in quote",
    "bb_lower": "Bollinger band, 20 bars, -2 deviations, in quote",
    "atr_14": "average true range, 14 bars, in quote",
    "adx_14": "average directional index, 14 bars, 0 to 100",
    "stoch_k": "stochastic %K, 0 to 100",
    "stoch_d": "stochastic %D, 0 to 100",
    "obv": "on-balance volume, in base units, from the first stored bar of the series",
    "pivot": "classic pivot point of the previous UTC day, in quote",
    "pivot_r1": "first resistance of the pivot, in quote",
    "pivot_r2": "second resistance of the pivot, in quote",
    "pivot_r3": "third resistance of the pivot, in quote",
    "pivot_s1": "first support of the pivot, in quote",
    "pivot_s2": "second support of the pivot, in quote",
    "pivot_s3": "third support of the pivot, in quote",
    "swing_high": "high of the last swing in the look-back, in quote",
    "swing_low": "low of the last swing in the look-back, in quote",
    "fib_236": "23.6 % retracement of the swing, in quote",
    "fib_382": "38.2 % retracement of the swing, in quote",
    "fib_500": "50 % retracement of the swing, in quote",
    "fib_618": "61.8 % retracement of the swing, in quote",
    "fib_786": "78.6 % retracement of the swing, in quote",
}
"""Standard indicators and what they mean; each is NULL until its warm-up is over."""

INDICATORS = Table(
    "indicators",
    METADATA,
    instrument_id(),
    text("interval", "length of the bar"),
    moment("open_time", "start of the bar (UTC)"),
    *(real(name, comment) for name, comment in INDICATOR_COLUMNS.items()),
    Column("extra", JSONB(), nullable=True, comment="configured TA-Lib functions, output name -> value"),
    Column("warm", Boolean(), nullable=False, comment="every standard indicator has its full history at this bar"),
    moment("computed_at", "when we computed it (UTC)"),
    whole("cycle_id", "the cycle that computed or last changed the row (cycles.cycle_id)"),
    PrimaryKeyConstraint("instrument_id", "interval", "open_time"),
    comment="Technical indicators of closed bars, one row per bar",
    **BY_BAR,
)
