"""Pages of stored rows: nothing repeats, nothing is left out, every number to its last digit, and by an index."""

import itertools
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import text

from collector.clock import SystemClock
from collector.records import Dataset, FundingRate, Instrument, Interval, Job, Kind, Sentiment
from collector.storage import serving, timeseries
from collector.storage.database import Database
from collector.storage.serving import Ask, Serving
from collector.storage.serving.pages import statement
from tests.storage.samples import (
    BTC,
    NOON,
    RECEIVED,
    asset,
    batch,
    book,
    candle,
    everything,
    listing,
    perp,
    snapshot,
    stamped,
    ticker,
)

ETH = perp("ETH")


@pytest.fixture
def pages(database):
    return Serving(database)


def all_rows(pages, topic, *, limit, between=None, **ask):
    """Return the rows of all pages as mappings."""
    rows, after = [], None
    while True:
        page = pages.page(topic, Ask(limit=limit, after=after, **ask))
        assert len(page.rows) <= limit
        names = [column.name for column in page.columns]
        rows += [dict(zip(names, row, strict=True)) for row in page.rows]
        if page.last_key is None:
            return rows
        assert len(page.rows) == limit
        after = page.last_key
        if between:
            between()


def opens(rows):
    return [row["open_time"][11:16] for row in rows]


SERIES = {"instrument": BTC.id, "interval": "1m"}


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 100])
def test_pages_together_are_all_rows_once_in_order_whatever_their_size(writer, cycle, pages, limit):
    writer.write(cycle, [batch(*[candle(minute) for minute in range(5)], candle(7, ETH))])
    newest = all_rows(pages, serving.CANDLES, limit=limit, filters=SERIES)
    oldest = all_rows(pages, serving.CANDLES, limit=limit, filters=SERIES, newest_first=False)
    assert opens(newest) == ["12:04", "12:03", "12:02", "12:01", "12:00"]
    assert opens(oldest) == ["12:00", "12:01", "12:02", "12:03", "12:04"]


def test_a_range_includes_its_start_and_not_its_end(writer, cycle, pages):
    writer.write(cycle, [batch(*[candle(minute) for minute in range(5)])])
    since, until = NOON + timedelta(minutes=1), NOON + timedelta(minutes=3)
    assert opens(all_rows(pages, serving.CANDLES, limit=10, filters=SERIES, since=since, until=until)) == [
        "12:02",
        "12:01",
    ]


def test_a_series_of_another_interval_or_instrument_is_not_among_the_rows(writer, cycle, pages):
    hour = candle(0, interval=Interval.H1, open_time=NOON, observed_at=NOON + timedelta(hours=1))
    writer.write(cycle, [batch(candle(0), hour, candle(0, ETH))])
    rows = all_rows(pages, serving.CANDLES, limit=10, filters={**SERIES, "interval": "1h"})
    assert [(row["instrument"], row["interval"]) for row in rows] == [(BTC.id, "1h")]


def test_rows_of_one_moment_by_two_sources_are_on_one_page_each(writer, cycle, pages):
    rows = [replace(snapshot(at=NOON), source=source) for source in ("coingecko", "coincap")]
    writer.write(cycle, [batch(*rows, snapshot(at=NOON - timedelta(minutes=5)), dataset=Dataset.MARKETS)])
    found = all_rows(pages, serving.MARKETS, limit=1, filters={"asset_id": "bitcoin"})
    assert [(row["observed_at"][11:16], row["source"]) for row in found] == [
        ("12:00", "coingecko"),
        ("12:00", "coincap"),
        ("11:55", "coingecko"),
    ]


def test_rows_within_one_millisecond_are_neither_repeated_nor_lost(writer, cycle, pages):
    moments = [NOON + timedelta(microseconds=count) for count in (100, 200, 300, 400)]
    writer.write(cycle, [batch(*[ticker(at=moment, last_price=str(n + 1)) for n, moment in enumerate(moments)])])
    rows = all_rows(pages, serving.TICKERS, limit=1, filters={"instrument": BTC.id})
    assert [row["last_price"] for row in rows] == [4.0, 3.0, 2.0, 1.0]


