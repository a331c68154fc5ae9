"""The first schema: listings, market data by the month, indicators, the ledger, and views for people.

Created: 2026-11-20
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


VIEWS = {
    "v_candles": (
        "SELECT i.instrument, t.interval, t.open_time, t.observed_at, t.open, t.high, t.low, t.close, "
        "t.volume, t.quote_volume, t.trades, t.taker_buy_volume, t.source, t.received_at, t.cycle_id FROM "
        "candles t JOIN instruments i USING (instrument_id)"
    ),
    "v_funding_forecasts": (
        "SELECT i.instrument, t.funding_time, t.observed_at, t.rate, t.source, t.received_at, t.cycle_id FROM "
        "funding_forecasts t JOIN instruments i USING (instrument_id)"
    ),
    "v_funding_rates": (
        "SELECT i.instrument, t.funding_time, t.observed_at, t.rate, t.mark_price, t.rate_type, t.source, "
        "t.received_at, t.cycle_id FROM funding_rates t JOIN instruments i USING (instrument_id)"
    ),
    "v_funding_terms": (
        "SELECT i.instrument, t.observed_at, t.interval_hours, t.rate_cap, t.rate_floor, t.source, "
        "t.received_at, t.cycle_id FROM funding_terms t JOIN instruments i USING (instrument_id)"
    ),
    "v_indicators": (
        "SELECT i.instrument, t.interval, t.open_time, t.rsi_14, t.macd, t.macd_signal, t.macd_hist, "
        "t.sma_20, t.sma_50, t.sma_200, t.ema_12, t.ema_26, t.ema_50, t.ema_200, t.bb_upper, t.bb_middle, "
        "t.bb_lower, t.atr_14, t.adx_14, t.stoch_k, t.stoch_d, t.obv, t.pivot, t.pivot_r1, t.pivot_r2, "
        "t.pivot_r3, t.pivot_s1, t.pivot_s2, t.pivot_s3, t.swing_high, t.swing_low, t.fib_236, t.fib_382, "
        "t.fib_500, t.fib_618, t.fib_786, t.extra, t.warm, t.computed_at, t.cycle_id FROM indicators t JOIN "
        "instruments i USING (instrument_id)"
    ),
    "v_mark_prices": (
        "SELECT i.instrument, t.observed_at, t.mark_price, t.index_price, t.source, t.received_at, t.cycle_id "
        "FROM mark_prices t JOIN instruments i USING (instrument_id)"
    ),
    "v_open_interest": (
        "SELECT i.instrument, t.observed_at, t.open_interest, t.contracts, t.value_usd, t.source, "
        "t.received_at, t.cycle_id FROM open_interest t JOIN instruments i USING (instrument_id)"
    ),
    "v_order_books": (
        "SELECT i.instrument, t.observed_at, t.last_update_id, t.bid_prices, t.bid_sizes, t.ask_prices, "
        "t.ask_sizes, t.best_bid, t.best_ask, t.spread_bps, t.imbalance, t.depth_bid_10bps, "
        "t.depth_ask_10bps, t.depth_bid_50bps, t.depth_ask_50bps, t.depth_bid_100bps, t.depth_ask_100bps, "
        "t.reach_bid_bps, t.reach_ask_bps, t.source, t.received_at, t.cycle_id FROM order_books t JOIN "
        "instruments i USING (instrument_id)"
    ),
    "v_tickers": (
        "SELECT i.instrument, t.observed_at, t.last_price, t.bid_price, t.bid_size, t.ask_price, t.ask_size, "
        "t.open_24h, t.high_24h, t.low_24h, t.volume_24h, t.quote_volume_24h, t.change_24h_pct, t.source, "
        "t.received_at, t.cycle_id FROM tickers t JOIN instruments i USING (instrument_id)"
    ),
    "v_market_snapshots": (
        "SELECT t.asset_id, a.symbol, a.name, t.observed_at, t.price_usd, t.market_cap_usd, "
        "t.fully_diluted_usd, t.rank, t.volume_24h_usd, t.high_24h_usd, t.low_24h_usd, t.change_1h_pct, "
        "t.change_24h_pct, t.change_7d_pct, t.circulating_supply, t.total_supply, t.max_supply, t.ath_usd, "
        "t.ath_at, t.atl_usd, t.atl_at, t.source, t.received_at, t.cycle_id FROM market_snapshots t LEFT JOIN "
        "assets a USING (source, asset_id)"
    ),
    "order_book_levels": (
        "SELECT i.instrument, b.observed_at, 'bid' AS side, l.level::integer AS level, l.price, l.size, "
        "b.source, b.cycle_id FROM order_books b JOIN instruments i USING (instrument_id) CROSS JOIN LATERAL "
        "unnest(b.bid_prices, b.bid_sizes) WITH ORDINALITY AS l(price, size, level) UNION ALL SELECT "
        "i.instrument, b.observed_at, 'ask' AS side, l.level::integer AS level, l.price, l.size, b.source, "
        "b.cycle_id FROM order_books b JOIN instruments i USING (instrument_id) CROSS JOIN LATERAL "
        "unnest(b.ask_prices, b.ask_sizes) WITH ORDINALITY AS l(price, size, level)"
    ),
    "latest_mark_prices": (
        "SELECT i.instrument, t.observed_at, t.mark_price, t.index_price, t.source, t.received_at, t.cycle_id "
        "FROM instruments i CROSS JOIN LATERAL (SELECT * FROM mark_prices r WHERE r.instrument_id = "
        "i.instrument_id ORDER BY r.observed_at DESC LIMIT 1) t"
    ),
    "latest_open_interest": (
        "SELECT i.instrument, t.observed_at, t.open_interest, t.contracts, t.value_usd, t.source, "
        "t.received_at, t.cycle_id FROM instruments i CROSS JOIN LATERAL (SELECT * FROM open_interest r WHERE "
        "r.instrument_id = i.instrument_id ORDER BY r.observed_at DESC LIMIT 1) t"
    ),
    "latest_tickers": (
        "SELECT i.instrument, t.observed_at, t.last_price, t.bid_price, t.bid_size, t.ask_price, t.ask_size, "
        "t.open_24h, t.high_24h, t.low_24h, t.volume_24h, t.quote_volume_24h, t.change_24h_pct, t.source, "
        "t.received_at, t.cycle_id FROM instruments i CROSS JOIN LATERAL (SELECT * FROM tickers r WHERE "
        "r.instrument_id = i.instrument_id ORDER BY r.observed_at DESC LIMIT 1) t"
    ),
    "latest_market_snapshots": (
        "SELECT t.asset_id, a.symbol, a.name, t.observed_at, t.price_usd, t.market_cap_usd, "
        "t.fully_diluted_usd, t.rank, t.volume_24h_usd, t.high_24h_usd, t.low_24h_usd, t.change_1h_pct, "
        "t.change_24h_pct, t.change_7d_pct, t.circulating_supply, t.total_supply, t.max_supply, t.ath_usd, "
        "t.ath_at, t.atl_usd, t.atl_at, t.source, t.received_at, t.cycle_id FROM assets a CROSS JOIN LATERAL "
        "(SELECT * FROM market_snapshots r WHERE r.asset_id = a.asset_id AND r.source = a.source ORDER BY "
        "r.observed_at DESC LIMIT 1) t"
    ),
}
VIEW_COMMENTS = {
    "v_candles": "candles with instrument names",
    "v_funding_forecasts": "funding_forecasts with instrument names",
    "v_funding_rates": "funding_rates with instrument names",
    "v_funding_terms": "funding_terms with instrument names",
    "v_indicators": "indicators with instrument names",
    "v_mark_prices": "mark_prices with instrument names",
    "v_open_interest": "open_interest with instrument names",
    "v_order_books": "order_books with instrument names",
    "v_tickers": "tickers with instrument names",
    "v_market_snapshots": "market_snapshots with symbols and names",
    "order_book_levels": "order_books, one row per level; level 1 is the best",
    "latest_mark_prices": "newest row of mark_prices per instrument",
    "latest_open_interest": "newest row of open_interest per instrument",
    "latest_tickers": "newest row of tickers per instrument",
    "latest_market_snapshots": "newest row of market_snapshots per asset",
}


def upgrade() -> None:
    op.create_table(
        "asset_details",
        sa.Column(
            "source", sa.Text(), nullable=False, comment="who the value came from, e.g. coingecko, binance_futures"
        ),
        sa.Column(
            "observed_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="time of the observation, by the provider's clock (UTC)",
        ),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False, comment="when we received it (UTC)"),
        sa.Column(
            "cycle_id",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="the cycle that stored or last changed the row (cycles.cycle_id)",
        ),
        sa.Column("asset_id", sa.Text(), nullable=False, comment="the provider's own id"),
        sa.Column("symbol", sa.Text(), nullable=False, comment="ticker symbol in upper case"),
        sa.Column("name", sa.Text(), nullable=False, comment="name"),
        sa.Column(
            "categories", postgresql.ARRAY(sa.Text()), nullable=False, comment="the provider's categories, in its order"
        ),
        sa.Column(
            "platforms",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="platform id -> contract address",
        ),
        sa.Column("genesis_date", sa.Text(), nullable=True, comment="first block, ISO date"),
        sa.Column("hashing_algorithm", sa.Text(), nullable=True, comment="as the provider names it"),
        sa.Column("homepage", sa.Text(), nullable=True, comment="first homepage link"),
        sa.Column("country_origin", sa.Text(), nullable=True, comment="country code"),
        sa.PrimaryKeyConstraint("source", "asset_id", name=op.f("pk_asset_details")),
        comment="Slow facts about one asset, newest version",
    )
    op.create_table(
        "assets",
        sa.Column("source", sa.Text(), nullable=False, comment="the provider whose listing this is"),
        sa.Column(
            "asset_id",
            sa.Text(),
            nullable=False,
            comment="the provider's own id, unique within the source, e.g. bitcoin",
        ),
        sa.Column(
            "symbol", sa.Text(), nullable=False, comment="ticker symbol in upper case; several assets may share one"
        ),
        sa.Column("name", sa.Text(), nullable=False, comment="name in the listing"),
        sa.Column(
            "rank",
            sa.Integer(),
            autoincrement=False,
            nullable=True,
            comment="rank by market cap when the universe was last chosen; 1 is the largest",
        ),
        sa.Column(
            "followed",
            sa.Boolean(),
            server_default="false",
            nullable=False,
            comment="collected now: chosen by the universe",
        ),
        sa.Column(
            "first_seen_at", sa.DateTime(timezone=True), nullable=False, comment="first time in the listing (UTC)"
        ),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False, comment="last time in the listing (UTC)"),
        sa.Column(
            "delisted_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when it was first missing from a complete listing; NULL while listed",
        ),
        sa.PrimaryKeyConstraint("source", "asset_id", name=op.f("pk_assets")),
        comment="Coins and tokens as a provider lists them",
    )
    op.create_index("ix_assets_symbol", "assets", ["symbol"], unique=False)
    op.create_table(
        "candles",
        sa.Column(
            "source", sa.Text(), nullable=False, comment="who the value came from, e.g. coingecko, binance_futures"
        ),
        sa.Column("observed_at", sa.DateTime(timezone=True), nullable=False, comment="end of the bar (UTC)"),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False, comment="when we received it (UTC)"),
        sa.Column(
            "cycle_id",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="the cycle that stored or last changed the row (cycles.cycle_id)",
        ),
        sa.Column(
            "instrument_id", sa.Integer(), autoincrement=False, nullable=False, comment="instruments.instrument_id"
        ),
        sa.Column("interval", sa.Text(), nullable=False, comment="length of the bar: 1m 5m 15m 1h 4h 1d 1w"),
        sa.Column(
            "open_time",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="start of the bar, on the UTC grid; weeks start on Monday",
        ),
        sa.Column("open", sa.Numeric(), nullable=False, comment="first price, in quote"),
        sa.Column("high", sa.Numeric(), nullable=False, comment="highest price, in quote"),
        sa.Column("low", sa.Numeric(), nullable=False, comment="lowest price, in quote"),
        sa.Column("close", sa.Numeric(), nullable=False, comment="last price, in quote"),
        sa.Column("volume", sa.Numeric(), nullable=True, comment="traded, in base units"),
        sa.Column("quote_volume", sa.Numeric(), nullable=True, comment="traded, in quote"),
        sa.Column("trades", sa.BigInteger(), autoincrement=False, nullable=True, comment="number of trades"),
        sa.Column("taker_buy_volume", sa.Numeric(), nullable=True, comment="bought by takers, in base units"),
        sa.CheckConstraint("high >= greatest(open, close) AND high < 'Infinity'", name=op.f("ck_candles_high")),
        sa.CheckConstraint(
            "volume >= 0 AND volume < 'Infinity' AND quote_volume >= 0 AND quote_volume < 'Infinity' AND taker_buy_volume >= 0 AND taker_buy_volume < 'Infinity'",
            name=op.f("ck_candles_not_negative"),
        ),
        sa.CheckConstraint("low <= least(open, close) AND low > 0", name=op.f("ck_candles_low")),
        sa.CheckConstraint("trades >= 0", name=op.f("ck_candles_trades")),
        sa.PrimaryKeyConstraint("instrument_id", "interval", "open_time", name=op.f("pk_candles")),
        comment="Closed bars only, one per instrument, interval and start; source says who gave it",
        postgresql_partition_by="RANGE (open_time)",
    )
    op.create_table(
        "cycles",
        sa.Column("cycle_id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="number of the cycle"),
        sa.Column("cadence", sa.Text(), nullable=False, comment="which schedule started it"),
        sa.Column(
            "state",
            sa.Text(),
            nullable=False,
            comment="running, then ok, partial or failed; abandoned when its process died",
        ),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False, comment="start (UTC)"),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True, comment="end; NULL while running (UTC)"),
        sa.Column("instance", sa.Text(), nullable=False, comment="the process that ran it, e.g. host:pid"),
        sa.Column("folder", sa.Text(), nullable=False, comment="its log folder"),
        sa.Column(
            "simulated", sa.Boolean(), nullable=False, comment="the data came from the simulator, not from the market"
        ),
        sa.Column(
            "rows_written",
            sa.BigInteger(),
            server_default="0",
            autoincrement=False,
            nullable=False,
            comment="market rows inserted or changed",
        ),
        sa.Column(
            "indicator_rows",
            sa.BigInteger(),
            server_default="0",
            autoincrement=False,
            nullable=False,
            comment="indicator rows inserted or changed",
        ),
        sa.Column(
            "jobs_ok",
            sa.Integer(),
            server_default="0",
            autoincrement=False,
            nullable=False,
            comment="jobs that ended well",
        ),
        sa.Column(
            "jobs_failed",
            sa.Integer(),
            server_default="0",
            autoincrement=False,
            nullable=False,
            comment="jobs that failed",
        ),
        sa.Column(
            "jobs_skipped",
            sa.Integer(),
            server_default="0",
            autoincrement=False,
            nullable=False,
            comment="jobs that were not started",
        ),
        sa.Column(
            "rejects",
            sa.Integer(),
            server_default="0",
            autoincrement=False,
            nullable=False,
            comment="rows that were not believed",
        ),
        sa.Column(
            "report",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="the whole report; NULL while running",
        ),
        sa.CheckConstraint("(state = 'running') = (finished_at IS NULL)", name=op.f("ck_cycles_finished")),
        sa.CheckConstraint(
            "state IN ('running', 'ok', 'partial', 'failed', 'abandoned')", name=op.f("ck_cycles_state_known")
        ),
        sa.PrimaryKeyConstraint("cycle_id", name=op.f("pk_cycles")),
        comment="One pass over all sources each",
    )
    op.create_index("ix_cycles_running", "cycles", ["cycle_id"], unique=False, postgresql_where="state = 'running'")
    op.create_index("ix_cycles_started_at", "cycles", ["started_at"], unique=False)
    op.create_table(
        "funding_forecasts",
        sa.Column(
            "source", sa.Text(), nullable=False, comment="who the value came from, e.g. coingecko, binance_futures"
        ),
        sa.Column(
            "observed_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="time of the observation, by the provider's clock (UTC)",
        ),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False, comment="when we received it (UTC)"),
        sa.Column(
            "cycle_id",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="the cycle that stored or last changed the row (cycles.cycle_id)",
        ),
        sa.Column(
            "instrument_id", sa.Integer(), autoincrement=False, nullable=False, comment="instruments.instrument_id"
        ),
        sa.Column(
            "funding_time",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="the payment that the forecast is about (UTC)",
        ),
        sa.Column(
            "rate",
            sa.Numeric(),
            nullable=False,
            comment="forecast rate as a fraction of the position's value; positive: long pays short",
        ),
        sa.CheckConstraint("rate > '-Infinity' AND rate < 'Infinity'", name=op.f("ck_funding_forecasts_finite")),
        sa.PrimaryKeyConstraint("instrument_id", "observed_at", "source", name=op.f("pk_funding_forecasts")),
        comment="The funding rate that would be charged, as it stood; never a settled rate",
        postgresql_partition_by="RANGE (observed_at)",
    )
    op.create_index(
        "ix_funding_forecasts_observed_at", "funding_forecasts", ["observed_at"], unique=False, postgresql_using="brin"
    )
    op.create_table(
        "funding_rates",
        sa.Column(
            "source", sa.Text(), nullable=False, comment="who the value came from, e.g. coingecko, binance_futures"
        ),
        sa.Column(
            "observed_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="time of the observation, by the provider's clock (UTC)",
        ),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False, comment="when we received it (UTC)"),
        sa.Column(
            "cycle_id",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="the cycle that stored or last changed the row (cycles.cycle_id)",
        ),
        sa.Column(
            "instrument_id", sa.Integer(), autoincrement=False, nullable=False, comment="instruments.instrument_id"
        ),
        sa.Column("funding_time", sa.DateTime(timezone=True), nullable=False, comment="time of the payment (UTC)"),
        sa.Column(
            "rate",
            sa.Numeric(),
            nullable=False,
            comment="settled rate as a fraction of the position's value; positive: long pays short",
        ),
        sa.Column("mark_price", sa.Numeric(), nullable=True, comment="mark price used for the payment, in quote"),
        sa.Column("rate_type", sa.Text(), nullable=False, comment="regular, or the venue's word for a special payment"),
        sa.CheckConstraint("mark_price > 0 AND mark_price < 'Infinity'", name=op.f("ck_funding_rates_positive")),
        sa.CheckConstraint("rate > '-Infinity' AND rate < 'Infinity'", name=op.f("ck_funding_rates_finite")),
        sa.PrimaryKeyConstraint("instrument_id", "funding_time", "rate_type", "source", name=op.f("pk_funding_rates")),
        comment="Settled funding payments",
    )
    op.create_table(
        "funding_terms",
        sa.Column(
            "source", sa.Text(), nullable=False, comment="who the value came from, e.g. coingecko, binance_futures"
        ),
        sa.Column(
            "observed_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="time of the observation, by the provider's clock (UTC)",
        ),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False, comment="when we received it (UTC)"),
        sa.Column(
            "cycle_id",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="the cycle that stored or last changed the row (cycles.cycle_id)",
        ),
        sa.Column(
            "instrument_id", sa.Integer(), autoincrement=False, nullable=False, comment="instruments.instrument_id"
        ),
        sa.Column("interval_hours", sa.Numeric(), nullable=True, comment="hours between payments"),
        sa.Column("rate_cap", sa.Numeric(), nullable=True, comment="largest rate per payment, fraction"),
        sa.Column("rate_floor", sa.Numeric(), nullable=True, comment="smallest rate per payment, fraction"),
        sa.CheckConstraint(
            "interval_hours > 0 AND interval_hours < 'Infinity'", name=op.f("ck_funding_terms_positive")
        ),
        sa.CheckConstraint(
            "rate_cap > '-Infinity' AND rate_cap < 'Infinity' AND rate_floor > '-Infinity' AND rate_floor < 'Infinity'",
            name=op.f("ck_funding_terms_finite"),
        ),
        sa.PrimaryKeyConstraint("instrument_id", "source", name=op.f("pk_funding_terms")),
        comment="Funding interval and bounds per instrument, as last announced",
    )
    op.create_table(
        "global_snapshots",
        sa.Column(
            "source", sa.Text(), nullable=False, comment="who the value came from, e.g. coingecko, binance_futures"
        ),
        sa.Column(
            "observed_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="time of the observation, by the provider's clock (UTC)",
        ),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False, comment="when we received it (UTC)"),
        sa.Column(
            "cycle_id",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="the cycle that stored or last changed the row (cycles.cycle_id)",
        ),
        sa.Column("market_cap_usd", sa.Numeric(), nullable=False, comment="market cap of all assets, USD"),
        sa.Column("volume_24h_usd", sa.Numeric(), nullable=False, comment="traded in the last 24 h, USD"),
        sa.Column(
            "btc_dominance_pct", sa.Numeric(), nullable=True, comment="share of bitcoin in the market cap, percent"
        ),
        sa.Column(
            "eth_dominance_pct", sa.Numeric(), nullable=True, comment="share of ethereum in the market cap, percent"
        ),
        sa.Column(
            "market_cap_change_24h_pct",
            sa.Numeric(),
            nullable=True,
            comment="change of the market cap over 24 h, percent",
        ),
        sa.Column(
            "active_assets", sa.Integer(), autoincrement=False, nullable=True, comment="assets the provider follows"
        ),
        sa.Column("markets", sa.Integer(), autoincrement=False, nullable=True, comment="venues the provider follows"),
        sa.CheckConstraint(
            "market_cap_usd >= 0 AND market_cap_usd < 'Infinity' AND volume_24h_usd >= 0 AND volume_24h_usd < 'Infinity'",
            name=op.f("ck_global_snapshots_not_negative"),
        ),
        sa.PrimaryKeyConstraint("source", "observed_at", name=op.f("pk_global_snapshots")),
        comment="The whole market in one row per observation",
    )
    op.create_table(
        "indicators",
        sa.Column(
            "instrument_id", sa.Integer(), autoincrement=False, nullable=False, comment="instruments.instrument_id"
        ),
        sa.Column("interval", sa.Text(), nullable=False, comment="length of the bar"),
        sa.Column("open_time", sa.DateTime(timezone=True), nullable=False, comment="start of the bar (UTC)"),
        sa.Column("rsi_14", sa.Double(), nullable=True, comment="relative strength index, 14 bars, 0 to 100"),
        sa.Column("macd", sa.Double(), nullable=True, comment="EMA 12 minus EMA 26 of close, in quote"),
        sa.Column("macd_signal", sa.Double(), nullable=True, comment="EMA 9 of macd, in quote"),
        sa.Column("macd_hist", sa.Double(), nullable=True, comment="macd minus macd_signal, in quote"),
        sa.Column("sma_20", sa.Double(), nullable=True, comment="mean close of 20 bars, in quote"),
        sa.Column("sma_50", sa.Double(), nullable=True, comment="mean close of 50 bars, in quote"),
        sa.Column("sma_200", sa.Double(), nullable=True, comment="mean close of 200 bars, in quote"),
        sa.Column("ema_12", sa.Double(), nullable=True, comment="exponential mean of close, 12 bars, in quote"),
        sa.Column("ema_26", sa.Double(), nullable=True, comment="exponential mean of close, 26 bars, in quote"),
        sa.Column("ema_50", sa.Double(), nullable=True, comment="exponential mean of close, 50 bars, in quote"),
        sa.Column("ema_200", sa.Double(), nullable=True, comment="exponential mean of close, 200 bars, in quote"),
        sa.Column("bb_upper", sa.Double(), nullable=True, comment="Bollinger band, 20 bars, +2 deviations, in quote"),
        sa.Column("bb_middle", sa.Double(), nullable=True, comment="Bollinger band, mean of 20 bars, in quote"),
        sa.Column("bb_lower", sa.Double(), nullable=True, comment="Bollinger band, 20 bars, -2 deviations, in quote"),
        sa.Column("atr_14", sa.Double(), nullable=True, comment="average true range, 14 bars, in quote"),
        sa.Column("adx_14", sa.Double(), nullable=True, comment="average directional index, 14 bars, 0 to 100"),
        sa.Column("stoch_k", sa.Double(), nullable=True, comment="stochastic %K, 0 to 100"),
        sa.Column("stoch_d", sa.Double(), nullable=True, comment="stochastic %D, 0 to 100"),
        sa.Column(
            "obv",
            sa.Double(),
            nullable=True,
            comment="on-balance volume, in base units, from the first stored bar of the series",
        ),
        sa.Column("pivot", sa.Double(), nullable=True, comment="classic pivot point of the previous UTC day, in quote"),
        sa.Column("pivot_r1", sa.Double(), nullable=True, comment="first resistance of the pivot, in quote"),
        sa.Column("pivot_r2", sa.Double(), nullable=True, comment="second resistance of the pivot, in quote"),
        sa.Column("pivot_r3", sa.Double(), nullable=True, comment="third resistance of the pivot, in quote"),
        sa.Column("pivot_s1", sa.Double(), nullable=True, comment="first support of the pivot, in quote"),
        sa.Column("pivot_s2", sa.Double(), nullable=True, comment="second support of the pivot, in quote"),
        sa.Column("pivot_s3", sa.Double(), nullable=True, comment="third support of the pivot, in quote"),
        sa.Column(
            "swing_high", sa.Double(), nullable=True, comment="high of the last swing in the look-back, in quote"
        ),
        sa.Column("swing_low", sa.Double(), nullable=True, comment="low of the last swing in the look-back, in quote"),
        sa.Column("fib_236", sa.Double(), nullable=True, comment="23.6 % retracement of the swing, in quote"),
        sa.Column("fib_382", sa.Double(), nullable=True, comment="38.2 % retracement of the swing, in quote"),
        sa.Column("fib_500", sa.Double(), nullable=True, comment="50 % retracement of the swing, in quote"),
        sa.Column("fib_618", sa.Double(), nullable=True, comment="61.8 % retracement of the swing, in quote"),
        sa.Column("fib_786", sa.Double(), nullable=True, comment="78.6 % retracement of the swing, in quote"),
        sa.Column(
            "extra",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="configured TA-Lib functions, output name -> value",
        ),
        sa.Column(
            "warm", sa.Boolean(), nullable=False, comment="every standard indicator has its full history at this bar"
        ),
        sa.Column("computed_at", sa.DateTime(timezone=True), nullable=False, comment="when we computed it (UTC)"),
        sa.Column(
            "cycle_id",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="the cycle that computed or last changed the row (cycles.cycle_id)",
        ),
        sa.PrimaryKeyConstraint("instrument_id", "interval", "open_time", name=op.f("pk_indicators")),
        comment="Technical indicators of closed bars, one row per bar",
        postgresql_partition_by="RANGE (open_time)",
    )
    op.create_table(
        "instruments",
        sa.Column(
            "instrument_id",
            sa.Integer(),
            sa.Identity(always=True),
            nullable=False,
            comment="short stand-in used by the big tables",
        ),
        sa.Column(
            "instrument",
            sa.Text(),
            nullable=False,
            comment="canonical id venue:BASE-QUOTE:kind, e.g. okx:BTC-USDT:perp",
        ),
        sa.Column(
            "source",
            sa.Text(),
            nullable=True,
            comment="the source whose listing holds it; NULL when it was only ever seen in data",
        ),
        sa.Column("venue", sa.Text(), nullable=False, comment="where it trades; for kind index, who computes it"),
        sa.Column(
            "base", sa.Text(), nullable=False, comment="the venue's base code in upper case; an asset id for kind index"
        ),
        sa.Column("quote", sa.Text(), nullable=False, comment="currency of its prices"),
        sa.Column("kind", sa.Text(), nullable=False, comment="spot, perp, future or index"),
        sa.Column("venue_symbol", sa.Text(), nullable=False, comment="the venue's spelling, as sent on the wire"),
        sa.Column("contract_size", sa.Numeric(), nullable=False, comment="base units in one contract"),
        sa.Column(
            "status", sa.Text(), nullable=True, comment="the venue's own word in lower case; NULL when never listed"
        ),
        sa.Column("tradable", sa.Boolean(), nullable=True, comment="trades normally now; NULL when never listed"),
        sa.Column("listed_at", sa.DateTime(timezone=True), nullable=True, comment="listing time by the venue (UTC)"),
        sa.Column(
            "delists_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="announced end; NULL for a perpetual without one (UTC)",
        ),
        sa.Column("tick_size", sa.Numeric(), nullable=True, comment="smallest price step, in quote"),
        sa.Column("lot_size", sa.Numeric(), nullable=True, comment="smallest size step, in base units"),
        sa.Column(
            "category",
            sa.Text(),
            nullable=True,
            comment="crypto, stock, commodity, index, forex ... in the venue's terms, lower case",
        ),
        sa.Column(
            "asset_id",
            sa.Text(),
            nullable=True,
            comment="the asset that it is a price of (assets.asset_id); NULL when not known",
        ),
        sa.Column("asset_units", sa.Numeric(), nullable=True, comment="coins in one base unit (1000 for 1000PEPE)"),
        sa.Column("match_state", sa.Text(), nullable=True, comment="how sure asset_id is; NULL when not judged yet"),
        sa.Column("match_detail", sa.Text(), nullable=True, comment="why, in a few words"),
        sa.Column(
            "followed",
            sa.Boolean(),
            server_default="false",
            nullable=False,
            comment="collected now: chosen by the universe",
        ),
        sa.Column(
            "first_seen_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="first time listed or seen in data (UTC)",
        ),
        sa.Column(
            "last_seen_at", sa.DateTime(timezone=True), nullable=False, comment="last time in its venue's listing (UTC)"
        ),
        sa.Column(
            "gone_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when it was first missing from a complete listing; NULL while listed",
        ),
        sa.CheckConstraint(
            "contract_size > 0 AND contract_size < 'Infinity' AND asset_units > 0 AND asset_units < 'Infinity'",
            name=op.f("ck_instruments_positive"),
        ),
        sa.CheckConstraint("kind IN ('spot', 'perp', 'future', 'index')", name=op.f("ck_instruments_kind_known")),
        sa.CheckConstraint(
            "match_state IN ('matched', 'unmatched', 'ambiguous', 'excluded')",
            name=op.f("ck_instruments_match_state_known"),
        ),
        sa.PrimaryKeyConstraint("instrument_id", name=op.f("pk_instruments")),
        sa.UniqueConstraint("instrument", name=op.f("uq_instruments_instrument")),
        comment="Everything with a price at a venue, under one canonical id",
    )
    op.create_index("ix_instruments_asset_id", "instruments", ["asset_id"], unique=False)
    op.create_table(
        "listing_changes",
        sa.Column("change_id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="order of recording"),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, comment="when we saw it (UTC)"),
        sa.Column("source", sa.Text(), nullable=False, comment="whose listing changed"),
        sa.Column("subject", sa.Text(), nullable=False, comment="asset id, or canonical id of an instrument"),
        sa.Column("change", sa.Text(), nullable=False, comment="what happened"),
        sa.Column("old", sa.Text(), nullable=True, comment="value before; NULL for listed"),
        sa.Column("new", sa.Text(), nullable=True, comment="value after; NULL for delisted"),
        sa.Column(
            "cycle_id",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="the cycle that saw it (cycles.cycle_id)",
        ),
        sa.CheckConstraint(
            "change IN ('listed', 'delisted', 'relisted', 'renamed', 'symbol', 'status', 'contract_size', 'end_announced')",
            name=op.f("ck_listing_changes_change_known"),
        ),
        sa.PrimaryKeyConstraint("change_id", name=op.f("pk_listing_changes")),
        comment="What was listed, renamed, delisted or came back; the first listing of a source is not a change",
    )
    op.create_index("ix_listing_changes_at", "listing_changes", ["at"], unique=False)
    op.create_table(
        "mark_prices",
        sa.Column(
            "source", sa.Text(), nullable=False, comment="who the value came from, e.g. coingecko, binance_futures"
        ),
        sa.Column(
            "observed_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="time of the observation, by the provider's clock (UTC)",
        ),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False, comment="when we received it (UTC)"),
        sa.Column(
            "cycle_id",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="the cycle that stored or last changed the row (cycles.cycle_id)",
        ),
        sa.Column(
            "instrument_id", sa.Integer(), autoincrement=False, nullable=False, comment="instruments.instrument_id"
        ),
        sa.Column(
            "mark_price", sa.Numeric(), nullable=False, comment="price the venue uses for margin and funding, in quote"
        ),
        sa.Column("index_price", sa.Numeric(), nullable=True, comment="price of the underlying index, in quote"),
        sa.CheckConstraint(
            "mark_price > 0 AND mark_price < 'Infinity' AND index_price > 0 AND index_price < 'Infinity'",
            name=op.f("ck_mark_prices_positive"),
        ),
        sa.PrimaryKeyConstraint("instrument_id", "observed_at", "source", name=op.f("pk_mark_prices")),
        comment="Mark and index price per instrument",
        postgresql_partition_by="RANGE (observed_at)",
    )
    op.create_index("ix_mark_prices_observed_at", "mark_prices", ["observed_at"], unique=False, postgresql_using="brin")
    op.create_table(
        "market_snapshots",
        sa.Column(
            "source", sa.Text(), nullable=False, comment="who the value came from, e.g. coingecko, binance_futures"
        ),
        sa.Column(
            "observed_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="time of the observation, by the provider's clock (UTC)",
        ),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False, comment="when we received it (UTC)"),
        sa.Column(
            "cycle_id",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="the cycle that stored or last changed the row (cycles.cycle_id)",
        ),
        sa.Column("asset_id", sa.Text(), nullable=False, comment="the provider's own id (assets.asset_id)"),
        sa.Column("price_usd", sa.Numeric(), nullable=True, comment="price of one coin in USD"),
        sa.Column("market_cap_usd", sa.Numeric(), nullable=True, comment="circulating supply times price, USD"),
        sa.Column("fully_diluted_usd", sa.Numeric(), nullable=True, comment="value of all coins that will exist, USD"),
        sa.Column(
            "rank", sa.Integer(), autoincrement=False, nullable=True, comment="rank by market cap; 1 is the largest"
        ),
        sa.Column(
            "volume_24h_usd", sa.Numeric(), nullable=True, comment="traded in the last 24 h over all venues, USD"
        ),
        sa.Column("high_24h_usd", sa.Numeric(), nullable=True, comment="highest price of the last 24 h, USD"),
        sa.Column("low_24h_usd", sa.Numeric(), nullable=True, comment="lowest price of the last 24 h, USD"),
        sa.Column("change_1h_pct", sa.Numeric(), nullable=True, comment="price change over 1 h, percent"),
        sa.Column("change_24h_pct", sa.Numeric(), nullable=True, comment="price change over 24 h, percent"),
        sa.Column("change_7d_pct", sa.Numeric(), nullable=True, comment="price change over 7 days, percent"),
        sa.Column("circulating_supply", sa.Numeric(), nullable=True, comment="coins in circulation"),
        sa.Column("total_supply", sa.Numeric(), nullable=True, comment="coins that exist"),
        sa.Column(
            "max_supply",
            sa.Numeric(),
            nullable=True,
            comment="coins that can ever exist; NULL when unlimited or not said",
        ),
        sa.Column("ath_usd", sa.Numeric(), nullable=True, comment="all-time high, USD"),
        sa.Column("ath_at", sa.DateTime(timezone=True), nullable=True, comment="time of the all-time high (UTC)"),
        sa.Column("atl_usd", sa.Numeric(), nullable=True, comment="all-time low, USD"),
        sa.Column("atl_at", sa.DateTime(timezone=True), nullable=True, comment="time of the all-time low (UTC)"),
        sa.CheckConstraint(
            "change_1h_pct > '-Infinity' AND change_1h_pct < 'Infinity' AND change_24h_pct > '-Infinity' AND change_24h_pct < 'Infinity' AND change_7d_pct > '-Infinity' AND change_7d_pct < 'Infinity'",
            name=op.f("ck_market_snapshots_finite"),
        ),
        sa.CheckConstraint(
            "price_usd >= 0 AND price_usd < 'Infinity' AND market_cap_usd >= 0 AND market_cap_usd < 'Infinity' AND volume_24h_usd >= 0 AND volume_24h_usd < 'Infinity' AND circulating_supply >= 0 AND circulating_supply < 'Infinity'",
            name=op.f("ck_market_snapshots_not_negative"),
        ),
        sa.PrimaryKeyConstraint("asset_id", "observed_at", "source", name=op.f("pk_market_snapshots")),
        comment="Price, size and changes of one asset over all venues, as an aggregator computes them",
        postgresql_partition_by="RANGE (observed_at)",
    )
    op.create_index(
        "ix_market_snapshots_observed_at", "market_snapshots", ["observed_at"], unique=False, postgresql_using="brin"
    )
    op.create_table(
        "open_interest",
        sa.Column(
            "source", sa.Text(), nullable=False, comment="who the value came from, e.g. coingecko, binance_futures"
        ),
        sa.Column(
            "observed_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="time of the observation, by the provider's clock (UTC)",
        ),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False, comment="when we received it (UTC)"),
        sa.Column(
            "cycle_id",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="the cycle that stored or last changed the row (cycles.cycle_id)",
        ),
        sa.Column(
            "instrument_id", sa.Integer(), autoincrement=False, nullable=False, comment="instruments.instrument_id"
        ),
        sa.Column("open_interest", sa.Numeric(), nullable=False, comment="open positions, one side, in base units"),
        sa.Column("contracts", sa.Numeric(), nullable=True, comment="the same in contracts"),
        sa.Column("value_usd", sa.Numeric(), nullable=True, comment="the same in USD, by the venue"),
        sa.CheckConstraint(
            "open_interest >= 0 AND open_interest < 'Infinity' AND contracts >= 0 AND contracts < 'Infinity' AND value_usd >= 0 AND value_usd < 'Infinity'",
            name=op.f("ck_open_interest_not_negative"),
        ),
        sa.PrimaryKeyConstraint("instrument_id", "observed_at", "source", name=op.f("pk_open_interest")),
        comment="Open positions per instrument",
        postgresql_partition_by="RANGE (observed_at)",
    )
    op.create_index(
        "ix_open_interest_observed_at", "open_interest", ["observed_at"], unique=False, postgresql_using="brin"
    )
    op.create_table(
        "order_books",
        sa.Column(
            "source", sa.Text(), nullable=False, comment="who the value came from, e.g. coingecko, binance_futures"
        ),
        sa.Column(
            "observed_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="time of the observation, by the provider's clock (UTC)",
        ),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False, comment="when we received it (UTC)"),
        sa.Column(
            "cycle_id",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="the cycle that stored or last changed the row (cycles.cycle_id)",
        ),
        sa.Column(
            "instrument_id", sa.Integer(), autoincrement=False, nullable=False, comment="instruments.instrument_id"
        ),
        sa.Column(
            "last_update_id",
            sa.BigInteger(),
            autoincrement=False,
            nullable=True,
            comment="the venue's sequence number of the book",
        ),
        sa.Column(
            "bid_prices",
            postgresql.ARRAY(sa.Numeric()),
            nullable=False,
            comment="prices of the bid levels, best (highest) first, in quote",
        ),
        sa.Column(
            "bid_sizes",
            postgresql.ARRAY(sa.Numeric()),
            nullable=False,
            comment="sizes of the bid levels, in base units",
        ),
        sa.Column(
            "ask_prices",
            postgresql.ARRAY(sa.Numeric()),
            nullable=False,
            comment="prices of the ask levels, best (lowest) first, in quote",
        ),
        sa.Column(
            "ask_sizes",
            postgresql.ARRAY(sa.Numeric()),
            nullable=False,
            comment="sizes of the ask levels, in base units",
        ),
        sa.Column("best_bid", sa.Numeric(), nullable=True, comment="bid_prices[1]; NULL without bids"),
        sa.Column("best_ask", sa.Numeric(), nullable=True, comment="ask_prices[1]; NULL without asks"),
        sa.Column(
            "spread_bps",
            sa.Double(),
            nullable=True,
            comment="(best_ask - best_bid) / mid * 10000, mid = (best_bid + best_ask) / 2; NULL on an empty side",
        ),
        sa.Column(
            "imbalance",
            sa.Double(),
            nullable=True,
            comment="(bids - asks) / (bids + asks) of the sizes of the ten best levels, -1 to 1; NULL on an empty side",
        ),
        sa.Column(
            "depth_bid_10bps",
            sa.Numeric(),
            nullable=True,
            comment="base units in bid levels within 10 bps of mid; NULL on an empty side; a lower bound when reach_bid_bps is smaller than 10",
        ),
        sa.Column(
            "depth_ask_10bps",
            sa.Numeric(),
            nullable=True,
            comment="base units in ask levels within 10 bps of mid; NULL on an empty side; a lower bound when reach_ask_bps is smaller than 10",
        ),
        sa.Column(
            "depth_bid_50bps",
            sa.Numeric(),
            nullable=True,
            comment="base units in bid levels within 50 bps of mid; NULL on an empty side; a lower bound when reach_bid_bps is smaller than 50",
        ),
        sa.Column(
            "depth_ask_50bps",
            sa.Numeric(),
            nullable=True,
            comment="base units in ask levels within 50 bps of mid; NULL on an empty side; a lower bound when reach_ask_bps is smaller than 50",
        ),
        sa.Column(
            "depth_bid_100bps",
            sa.Numeric(),
            nullable=True,
            comment="base units in bid levels within 100 bps of mid; NULL on an empty side; a lower bound when reach_bid_bps is smaller than 100",
        ),
        sa.Column(
            "depth_ask_100bps",
            sa.Numeric(),
            nullable=True,
            comment="base units in ask levels within 100 bps of mid; NULL on an empty side; a lower bound when reach_ask_bps is smaller than 100",
        ),
        sa.Column(
            "reach_bid_bps",
            sa.Double(),
            nullable=True,
            comment="distance of the last stored bid level from mid, in bps",
        ),
        sa.Column(
            "reach_ask_bps",
            sa.Double(),
            nullable=True,
            comment="distance of the last stored ask level from mid, in bps",
        ),
        sa.CheckConstraint(
            "0 < ALL (bid_prices) AND 0 < ALL (ask_prices)", name=op.f("ck_order_books_positive_prices")
        ),
        sa.CheckConstraint("0 <= ALL (bid_sizes) AND 0 <= ALL (ask_sizes)", name=op.f("ck_order_books_sizes")),
        sa.CheckConstraint("cardinality(ask_prices) = cardinality(ask_sizes)", name=op.f("ck_order_books_ask_levels")),
        sa.CheckConstraint("cardinality(bid_prices) = cardinality(bid_sizes)", name=op.f("ck_order_books_bid_levels")),
        sa.PrimaryKeyConstraint("instrument_id", "observed_at", "source", name=op.f("pk_order_books")),
        comment="Resting orders of one instrument at one moment",
        postgresql_partition_by="RANGE (observed_at)",
    )
    op.create_index("ix_order_books_observed_at", "order_books", ["observed_at"], unique=False, postgresql_using="brin")
    op.create_table(
        "provider_state",
        sa.Column("source", sa.Text(), nullable=False, comment="the provider's collector"),
        sa.Column(
            "paused_until",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="no call before this moment; NULL when free (UTC)",
        ),
        sa.Column("reason", sa.Text(), nullable=False, comment="what the provider said"),
        sa.Column("banned", sa.Boolean(), nullable=False, comment="it punishes calls that went on after a refusal"),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False, comment="when this was learnt (UTC)"),
        sa.PrimaryKeyConstraint("source", name=op.f("pk_provider_state")),
        comment="Bans and pauses that must outlive a restart",
    )
    op.create_table(
        "raw_payloads",
        sa.Column(
            "job_id",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="jobs.job_id (no foreign key: bodies are dropped by the month)",
        ),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False, comment="order within the job"),
        sa.Column(
            "received_at", sa.DateTime(timezone=True), nullable=False, comment="when the answer was complete (UTC)"
        ),
        sa.Column("status", sa.Integer(), autoincrement=False, nullable=False, comment="HTTP status"),
        sa.Column("sha256", sa.Text(), nullable=False, comment="digest of the uncompressed body, hex"),
        sa.Column(
            "size", sa.Integer(), autoincrement=False, nullable=False, comment="length of the uncompressed body, bytes"
        ),
        sa.Column("body", sa.LargeBinary(), nullable=False, comment="the body, zlib compressed"),
        sa.PrimaryKeyConstraint("job_id", "seq", "received_at", name=op.f("pk_raw_payloads")),
        comment="What providers really answered, so that a cycle can be parsed again",
        postgresql_partition_by="RANGE (received_at)",
    )
    op.create_table(
        "tickers",
        sa.Column(
            "source", sa.Text(), nullable=False, comment="who the value came from, e.g. coingecko, binance_futures"
        ),
        sa.Column(
            "observed_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="time of the observation, by the provider's clock (UTC)",
        ),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False, comment="when we received it (UTC)"),
        sa.Column(
            "cycle_id",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="the cycle that stored or last changed the row (cycles.cycle_id)",
        ),
        sa.Column(
            "instrument_id", sa.Integer(), autoincrement=False, nullable=False, comment="instruments.instrument_id"
        ),
        sa.Column("last_price", sa.Numeric(), nullable=False, comment="price of the last trade, in quote"),
        sa.Column("bid_price", sa.Numeric(), nullable=True, comment="best bid, in quote"),
        sa.Column("bid_size", sa.Numeric(), nullable=True, comment="size at the best bid, in base units"),
        sa.Column("ask_price", sa.Numeric(), nullable=True, comment="best ask, in quote"),
        sa.Column("ask_size", sa.Numeric(), nullable=True, comment="size at the best ask, in base units"),
        sa.Column("open_24h", sa.Numeric(), nullable=True, comment="price 24 h ago, in quote"),
        sa.Column("high_24h", sa.Numeric(), nullable=True, comment="highest price of the last 24 h, in quote"),
        sa.Column("low_24h", sa.Numeric(), nullable=True, comment="lowest price of the last 24 h, in quote"),
        sa.Column("volume_24h", sa.Numeric(), nullable=True, comment="traded in the last 24 h, in base units"),
        sa.Column("quote_volume_24h", sa.Numeric(), nullable=True, comment="traded in the last 24 h, in quote"),
        sa.Column("change_24h_pct", sa.Numeric(), nullable=True, comment="price change over 24 h, percent"),
        sa.CheckConstraint(
            "bid_price >= 0 AND bid_price < 'Infinity' AND bid_size >= 0 AND bid_size < 'Infinity' AND ask_price >= 0 AND ask_price < 'Infinity' AND ask_size >= 0 AND ask_size < 'Infinity' AND volume_24h >= 0 AND volume_24h < 'Infinity' AND quote_volume_24h >= 0 AND quote_volume_24h < 'Infinity'",
            name=op.f("ck_tickers_not_negative"),
        ),
        sa.CheckConstraint("last_price > 0 AND last_price < 'Infinity'", name=op.f("ck_tickers_positive")),
        sa.PrimaryKeyConstraint("instrument_id", "observed_at", "source", name=op.f("pk_tickers")),
        comment="Last trade, best quotes and rolling 24 h figures per instrument",
        postgresql_partition_by="RANGE (observed_at)",
    )
    op.create_index("ix_tickers_observed_at", "tickers", ["observed_at"], unique=False, postgresql_using="brin")
    op.create_table(
        "jobs",
        sa.Column("job_id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="number of the job"),
        sa.Column("cycle_id", sa.BigInteger(), nullable=False, comment="cycles.cycle_id"),
        sa.Column(
            "fingerprint",
            sa.UUID(),
            nullable=False,
            comment="digest of the request: one ledger row per request and cycle",
        ),
        sa.Column("source", sa.Text(), nullable=False, comment="which collector"),
        sa.Column("dataset", sa.Text(), nullable=False, comment="what was asked for"),
        sa.Column("subject", sa.Text(), nullable=False, comment="about what: an instrument, an asset, all, or a count"),
        sa.Column("instruments", postgresql.ARRAY(sa.Text()), nullable=False, comment="canonical ids asked for"),
        sa.Column("assets", postgresql.ARRAY(sa.Text()), nullable=False, comment="asset ids asked for"),
        sa.Column("interval", sa.Text(), nullable=True, comment="length of the bars asked for"),
        sa.Column("since", sa.DateTime(timezone=True), nullable=True, comment="start of the range, inclusive (UTC)"),
        sa.Column("until", sa.DateTime(timezone=True), nullable=True, comment="end of the range, exclusive (UTC)"),
        sa.Column(
            "row_limit", sa.Integer(), autoincrement=False, nullable=True, comment="assets to rank, levels a side"
        ),
        sa.Column("state", sa.Text(), nullable=False, comment="ok, failed or skipped"),
        sa.Column("error", sa.Text(), nullable=False, comment="one line; empty when ok"),
        sa.Column(
            "rows_written", sa.Integer(), autoincrement=False, nullable=False, comment="rows inserted or changed"
        ),
        sa.Column(
            "rows_unchanged",
            sa.Integer(),
            autoincrement=False,
            nullable=False,
            comment="rows that were stored already with the same values",
        ),
        sa.Column("rejects", sa.Integer(), autoincrement=False, nullable=False, comment="rows that were not believed"),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True, comment="start (UTC)"),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True, comment="end (UTC)"),
        sa.CheckConstraint("state IN ('ok', 'failed', 'skipped')", name=op.f("ck_jobs_state_known")),
        sa.ForeignKeyConstraint(["cycle_id"], ["cycles.cycle_id"], name=op.f("fk_jobs_cycle_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_jobs")),
        sa.UniqueConstraint("cycle_id", "fingerprint", name=op.f("uq_jobs_cycle_id_fingerprint")),
        comment="What was asked of whom and how it ended",
    )
    op.create_index(
        "ix_jobs_source_dataset_subject_finished_at",
        "jobs",
        ["source", "dataset", "subject", "finished_at"],
        unique=False,
    )
    op.create_index(
        "ix_jobs_ok",
        "jobs",
        ["source", "dataset", "finished_at"],
        unique=False,
        postgresql_where=sa.text("state = 'ok'"),
    )
    op.create_table(
        "rejects",
        sa.Column("job_id", sa.BigInteger(), autoincrement=False, nullable=False, comment="jobs.job_id"),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False, comment="order within the job"),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, comment="when it was refused (UTC)"),
        sa.Column("source", sa.Text(), nullable=False, comment="who gave the row"),
        sa.Column("dataset", sa.Text(), nullable=False, comment="what it was part of"),
        sa.Column("reason", sa.Text(), nullable=False, comment="why, as a word"),
        sa.Column("detail", sa.Text(), nullable=False, comment="why, in a sentence"),
        sa.Column("row", sa.Text(), nullable=False, comment="the row as text, cut to a sane length"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.job_id"], name=op.f("fk_rejects_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "seq", name=op.f("pk_rejects")),
        comment="Rows that were not believed; everything else of their job was stored",
    )
    op.create_index("ix_rejects_at", "rejects", ["at"], unique=False)
    for name, query in VIEWS.items():
        op.execute(f"CREATE VIEW {name} AS {query}")
        op.execute(f"COMMENT ON VIEW {name} IS '{VIEW_COMMENTS[name]}'")


def downgrade() -> None:
    for name in reversed(VIEWS):
        op.execute(f"DROP VIEW {name}")
    op.drop_table("rejects")
    op.drop_table("jobs")
    op.drop_table("tickers")
    op.drop_table("raw_payloads")
    op.drop_table("provider_state")
    op.drop_table("order_books")
    op.drop_table("open_interest")
    op.drop_table("market_snapshots")
    op.drop_table("mark_prices")
    op.drop_table("listing_changes")
    op.drop_table("instruments")
    op.drop_table("indicators")
    op.drop_table("global_snapshots")
    op.drop_table("funding_terms")
    op.drop_table("funding_rates")
    op.drop_table("funding_forecasts")
    op.drop_table("cycles")
    op.drop_table("candles")
    op.drop_table("assets")
    op.drop_table("asset_details")
