"""TimescaleDB: refused in one line where it is not, no row lost where it is.

COLLECTOR_TEST_DATABASE_URL names a server with the extension; without it the tests of hypertables are skipped.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import sqlglot
from sqlalchemy import text

from collector.clock import SystemClock
from collector.errors import ConfigError, StorageUnavailable
from collector.records import Interval
from collector.storage import timeseries
from collector.storage.database import Database
from collector.storage.hypertables import aggregates, conversion, timescale
from collector.storage.inventory import load_tables
from collector.storage.news import NewsReader
from collector.storage.serving.disk import disk_use
from collector.storage.writer import Writer
from tests.storage.foreign_server import VARIABLE
from tests.storage.samples import NOON, batch, candle

WANTED = timescale.Wanted(
    chunk=timedelta(days=30), compress_after=timedelta(days=36_500), aggregates=(Interval.M5, Interval.H1)
)
FULL = timescale.Support(available="2.19.3", installed="2.19.3", preloaded=True, licence="timescale")
SUM = "SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric), 0) FROM {} t"


def quiet(_line):
    pass


@pytest.fixture
def fresh(cluster):
    """A database with all tables, cut by month, whatever the server offers."""
    url = cluster.create_database(getattr(cluster, "partitioned", None))
    opened = Database(url, clock=SystemClock())
    yield opened
    opened.close()
    cluster.drop(url)


@pytest.fixture
def offered(cluster, fresh):
    """The same on a server that has TimescaleDB."""
    if not getattr(cluster, "timescale", False):
        pytest.skip(f"{VARIABLE} names no server with TimescaleDB")
    return fresh


@pytest.fixture
def without(cluster, fresh):
    if getattr(cluster, "timescale", False):
        pytest.skip("this server has TimescaleDB")
    return fresh


def run(database, query, **values):
    with database.transaction() as connection:
        found = connection.execute(text(query), values)
        return [tuple(row) for row in found] if found.returns_rows else []


def fill(database, months=((2025, 12), (2026, 1), (2026, 2))):
    """Two series of 1m bars from the 31st of December to the 2nd of February, a bar an hour; one volume is unknown."""
    with database.transaction() as connection:
        timeseries.ensure_partitions(connection, "candles", months)
    run(
        database,
        """
        INSERT INTO candles (source, observed_at, received_at, cycle_id, instrument_id, interval, open_time, open, high,
            low, close, volume, trades)
        SELECT 'okx', t, t, 1, i, '1m', t, 1.50, 2, 1, 1.5, nullif(g, 77), g FROM generate_series(0, 800) g,
            generate_series(1, 2) i, LATERAL (SELECT timestamptz '2025-12-31 00:00+00' + g * interval '1 hour') x(t)
        """,
    )


def minutes(database, number, bars):
    """Store 1m bars of one instrument from noon on: minute -> (open, high, low, close, volume, trades)."""
    for minute, (first, high, low, last, volume, trades) in bars.items():
        at = NOON + timedelta(minutes=minute)
        run(
            database,
            "INSERT INTO candles (source, observed_at, received_at, cycle_id, instrument_id, interval, open_time, open,"
            " high, low, close, volume, trades) VALUES ('okx', :at, :at, 1, :i, '1m', :at, :o, :h, :l, :c, :v, :n)",
            at=at,
            i=number,
            o=first,
            h=high,
            l=low,
            c=last,
            v=volume,
            n=trades,
        )


# --------------------------------------------------------------------------- a server without it


def test_a_server_without_it_says_so_and_keeps_its_partitions(without):
    state = timescale.load_state(without)
    assert state.support == timescale.Support(available=None, installed=None, preloaded=False, licence=None)
    assert {table.table for table in state.tables} == set(timeseries.PARTITIONED)
    assert not any(table.hypertable for table in state.tables)


def test_enabling_without_it_is_refused_in_one_line_that_names_the_remedy(without):
    with pytest.raises(ConfigError, match=r"does not have TimescaleDB, and nothing needs it; .* install") as caught:
        timescale.enable(without, WANTED, say=quiet)
    assert "\n" not in str(caught.value)


def test_comparing_without_aggregates_names_the_command_that_makes_them(fresh):
    with pytest.raises(ConfigError, match=r"there is no candles_5m: python main.py db timescale enable"):
        aggregates.compare(fresh, Interval.M5, NOON, 10)


@pytest.mark.parametrize(
    ("support", "remedy"),
    [
        (timescale.Support(available="2.19.3", installed=None, preloaded=False, licence=None), "shared_preload_libr"),
        (timescale.Support(available="2.19.3", installed="2.9.3", preloaded=True, licence="timescale"), "UPDATE"),
        (timescale.Support(available="2.13.1", installed=None, preloaded=True, licence=None), "2.14 or newer"),
    ],
)
def test_a_server_that_is_not_ready_is_refused_with_the_remedy(support, remedy):
    with pytest.raises(ConfigError, match=remedy):
        timescale.refuse_unsupported(support)


@pytest.mark.parametrize(("version", "good"), [("2.30.0-dev", True), ("2.14.0-rc1", True), ("2.13.9-dev", False)])
def test_a_version_before_its_release_is_compared_by_its_numbers(version, good):
    support = timescale.Support(available=version, installed=None, preloaded=True, licence=None)
    try:
        timescale.refuse_unsupported(support)
    except ConfigError:
        refused = True
    else:
        refused = False
    assert refused is not good


# --------------------------------------------------------------------------- statements


def test_the_statements_are_spelled_as_the_server_documents_them():
    assert timescale.hypertable_sql("w.candles", "candles", timedelta(days=30)) == (
        "SELECT create_hypertable('w.candles', by_range('open_time', INTERVAL '30 days'), "
        "create_default_indexes => false)"
    )
    assert timescale.compression_sql("order_books") == (
        "ALTER TABLE order_books SET (timescaledb.compress, timescaledb.compress_segmentby = 'instrument_id, source', "
        "timescaledb.compress_orderby = 'observed_at DESC')"
    )
    assert aggregates.policy_sql(Interval.D1, None) == (
        "SELECT add_continuous_aggregate_policy('candles_1d', start_offset => NULL, "
        "end_offset => INTERVAL '1440 minutes', schedule_interval => INTERVAL '60 minutes')"
    )
    assert aggregates.create_sql(Interval.M15) == (
        "CREATE MATERIALIZED VIEW candles_15m WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS "
        "SELECT instrument_id, time_bucket(INTERVAL '15 minutes', open_time) AS open_time, first(open, open_time) AS "
        "open, max(high) AS high, min(low) AS low, last(close, open_time) AS close, "
        "CASE WHEN count(volume) = count(*) THEN sum(volume) END AS volume, "
        "CASE WHEN count(quote_volume) = count(*) THEN sum(quote_volume) END AS quote_volume, "
        "CASE WHEN count(trades) = count(*) THEN sum(trades) END AS trades, "
        "CASE WHEN count(taker_buy_volume) = count(*) THEN sum(taker_buy_volume) END AS taker_buy_volume, "
        "max(received_at) AS received_at FROM candles WHERE interval = '1m' "
        "GROUP BY 1, 2 HAVING count(*) = 15 WITH NO DATA"
    )


@pytest.mark.parametrize("table", timeseries.PARTITIONED)
def test_every_series_is_kept_together_and_unique_keys_hold_the_time(table):
    statement = timescale.compression_sql(table)
    key = {column.name for column in timescale.METADATA.tables[table].primary_key.columns}
    assert timeseries.PARTITIONED[table] in key
    named = statement.partition("segmentby = '")[2].partition("'")[0].split(", ")
    assert {*named, timeseries.PARTITIONED[table]} == key


@pytest.mark.parametrize("interval", aggregates.KNOWN)
def test_queries_are_valid_postgresql(interval):
    query = aggregates.create_sql(interval).partition(" AS ")[2].removesuffix(" WITH NO DATA")
    parsed = sqlglot.parse_one(query, dialect="postgres", error_level=sqlglot.ErrorLevel.RAISE)
    assert len(parsed.expressions) == 11
    sqlglot.parse_one(aggregates.compare_sql(interval), dialect="postgres", error_level=sqlglot.ErrorLevel.RAISE)


def done(**changes):
    """The state in which nothing is left to do of WANTED."""
    table = {"hypertable": True, "pieces": 1, "chunk": WANTED.chunk, "compression": True}
    tables = [
        timescale.TableState(
            table=name, compress_after=None if name in timescale.NOT_COMPRESSED else WANTED.compress_after, **table
        )
        for name in timeseries.PARTITIONED
    ]
    found = [
        aggregates.AggregateState(
            name=aggregates.name_of(interval),
            interval=interval,
            refresh_every=timedelta(minutes=5),
            refresh_from=None,
            last_run="Success",
        )
        for interval in WANTED.aggregates
    ]
    return timescale.State(**{"support": FULL, "tables": tables, "aggregates": found, "unlimited": True, **changes})


def test_nothing_is_left_to_do_when_all_of_it_is_done():
    assert timescale.steps(done(), WANTED) == []


def test_an_age_that_changed_replaces_its_policy():
    older = timescale.Wanted(chunk=WANTED.chunk, compress_after=timedelta(days=60), aggregates=WANTED.aggregates)
    found = timescale.steps(done(), older)
    assert [step.statements for step in found if step.what.startswith("compress candles")] == [
        [
            "SELECT remove_compression_policy('candles')",
            "SELECT add_compression_policy('candles', compress_after => INTERVAL '60 days')",
        ]
    ]
    assert len(found) == len(timeseries.PARTITIONED) - len(timescale.NOT_COMPRESSED)


def test_rows_are_dropped_only_where_the_settings_ask_and_no_longer_when_they_stop():
    asked = timescale.Wanted(
        chunk=WANTED.chunk,
        compress_after=WANTED.compress_after,
        drop_after={"tickers": timedelta(days=90)},
        aggregates=WANTED.aggregates,
    )
    (step,) = timescale.steps(done(), asked)
    assert step.statements == ["SELECT add_retention_policy('tickers', drop_after => INTERVAL '90 days')"]
    state = done()
    dropping = [
        timescale.TableState(**{**vars_of(table), "drop_after": timedelta(days=90)})
        if table.table == "tickers"
        else table
        for table in state.tables
    ]
    (step,) = timescale.steps(done(tables=dropping), WANTED)
    assert step.statements == ["SELECT remove_retention_policy('tickers')"]


def vars_of(table):
    return {name: getattr(table, name) for name in timescale.TableState.__slots__}


def test_under_the_apache_licence_only_hypertables_are_made():
    apache = timescale.Support(available="2.19.3", installed="2.19.3", preloaded=True, licence="apache")
    tables = [timescale.TableState(table=name, hypertable=False, pieces=0) for name in timeseries.PARTITIONED]
    state = timescale.State(support=apache, tables=tables)
    assert {step.converts for step in timescale.steps(state, WANTED)} == set(timeseries.PARTITIONED)


def test_nothing_is_compressed_when_no_age_is_given():
    never = timescale.Wanted(chunk=WANTED.chunk, compress_after=None, aggregates=WANTED.aggregates)
    found = timescale.steps(done(), never)
    assert {statement for step in found for statement in step.statements} == {
        f"SELECT remove_compression_policy('{name}')"
        for name in timeseries.PARTITIONED
        if name not in timescale.NOT_COMPRESSED
    }


def test_a_table_that_is_not_one_of_the_big_ones_cannot_be_dropped_by_age(fresh):
    wrong = timescale.Wanted(chunk=WANTED.chunk, compress_after=None, drop_after={"assets": timedelta(days=90)})
    with pytest.raises(ConfigError, match=r"timescale.drop_after_days: assets is none of market_snapshots"):
        timescale.enable(fresh, wrong, say=quiet)


# --------------------------------------------------------------------------- copy and swap, on partitions


def convert(database, say=quiet):
    return conversion.convert(database, "candles", lambda _: (), partitioned=True, say=say)


def test_a_swapped_table_holds_the_same_rows_to_the_letter(fresh):
    fill(fresh)
    before = run(fresh, SUM.format("candles"))
    assert convert(fresh) == conversion.Converted(table="candles", rows=1602, copied=3)
    assert run(fresh, SUM.format("candles")) == before
    assert run(fresh, "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'collector_%'") == [(0,)]


def test_views_comments_keys_and_grants_survive_the_swap(fresh):
    fill(fresh)
    run(fresh, "CREATE VIEW mine AS SELECT '5%' AS share, * FROM candles WHERE source LIKE 'o%'")
    run(
        fresh,
        "COMMENT ON VIEW mine IS 'of a person'; GRANT SELECT ON candles TO PUBLIC; GRANT SELECT ON mine TO PUBLIC",
    )
    look = """
        SELECT relname, relacl::text, obj_description(oid, 'pg_class'),
            CASE relkind WHEN 'v' THEN pg_get_viewdef(oid) END,
            (SELECT array_agg((conname, pg_get_constraintdef(k.oid))::text ORDER BY conname) FROM pg_constraint k
             WHERE conrelid = c.oid AND contype <> 'n')
        FROM pg_class c WHERE relnamespace = 'public'::regnamespace AND relkind IN ('p', 'v') ORDER BY 1
    """
    before = run(fresh, look)
    convert(fresh)
    assert run(fresh, look) == before
    assert run(fresh, "SELECT count(*) FROM mine") == [(1602,)]


class Interrupted(Exception):
    """Stands for a kill."""


def interrupt(_line):
    raise Interrupted


def test_an_interrupted_copy_goes_on_and_copies_no_month_twice(fresh):
    fill(fresh)
    with pytest.raises(Interrupted):
        convert(fresh, say=interrupt)
    assert timescale.load_state(fresh).unfinished == ["candles"]
    assert convert(fresh).copied == 2
    assert timescale.load_state(fresh).unfinished == []


def test_rows_that_came_changed_or_went_since_an_interruption_are_noticed(fresh):
    fill(fresh)
    with pytest.raises(Interrupted):
        convert(fresh, say=interrupt)
    run(fresh, "UPDATE candles SET close = 1.25 WHERE open_time = '2025-12-31 03:00+00' AND instrument_id = 1")
    run(fresh, "DELETE FROM candles WHERE open_time = '2025-12-31 05:00+00'")
    before = run(fresh, SUM.format("candles"))
    assert convert(fresh).rows == 1600
    assert run(fresh, SUM.format("candles")) == before


def test_a_change_of_notation_alone_is_a_change(fresh):
    fill(fresh)
    with pytest.raises(Interrupted):
        convert(fresh, say=interrupt)
    run(fresh, "UPDATE candles SET open = 1.5 WHERE open_time = '2025-12-31 03:00+00'")  # was 1.50
    convert(fresh)
    shown = run(fresh, "SELECT open::text FROM candles WHERE open_time = '2025-12-31 03:00+00' AND instrument_id = 1")
    assert shown == [("1.5",)]


def test_somebody_who_keeps_writing_is_told_of_and_nothing_is_swapped(fresh):
    fill(fresh)

    def meddle(_line):
        run(fresh, "UPDATE candles SET trades = trades + 1 WHERE open_time = '2025-12-31 03:00+00'")

    with pytest.raises(StorageUnavailable, match="rows of candles changed while they were copied: stop whoever writes"):
        convert(fresh, say=meddle)
    assert run(fresh, "SELECT trades FROM candles WHERE open_time = '2025-12-31 03:00+00'") == [(8,), (8,)]
    assert conversion.forget_copies(fresh) == ["candles"]
    assert timescale.load_state(fresh).unfinished == []


@pytest.mark.parametrize(
    ("making", "named"),
    [
        ("CREATE MATERIALIZED VIEW cut AS SELECT * FROM candles", "materialized view cut"),
        ("CREATE PUBLICATION told FOR TABLE candles", "publication told"),
        ("ALTER TABLE candles ENABLE ROW LEVEL SECURITY", "row security of candles"),
        ("GRANT SELECT (open) ON candles TO PUBLIC", "grants on column open"),
    ],
)
def test_what_a_swap_would_take_away_stops_it_before_anything_is_copied(fresh, making, named):
    run(fresh, making)
    with pytest.raises(ConfigError, match=f"candles cannot be swapped: {named} would be lost"):
        convert(fresh)
    assert timescale.load_state(fresh).unfinished == []


def test_a_copy_begun_before_a_migration_is_begun_again(fresh):
    fill(fresh)
    with pytest.raises(Interrupted):
        convert(fresh, say=interrupt)
    run(fresh, "ALTER TABLE candles ADD COLUMN later text")
    assert convert(fresh).copied == 3
    assert run(fresh, "SELECT count(later), count(*) FROM candles") == [(0, 1602)]


# --------------------------------------------------------------------------- hypertables


def test_enabling_loses_no_row_and_a_second_run_has_nothing_to_do(offered):
    fill(offered)
    before = run(offered, SUM.format("candles"))
    assert timescale.enable(offered, WANTED, say=quiet)
    assert run(offered, SUM.format("candles")) == before
    assert timescale.enable(offered, WANTED, say=quiet) == []
    state = timescale.load_state(offered)
    assert all(table.hypertable for table in state.tables)
    assert state.table("candles").chunk == timedelta(days=30)


def test_disabling_gives_the_partitions_back_with_every_row(offered):
    fill(offered)
    before = run(offered, SUM.format("candles"))
    timescale.enable(offered, WANTED, say=quiet)
    run(offered, "SELECT compress_chunk(c) FROM show_chunks('candles') c")
    timescale.disable(offered, say=quiet)
    assert run(offered, SUM.format("candles")) == before
    assert run(offered, "SELECT relkind FROM pg_class WHERE relname = 'candles'") == [("p",)]
    with offered.reading() as connection:
        assert {(2025, 12), (2026, 1), (2026, 2)} <= timeseries.months_stored(connection, "candles")
    assert timescale.load_state(offered).aggregates == []


def test_a_bar_is_worked_out_by_hand_and_only_when_all_its_minutes_are_there(offered):
    timescale.enable(offered, WANTED, say=quiet)
    run(offered, "SELECT _timescaledb_functions.stop_background_workers()")  # two refreshes at once are refused
    whole = {
        0: (10, 12, 9, 11, Decimal("1.5"), 1),
        1: (11, 15, 10, 14, Decimal("0.25"), 0),
        2: (14, 14, 8, 9, Decimal(0), 3),
        3: (9, 10, 9, 10, Decimal(2), 4),
        4: (10, 11, 10, Decimal("10.5"), Decimal("0.05"), 2),
    }
    unknown = {minute: (*bar[:4], None if minute == 2 else bar[4], bar[5]) for minute, bar in whole.items()}
    minutes(offered, 1, whole)
    minutes(offered, 2, unknown)
    minutes(offered, 3, {minute: bar for minute, bar in whole.items() if minute != 2})
    query = "SELECT instrument_id, open_time, open, high, low, close, volume, trades FROM candles_5m ORDER BY 1"
    wanted = [
        (1, NOON, 10, 15, 8, Decimal("10.5"), Decimal("3.80"), 10),
        (2, NOON, 10, 15, 8, Decimal("10.5"), None, 10),
    ]
    assert run(offered, query) == wanted  # not refreshed yet
    refresh(offered)
    assert run(offered, query) == wanted
    minutes(offered, 3, {2: whole[2]})  # the hole is filled
    refresh(offered)
    assert run(offered, query)[2] == (3, NOON, 10, 15, 8, Decimal("10.5"), Decimal("3.80"), 10)


def refresh(database):
    step = timescale.Step(what="x", statements=["CALL refresh_continuous_aggregate('candles_5m', NULL, NULL)"])
    timescale._run_alone(database, step)


def test_bars_that_differ_from_the_stored_ones_are_listed(offered):
    writer = Writer(offered)
    cycle = writer.begin_cycle("market", NOON, instance="t:1", folder="f", simulated=True)
    bars = [candle(minute) for minute in range(10)]
    five = {"interval": Interval.M5, "trades": 35, "volume": Decimal("62.5"), "quote_volume": Decimal("6256.25")}
    writer.write(cycle, [batch(*bars, candle(0, **five), candle(5, **{**five, "high": Decimal(102)}))])
    timescale.enable(offered, WANTED, say=quiet)
    found = aggregates.compare(offered, Interval.M5, NOON, 10)
    assert (found.compared, found.differing) == (2, 1)
    (row,) = found.differences
    assert (row["open_time"], row["high"], row["aggregated_high"]) == (NOON + timedelta(minutes=5), 102, 101)


def test_compressed_bars_can_be_revised_healed_and_written_again(offered):
    writer = Writer(offered)
    cycle = writer.begin_cycle("market", NOON, instance="t:1", folder="f", simulated=True)
    writer.write(cycle, [batch(*(candle(minute) for minute in range(10) if minute != 4))])
    timescale.enable(offered, WANTED, say=quiet)
    run(offered, "SELECT compress_chunk(c) FROM show_chunks('candles') c")
    assert timescale.load_state(offered).table("candles").compressed == 1
    writer = Writer(offered)
    (again,) = writer.write(cycle, [batch(*(candle(minute) for minute in range(10) if minute != 4))])
    assert (dict(again.written), again.unchanged) == ({}, 9)
    (revised,) = writer.write(cycle, [batch(candle(3, close=Decimal("99.5")), candle(4))])
    assert (revised.written, revised.revised) == ({"candles": 2}, 1)
    assert run(offered, "SELECT count(*), sum(close) FROM candles") == [(10, Decimal("999.5"))]
    assert run(offered, "SELECT old, new FROM revisions") == [({"close": "100"}, {"close": "99.5"})]


def test_more_compressed_rows_than_the_server_s_default_can_change_at_once(offered):
    timescale.enable(offered, WANTED, say=quiet)
    assert run(offered, "SHOW timescaledb.max_tuples_decompressed_per_dml_transaction") == [("0",)]


def test_new_rows_are_found_beside_compressed_ones(offered):
    fill(offered)
    timescale.enable(offered, WANTED, say=quiet)
    run(offered, "SELECT compress_chunk(c) FROM show_chunks('candles') c")
    reader, writer = NewsReader(offered), Writer(offered)
    now = offered.clock.now()
    cycle = writer.begin_cycle("market", now, instance="t:1", folder="f", simulated=True)
    position = reader.position()
    opened = now.replace(second=0, microsecond=0) - timedelta(minutes=2)
    late = candle(open_time=opened, observed_at=opened + timedelta(minutes=1), received_at=now)
    writer.write(cycle, [batch(late)])
    news = reader.since(position, ["candles"])
    assert [(found.kind, [row["open_time"] for row in found.rows]) for found in news.found] == [("candles", [opened])]


def test_sizes_and_counts_know_compressed_rows(offered):
    fill(offered)
    timescale.enable(offered, WANTED, say=quiet)
    run(offered, "SELECT compress_chunk(c) FROM show_chunks('candles') c")
    with offered.reading() as connection:
        size = timeseries.size_of(connection, "candles")
        (contents,) = [table for table in load_tables(connection) if table.table == "candles"]
        months = timeseries.months_stored(connection, "candles")
        shares = [timeseries.size_of_month(connection, "candles", month) for month in sorted(months)]
    assert size.total_bytes > size.heap_bytes > 0
    assert len(size.filled) == 2
    assert (contents.rows, contents.exact) == (1602, True)
    assert contents.last == datetime(2026, 2, 2, 8, tzinfo=UTC)
    assert abs(sum(shares) - size.total_bytes) <= len(shares)
    (use,) = [table for table in disk_use(offered).tables if table.table == "candles"]
    assert use.total_bytes == size.total_bytes
    state = timescale.load_state(offered).table("candles")
    assert state.bytes_before > state.bytes_after > 0


@pytest.mark.parametrize("compressed", [False, True])
def test_a_month_leaves_alone_and_what_is_kept_stays(offered, compressed):
    fill(offered)
    timescale.enable(offered, WANTED, say=quiet)
    if compressed:
        run(offered, "SELECT compress_chunk(c) FROM show_chunks('candles') c")
    with offered.transaction() as connection:
        timeseries.lock_month(connection, "candles", (2026, 1))
        timeseries.drop_month(connection, "candles", (2026, 1), keep="instrument_id = 2 AND trades < 30")
    # 24 h of December, then 6 of January stay of one of two series; 33 h of February.
    query = (
        "SELECT extract(month FROM open_time)::int, instrument_id, count(*) FROM candles GROUP BY 1, 2 ORDER BY 1, 2"
    )
    assert run(offered, query) == [(1, 2, 6), (2, 1, 33), (2, 2, 33), (12, 1, 24), (12, 2, 24)]
    with offered.transaction() as connection:
        for month in ((2025, 12), (2026, 1)):
            timeseries.drop_month(connection, "candles", month)
        assert {(2025, 12), (2026, 1)} & timeseries.months_stored(connection, "candles") == {(2026, 1)}
    assert run(offered, query) == [(2, 1, 33), (2, 2, 33)]


def test_chunks_older_than_a_moment_go_whole(offered):
    fill(offered)
    timescale.enable(offered, WANTED, say=quiet)
    with offered.transaction() as connection:
        chunks = timeseries.drop_before(connection, "candles", datetime(2026, 2, 1, tzinfo=UTC))
    assert len(chunks) == 1  # 2025-12-08 to 2026-01-07; the next one reaches into February
    assert run(offered, "SELECT min(open_time) FROM candles") == [(datetime(2026, 1, 7, tzinfo=UTC),)]


def test_an_interrupted_conversion_goes_on_when_enabled_again(offered):
    fill(offered)
    before = run(offered, SUM.format("candles"))

    def stop(line):
        if line.startswith("candles: month 2"):
            raise Interrupted

    with pytest.raises(Interrupted):
        timescale.enable(offered, WANTED, say=stop)
    assert run(offered, SUM.format("candles")) == before
    timescale.enable(offered, WANTED, say=quiet)
    assert run(offered, SUM.format("candles")) == before
    assert timescale.steps(timescale.load_state(offered), WANTED) == []