def test_rows_written_between_two_pages_change_nothing_of_those_that_were_there(writer, cycle, pages):
    """New bars at the front, a healed one behind the place already read, and one that was there written again."""
    writer.write(cycle, [batch(*[candle(minute) for minute in (0, 2, 4, 6, 8, 10)])])
    steps = itertools.count()

    def meanwhile():
        step = next(steps)
        healed = [candle(9)] if step == 1 else []
        writer.write(cycle, [batch(candle(11 + step), candle(6, close=Decimal("100.25")), *healed)])

    rows = opens(all_rows(pages, serving.CANDLES, limit=1, filters=SERIES, between=meanwhile))
    assert rows == ["12:10", "12:08", "12:06", "12:04", "12:02", "12:00"]


def test_the_newest_rows_keep_their_pages_while_others_become_the_newest(writer, cycle, pages):
    coins = [perp(base) for base in ("ADA", "BTC", "ETH", "SOL")]
    writer.write(cycle, [batch(*[ticker(coin, at=NOON) for coin in coins])])

    def meanwhile():
        later = NOON + timedelta(minutes=5)
        writer.write(cycle, [batch(*[ticker(coin, at=later) for coin in reversed(coins)], ticker(perp("AAA")))])

    rows = all_rows(pages, serving.LATEST_TICKERS, limit=1, between=meanwhile)
    assert [row["instrument"] for row in rows] == [coin.id for coin in coins]


def test_the_newest_row_of_each_instrument_is_the_newest(writer, cycle, pages):
    times = [NOON + timedelta(minutes=minute) for minute in (0, 10, 5)]
    writer.write(cycle, [batch(*[ticker(at=at, last_price=str(n + 1)) for n, at in enumerate(times)], ticker(ETH))])
    rows = all_rows(pages, serving.LATEST_TICKERS, limit=10)
    assert [(row["instrument"], row["last_price"]) for row in rows] == [(BTC.id, 2.0), (ETH.id, 100.0)]
    only = all_rows(pages, serving.LATEST_TICKERS, limit=10, filters={"instrument": [ETH.id], "venue": "okx"})
    assert [row["instrument"] for row in only] == [ETH.id]
    assert all_rows(pages, serving.LATEST_TICKERS, limit=10, filters={"venue": "kraken"}) == []


def test_the_newest_market_of_each_asset_is_found_for_assets_in_no_listing_too(writer, cycle, pages):
    writer.write(cycle, [batch(asset(), source="coingecko", dataset=Dataset.LISTING)])
    rows = [snapshot("bitcoin", "1", at=NOON), snapshot("bitcoin", "2", at=NOON + timedelta(minutes=5))]
    writer.write(cycle, [batch(*rows, snapshot("unheard-of", "3"), dataset=Dataset.MARKETS)])
    found = all_rows(pages, serving.LATEST_MARKETS, limit=1)
    assert [(row["asset_id"], row["symbol"], row["price_usd"]) for row in found] == [
        ("bitcoin", "BTC", 2.0),
        ("unheard-of", None, 3.0),
    ]
    assert [
        row["asset_id"] for row in all_rows(pages, serving.LATEST_MARKETS, limit=5, filters={"symbol": ["BTC"]})
    ] == ["bitcoin"]


def test_newest_bars_are_found_of_series_with_coverage_and_of_indices_without(writer, cycle, pages):
    index = Instrument(
        venue="coingecko",
        base="bitcoin",
        quote="USD",
        kind=Kind.INDEX,
        venue_symbol="bitcoin",
        contract_size=Decimal(1),
    )
    job = Job(
        source="okx",
        dataset=Dataset.CANDLES,
        instruments=(BTC,),
        interval=Interval.M1,
        since=NOON,
        until=NOON + timedelta(minutes=2),
    )
    writer.write(cycle, [batch(candle(0), candle(1), job=job), batch(candle(3, index, source="coingecko"))])
    rows = all_rows(pages, serving.LATEST_CANDLES, limit=10, filters={"interval": "1m"})
    assert [(row["instrument"], row["open_time"][11:16]) for row in rows] == [
        ("coingecko:bitcoin-USD:index", "12:03"),
        (BTC.id, "12:01"),
    ]


