"""A database with rows of every dataset, odd values among them, for tests of files."""

from sqlalchemy import text

from collector.storage import timeseries

ODD_TEXT = 'quote " comma , line\nfeed \\ and ü'

STATEMENTS = (
    """INSERT INTO cycles (cadence, state, started_at, finished_at, instance, folder, simulated)
       VALUES ('market', 'ok', '2026-01-31 11:59+00', '2026-01-31 12:01+00', 'test:1', 'f', false)""",
    # Numbers that are not in the order of names: another database gives others.
    """INSERT INTO instruments (instrument, venue, base, quote, kind, venue_symbol, contract_size, first_seen_at,
           last_seen_at, status, tick_size)
       VALUES ('okx:ZEC-USDT:perp', 'okx', 'ZEC', 'USDT', 'perp', 'ZEC-USDT-SWAP', 1, '2026-01-01+00', '2026-01-31+00',
               '', 0.10),
           ('okx:BTC-USDT:perp', 'okx', 'BTC', 'USDT', 'perp', 'BTC-USDT-SWAP', 0.01, '2026-01-01+00', '2026-01-31+00',
               NULL, NULL),
           ('kraken:BTC-USD:spot', 'kraken', 'BTC', 'USD', 'spot', 'XBT/USD', 1, '2026-01-01+00', '2026-01-31+00',
               'online', 0.1)""",
    """INSERT INTO candles (source, observed_at, received_at, cycle_id, instrument_id, interval, open_time, open, high,
           low, close, volume, quote_volume, trades, taker_buy_volume)
       SELECT split_part(i.instrument, ':', 1), t + interval '1 minute', t + interval '61.5 seconds', 1,
           i.instrument_id, v, t, 100.50, 101, 99.25, 100.10 + n * 0.0001, CASE WHEN n % 3 = 0 THEN 0 ELSE n * 1.5 END,
           CASE WHEN n % 2 = 0 THEN NULL ELSE n * 150.25 END, n, NULL
       FROM instruments i, unnest(ARRAY['1m', '1h']) v, generate_series(0, 299) n,
           LATERAL (SELECT timestamptz '2026-01-30 22:00+00' + n * interval '10 minutes' AS t) s""",
    """INSERT INTO funding_rates (source, observed_at, received_at, cycle_id, instrument_id, funding_time, rate,
           mark_price, rate_type)
       SELECT 'okx', t, t, 1, 2, t, -0.000123450, NULL, 'regular'
       FROM generate_series(timestamptz '2026-01-01+00', '2026-02-10+00', interval '8 hours') t""",
    # A supply beyond 38 digits, a price with 30 places: text in Parquet, in these columns of this file.
    """INSERT INTO market_snapshots (source, observed_at, received_at, cycle_id, asset_id, price_usd, market_cap_usd,
           rank, total_supply, change_24h_pct)
       VALUES ('coingecko', '2026-01-31 12:00+00', '2026-01-31 12:00:02.000001+00', 1, 'bitcoin', 100000.10, 2e12, 1,
               21000000, -1.234567890123456),
           ('coingecko', '2026-01-31 12:00+00', '2026-01-31 12:00:02+00', 1, 'dust',
               0.000000000000000000000000000001, 0, NULL, 123456789012345678901234567890123456789012, NULL)""",
    """INSERT INTO order_books (source, observed_at, received_at, cycle_id, instrument_id, last_update_id, bid_prices,
           bid_sizes, ask_prices, ask_sizes, best_bid, best_ask, spread_bps)
       VALUES ('okx', '2026-01-31 12:00+00', '2026-01-31 12:00:01+00', 1, 2, NULL, '{99.50,99}', '{1,2.5}', '{}', '{}',
               99.50, NULL, NULL),
           ('okx', '2026-01-31 12:01+00', '2026-01-31 12:01:01+00', 1, 2, 7, '{99}', '{0}', '{101,102}', '{1,1}', 99,
               101, 200)""",
    """INSERT INTO indicators (instrument_id, interval, open_time, rsi_14, macd, extra, warm, computed_at, cycle_id)
       VALUES (2, '1h', '2026-01-31 11:00+00', 0.1, -0.30000000000000004, '{"x": [1, null]}', true,
               '2026-01-31 12:00+00', 1),
           (2, '1h', '2026-01-31 12:00+00', NULL, 1e-300, NULL, false, '2026-01-31 12:00+00', 1)""",
    """INSERT INTO signals (instrument_id, interval, name, parameter_hash, version, bar_end, kind, direction, state,
           strength, price, window_since, window_until, bars, parameters, inputs_hash, computed_at, cycle_id)
       VALUES (2, '1h', 'rsi_14', 'abc', 1, '2026-01-31 12:00+00', 'rsi', 0, '', 0.5, 100, '2026-01-30+00',
               '2026-01-31 12:00+00', 14, '{"length": 14}', 'def', '2026-01-31 12:00:05+00', NULL)""",
    """INSERT INTO assets (source, asset_id, symbol, name, rank, followed, first_seen_at, last_seen_at)
       VALUES ('coingecko', 'bitcoin', 'BTC', :odd, 1, true, '2026-01-01+00', '2026-01-31+00')""",
    """INSERT INTO asset_details (source, observed_at, received_at, cycle_id, asset_id, symbol, name, categories,
           platforms, homepage)
       VALUES ('coingecko', '2026-01-31+00', '2026-01-31+00', 1, 'bitcoin', 'BTC', :odd, ARRAY['a, b', :odd, ''],
               '{"eth": "0x1"}', '')""",
    """INSERT INTO coverage (instrument_id, dataset, interval, since, until, state, source, reason, updated_at)
       VALUES (2, 'candles', '1m', '2026-01-30 22:00+00', '2026-02-01+00', 'observed', 'okx', '', '2026-01-31+00'),
           (2, 'candles', '1m', '2026-02-01+00', '2026-02-01 01:00+00', 'missing', 'okx', 'timeout',
               '2026-01-31+00')""",
)
DATASETS = (
    *("candles", "funding_rates", "market_snapshots", "order_books", "indicators", "signals", "assets"),
    *("asset_details", "coverage", "cycles"),
)


def fill(database):
    """Store the rows."""
    with database.transaction() as connection:
        for table in timeseries.PARTITIONED:
            timeseries.ensure_partitions(connection, table, [(2026, 1), (2026, 2)])
        for statement in STATEMENTS:
            connection.execute(text(statement), {"odd": ODD_TEXT} if ":odd" in statement else {})