def test_moods_of_two_sources_are_merged_by_time(writer, cycle, pages):
    def mood(source, day, value):
        at = NOON - timedelta(days=day)
        return Sentiment(**stamped(source=source, observed_at=at), value=value, classification="Fear")

    rows = [
        mood("alternative_me", 0, 10),
        mood("alternative_me", 2, 12),
        mood("another", 1, 21),
        mood("another", 2, 22),
    ]
    writer.write(cycle, [batch(*rows, dataset=Dataset.SENTIMENT)])
    for limit in (1, 2, 3, 10):
        assert [row["value"] for row in all_rows(pages, serving.SENTIMENTS, limit=limit)] == [10, 21, 22, 12]
        turned = all_rows(pages, serving.SENTIMENTS, limit=limit, newest_first=False)
        assert [row["value"] for row in turned] == [12, 22, 21, 10]
    only = all_rows(pages, serving.SENTIMENTS, limit=10, filters={"source": "another"})
    assert [row["value"] for row in only] == [21, 22]


def test_payments_of_one_moment_with_different_types_are_all_there(writer, cycle, pages):
    kinds = ("regular", "special", "another")
    rows = [
        FundingRate(**stamped(), instrument=BTC, funding_time=NOON, rate=Decimal(1), mark_price=None, rate_type=kind)
        for kind in kinds
    ]
    writer.write(cycle, [batch(*rows, dataset=Dataset.FUNDING)])
    found = all_rows(pages, serving.FUNDING_RATES, limit=1, filters={"instrument": BTC.id}, newest_first=False)
    assert [row["rate_type"] for row in found] == ["another", "regular", "special"]


def test_decimals_come_to_their_last_digit_as_text_and_nearest_as_numbers(writer, cycle, pages):
    price = Decimal("12345678901234567890.123456789012345678901234567890")
    writer.write(cycle, [batch(ticker(last_price=str(price), volume_24h=Decimal("0.000000000000000001")))])
    exact = all_rows(pages, serving.TICKERS, limit=1, filters={"instrument": BTC.id}, exact=True)[0]
    near = all_rows(pages, serving.TICKERS, limit=1, filters={"instrument": BTC.id})[0]
    assert exact["last_price"] == "12345678901234567890.123456789012345678901234567890"
    assert exact["volume_24h"] == "0.000000000000000001"
    assert near["last_price"] == 12345678901234567000.0
    assert near["volume_24h"] == 1e-18


def test_moments_are_utc_text_with_milliseconds_cut_or_datetimes_to_the_microsecond(writer, cycle, pages):
    at = NOON + timedelta(microseconds=123_999)
    writer.write(cycle, [batch(ticker(at=at))])
    told = all_rows(pages, serving.TICKERS, limit=1, filters={"instrument": BTC.id})[0]
    typed = all_rows(pages, serving.TICKERS, limit=1, filters={"instrument": BTC.id}, typed=True)[0]
    assert told["observed_at"] == "2026-01-31T12:00:00.123Z"
    assert typed["observed_at"] == at
    assert typed["received_at"] == RECEIVED


def test_levels_of_a_book_are_cut_and_its_depths_stay(writer, cycle, pages):
    bids = [(str(99 - n), "1") for n in range(5)]
    writer.write(cycle, [batch(book(bids=bids, asks=[("101", "3"), ("102", "4")]))])
    row = all_rows(pages, serving.ORDER_BOOKS, limit=1, filters={"instrument": BTC.id, "levels": 2})[0]
    assert row["bid_prices"] == [99.0, 98.0]
    assert row["ask_sizes"] == [3.0, 4.0]
    depth = all_rows(pages, serving.LATEST_DEPTHS, limit=1)[0]
    assert "bid_prices" not in depth
    assert depth["spread_bps"] == 200.0


def test_windows_are_found_that_overlap_a_range_and_gaps_are_those_not_held(writer, cycle, pages):
    def asked(since, until):
        return Job(
            source="okx",
            dataset=Dataset.CANDLES,
            instruments=(BTC,),
            interval=Interval.M1,
            since=NOON + timedelta(minutes=since),
            until=NOON + timedelta(minutes=until),
        )

    held = batch(*[candle(minute) for minute in range(3)], job=asked(0, 3))
    failed = batch(job=asked(3, 5), state="failed", error="the provider is away")
    writer.write(cycle, [held, failed])
    windows = all_rows(pages, serving.COVERAGE, limit=1)
    assert [(row["since"][11:16], row["until"][11:16], row["state"]) for row in windows] == [
        ("12:00", "12:03", "observed"),
        ("12:03", "12:05", "missing"),
    ]
    gap = all_rows(pages, serving.GAPS, limit=10)
    assert [(row["series"], row["reason"]) for row in gap] == [("okx:BTC-USDT:perp/1m", "the provider is away")]
    since = NOON + timedelta(minutes=4)
    assert [row["state"] for row in all_rows(pages, serving.COVERAGE, limit=5, since=since)] == ["missing"]
    until = NOON + timedelta(minutes=3)
    assert [row["state"] for row in all_rows(pages, serving.COVERAGE, limit=5, until=until)] == ["observed"]
    series = all_rows(pages, serving.SERIES, limit=1)[0]
    assert (series["held_s"], series["missing_s"], series["holes"], series["sources"]) == (180.0, 120.0, 1, ["okx"])


def test_lost_snapshots_are_counted_by_their_reason(writer, cycle, pages):
    for error in ("timed out", "timed out ", "banned"):
        job = Job(source="okx", dataset=Dataset.TICKERS, instruments=(BTC,), limit=len(error))
        writer.write(cycle, [batch(job=job, state="failed", error=error.strip())])
    asked = {"filters": {"lost_since": None, "lost_until": None}}
    rows = all_rows(pages, serving.LOST_SNAPSHOTS, limit=1, **asked)
    assert sorted((row["dataset"], row["error"], row["cycles"]) for row in rows) == [
        ("tickers", "banned", 1),
        ("tickers", "timed out", 1),
    ]
    late = {"filters": {"lost_since": NOON + timedelta(days=1), "lost_until": None}}
    assert all_rows(pages, serving.LOST_SNAPSHOTS, limit=1, **late) == []


TOPICS = {name: value for name in serving.__all__ if isinstance(value := getattr(serving, name), serving.Topic)}
GIVEN = {"instrument": BTC.id, "interval": "1m", "asset_id": "bitcoin", "cycle_id": 1}
FIXED = {"levels": 5, "lost_since": None, "lost_until": None}


@pytest.mark.parametrize("name", TOPICS)
def test_every_topic_can_be_read_page_by_page_in_both_orders(writer, cycle, pages, name):
    topic = TOPICS[name]
    for at in range(3):
        records = [replace(row, observed_at=NOON + timedelta(hours=at)) for row in everything()]
        writer.write(cycle, [batch(*records, job=Job(source="okx", dataset=Dataset.TICKERS, limit=at))])
    writer.write(cycle, [batch(asset(), asset("ethereum", "ETH", "Ethereum"), source="coingecko"), batch(listing(ETH))])
    filters = {**FIXED, **{need: GIVEN[need] for need in topic.needs}}
    whole = all_rows(pages, topic, limit=100, filters=filters)
    assert all_rows(pages, topic, limit=1, filters=filters) == whole
    first = not topic.newest_first
    assert all_rows(pages, topic, limit=1, filters=filters, newest_first=first) == whole[::-1]


# --------------------------------------------------------------------------- indexes

MONTHS = [(2025, month) for month in range(6, 13)] + [(2026, 1), (2026, 2)]
FILLED = {
    "candles": """
        INSERT INTO candles (source, observed_at, received_at, cycle_id, instrument_id, interval, open_time,
            open, high, low, close, volume)
        SELECT 'okx', o, o, 1, i, '1h', o, 1, 1, 1, 1, 1 FROM generate_series(1, 8) i,
            generate_series(timestamptz '2025-06-01Z', timestamptz '2026-01-31Z', interval '1 hour') o
    """,
    "indicators": """
        INSERT INTO indicators (instrument_id, interval, open_time, warm, computed_at, cycle_id)
        SELECT i, '1h', o, true, o, 1 FROM generate_series(1, 8) i,
            generate_series(timestamptz '2025-06-01Z', timestamptz '2026-01-31Z', interval '1 hour') o
    """,
    "tickers": """
        INSERT INTO tickers (source, observed_at, received_at, cycle_id, instrument_id, last_price)
        SELECT 'okx', o, o, 1, i, 1 FROM generate_series(1, 8) i,
            generate_series(timestamptz '2025-06-01Z', timestamptz '2026-01-31Z', interval '1 hour') o
    """,
    "market_snapshots": """
        INSERT INTO market_snapshots (source, observed_at, received_at, cycle_id, asset_id, price_usd)
        SELECT 'coingecko', o, o, 1, 'asset-' || i, 1 FROM generate_series(1, 8) i,
            generate_series(timestamptz '2025-06-01Z', timestamptz '2026-01-31Z', interval '1 hour') o
    """,
    "global_snapshots": """
        INSERT INTO global_snapshots (source, observed_at, received_at, cycle_id, market_cap_usd, volume_24h_usd)
        SELECT 'coingecko', o, o, 1, 1, 1 FROM
            generate_series(timestamptz '2025-06-01Z', timestamptz '2026-01-31Z', interval '5 minutes') o
    """,
    "funding_rates": """
        INSERT INTO funding_rates (source, observed_at, received_at, cycle_id, instrument_id, funding_time, rate,
            rate_type)
        SELECT 'okx', o, o, 1, i, o, 0, 'regular' FROM generate_series(1, 8) i,
            generate_series(timestamptz '2025-06-01Z', timestamptz '2026-01-31Z', interval '1 hour') o
    """,
    "instruments": """
        INSERT INTO instruments (instrument, venue, base, quote, kind, venue_symbol, contract_size, first_seen_at,
            last_seen_at)
        SELECT 'okx:C' || i || '-USDT:perp', 'okx', 'C' || i, 'USDT', 'perp', 'C', 1, now(), now()
        FROM generate_series(1, 300) i
    """,
    "coverage": """
        INSERT INTO coverage (instrument_id, dataset, interval, since, until, state, source, reason, updated_at)
        SELECT i, 'candles', '1h', '2025-06-01Z', '2026-01-31Z', 'observed', 'okx', '', now()
        FROM generate_series(1, 300) i
    """,
    "cycles": """
        INSERT INTO cycles (cadence, state, started_at, finished_at, instance, folder, simulated)
        SELECT 'market', 'ok', now(), now(), '', '', true FROM generate_series(1, 20000)
    """,
    "revisions": """
        INSERT INTO revisions (table_name, subject, key, source, columns, old, new, cause, detected_at)
        SELECT 'candles', 's', '{}', 'okx', '{}', '{}', '{}', 'provider', now() FROM generate_series(1, 20000)
    """,
}


@pytest.fixture(scope="module")
def filled(cluster):
    """Serving over tables that are large enough for an index to be worth it."""
    url = cluster.create_database()
    database = Database(url, clock=SystemClock())
    with database.transaction() as connection:
        for table in timeseries.PARTITIONED:
            timeseries.ensure_partitions(connection, table, MONTHS)
        for insert in FILLED.values():
            connection.execute(text(insert))
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"VACUUM ANALYZE {', '.join(FILLED)}"))
    yield database
    database.close()
    cluster.drop(url)


OF_C3 = {"instrument": "okx:C3-USDT:perp", "interval": "1h"}
AT = "2025-10-05T00:00:00.000000Z"
SINCE = datetime(2025, 9, 1, tzinfo=UTC)
ASKS = [
    (serving.CANDLES, {"filters": OF_C3}),
    (serving.CANDLES, {"filters": OF_C3, "after": [AT]}),
    (serving.CANDLES, {"filters": OF_C3, "after": [AT], "newest_first": False}),
    (serving.CANDLES, {"filters": OF_C3, "since": SINCE, "newest_first": False}),
    (serving.LATEST_CANDLES, {"filters": {"interval": "1h"}}),
    (serving.LATEST_CANDLES, {"filters": {"interval": "1h"}, "after": ["okx:C2-USDT:perp"]}),
    (serving.INDICATORS, {"filters": OF_C3, "after": [AT]}),
    (serving.LATEST_INDICATORS, {"filters": {"interval": "1h"}}),
    (serving.TICKERS, {"filters": OF_C3}),
    (serving.TICKERS, {"filters": OF_C3, "after": [AT, "okx"]}),
    (serving.TICKERS, {"filters": OF_C3, "after": [AT, "okx"], "newest_first": False}),
    (serving.LATEST_TICKERS, {}),
    (serving.FUNDING_RATES, {"filters": OF_C3, "after": [AT, "regular", "okx"]}),
    (serving.LATEST_FUNDING_RATES, {}),
    (serving.MARKETS, {"filters": {"asset_id": "asset-3"}, "after": [AT, "coingecko"]}),
    (serving.LATEST_MARKETS, {}),
    (serving.GLOBAL_SNAPSHOTS, {}),
    (serving.GLOBAL_SNAPSHOTS, {"after": [AT, "coingecko"]}),
    (serving.CYCLES, {"after": [10_000]}),
    (serving.REVISIONS, {"after": [10_000]}),
]
BIG = "candles|indicators|tickers|funding_rates|market_snapshots|global_snapshots|cycles|revisions"


@pytest.mark.parametrize("number", range(len(ASKS)))
def test_a_page_is_found_by_an_index_and_reads_little_more_than_its_rows(filled, number):
    topic, asked = ASKS[number]
    query, values = statement(topic, Ask(limit=10, **asked))
    with filled.reading() as connection:
        cursor = connection.connection.cursor()
        cursor.execute(f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, BUFFERS OFF) {query}", values)
        lines = [row[0] for row in cursor.fetchall()]
    plan = "\n".join(lines)
    assert not re.search(rf"Seq Scan on ({BIG})\w* .*rows=[1-9]", plan), plan
    read = [re.search(r"Scan .*\b(?:" + BIG + r")\w* .*rows=([\d.]+) loops=(\d+)", line) for line in lines]
    rows = sum(float(found[1]) * int(found[2]) for found in read if found)
    assert 1 <= rows <= 80, plan  # of some 50 000; of markets one probe for each asset and month


def test_pages_behind_a_place_do_not_look_at_months_that_cannot_hold_any(filled):
    query, values = statement(serving.TICKERS, Ask(limit=10, filters=OF_C3, after=[AT, "okx"]))
    with filled.reading() as connection:
        cursor = connection.connection.cursor()
        cursor.execute(f"EXPLAIN {query}", values)
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert "tickers_2025_10" in plan
    assert "tickers_2025_11" not in plan
    assert "tickers_2026_01" not in plan


PAYLOADS = [
    f"{quote}{payload}"
    for quote in ("", "'", '"', "''", "\\'", "%", "%%", "%(limit)s", "{inside}", "$1", "\u02bc", "\uff07")
    for payload in (
        " OR 1=1 --",
        "; DROP TABLE candles; --",
        ") UNION SELECT NULL --",
        "/**/OR/**/1",
        "||pg_sleep(9)||",
        " AND (SELECT 1)=1",
        "\n; COMMIT; --",
        "::text",
        "' || version() || '",
        "E'\\x27'",
    )
]


@pytest.mark.parametrize("name", TOPICS)
def test_what_a_client_sends_is_never_part_of_a_statement(name):
    topic = TOPICS[name]
    after = ["plain" for _ in topic.keys]
    plain, _ = statement(topic, Ask(limit=1, filters=dict.fromkeys(topic.filters, "plain"), after=after))
    assert len(PAYLOADS) == 120
    for payload in PAYLOADS:
        asked = Ask(limit=1, filters=dict.fromkeys(topic.filters, payload), after=[payload for _ in topic.keys])
        query, values = statement(topic, asked)
        assert query == plain
        assert set(values.values()) <= {payload, 2, None}


def test_payloads_as_values_find_nothing_and_break_nothing(writer, cycle, pages):
    writer.write(cycle, [batch(*everything()), batch(asset(), source="coingecko")])
    for payload in PAYLOADS:
        asked = {"filters": {"instrument": payload, "interval": payload, "source": payload}}
        assert pages.page(serving.CANDLES, Ask(limit=1, **asked)).rows == []
        assert pages.page(serving.ASSETS, Ask(limit=1, filters={"symbol": [payload], "source": payload})).rows == []
        assert serving.unknown(pages._database, "instrument", [payload]) == [payload]
    assert len(all_rows(pages, serving.CANDLES, limit=10, filters=SERIES)) == 1
