"""kill -9 in the middle of a cycle, at several moments: nothing committed is lost, nothing is doubled."""

import socket

import pytest

from tests.acceptance import truth as facts
from tests.acceptance.conftest import ASSETS, SEED, simulator
from tests.acceptance.program import SMALL, Program, changed, wait_until
from tests.acceptance.truth import Truth

TABLES = (
    "market_snapshots",
    "global_snapshots",
    "tickers",
    "mark_prices",
    "funding_forecasts",
    "open_interest",
    "order_books",
    "candles",
    "indicators",
)
# Two calls at once and 50 ms each spread a cycle over more than a second, in many transactions.
SLOW = SMALL
for _source in ("coingecko", "binance_futures", "okx"):
    SLOW = changed(SLOW, ["sources", _source, "parallelism"], 2)


@pytest.fixture(scope="module")
def slow_venues():
    with simulator(latency_s=0.05) as running:
        yield running


def kill_when(program, condition, what):
    """Run one cycle, end it as a crash does once a condition on it holds, and wait until the server has noticed."""
    before = program.value("SELECT coalesce(max(cycle_id), 0) FROM cycles")
    reached = f"SELECT EXISTS (SELECT FROM cycles c WHERE cycle_id > {before} AND {condition})"
    with program.running("once") as cycle:
        wait_until(lambda: program.value(reached) or not cycle.alive(), what)
        assert cycle.alive(), f"the cycle ended before: {what}\n{cycle.err}"
        cycle.kill()
    # Only this database: other tests share the server. What is left is shown, should it ever not go.
    sessions = "SELECT application_name, state, wait_event, query FROM pg_stat_activity"
    dead = f"{sessions} WHERE application_name LIKE 'collector%' AND datname = current_database()"
    seen = []

    def ended():
        seen[:] = program.rows(dead)
        return not seen

    try:
        wait_until(ended, "the server ends the sessions of the dead")
    except AssertionError as error:
        raise AssertionError(f"{error}: {seen}") from error


def contents(program):
    """Return every row of every table of observations."""
    return {table: {row for (row,) in program.rows(f"SELECT t::text FROM {table} t")} for table in TABLES}


MOMENTS = {
    "the cycle has begun": "true",
    "a first batch is stored": "EXISTS (SELECT FROM jobs j WHERE j.cycle_id = c.cycle_id)",
    "the first candles are stored": "EXISTS (SELECT FROM candles n WHERE n.cycle_id = c.cycle_id)",
    "most series are stored": "(SELECT count(*) FROM jobs j WHERE j.cycle_id = c.cycle_id AND dataset = 'candles') > 9",
}


@pytest.fixture(scope="module")
def survivor(install, slow_venues):
    """A database after a crash at each moment, then one cycle that was left alone; and what each crash left."""
    program = install(slow_venues.base_urls, settings=SLOW)
    left = []
    for what, condition in MOMENTS.items():
        kill_when(program, condition, what)
        left.append(contents(program))
    final = program.run("once")
    assert final.status == 0, final.err
    return program, left


def test_no_committed_row_is_lost_and_none_is_changed(survivor):
    program, left = survivor
    for before, after in zip(left, [*left[1:], contents(program)], strict=True):
        for table in TABLES:
            assert before[table] <= after[table], table
    assert left[-1]["candles"], "the crashes came after rows were stored"


def test_every_crashed_cycle_is_abandoned_and_the_next_one_is_ok(survivor):
    program, _ = survivor
    assert program.cycles() == [("market", "abandoned")] * len(MOMENTS) + [("market", "ok")]
    assert program.value("SELECT count(*) FROM cycles WHERE finished_at IS NULL") == 0


def test_no_row_is_there_twice(survivor):
    program, _ = survivor
    keys = {
        "tickers": "source, instrument_id, observed_at",
        "mark_prices": "source, instrument_id, observed_at",
        "open_interest": "source, instrument_id, observed_at",
        "order_books": "source, instrument_id, observed_at",
        "market_snapshots": "source, asset_id, observed_at",
        "candles": "instrument_id, interval, open_time",
        "indicators": "instrument_id, interval, open_time",
        "instruments": "venue, venue_symbol",
        "assets": "source, asset_id",
        "jobs": "cycle_id, source, dataset, subject, interval",
    }
    for table, key in keys.items():
        doubled = program.rows(f"SELECT {key} FROM {table} GROUP BY {key} HAVING count(*) > 1")
        assert doubled == [], table


def test_after_the_crashes_every_series_is_whole_and_true(survivor):
    program, _ = survivor
    truth = Truth(SEED, ASSETS)
    series = program.rows(
        "SELECT venue, venue_symbol, interval, min(open_time), max(open_time) FROM candles "
        "JOIN instruments USING (instrument_id) GROUP BY 1, 2, 3"
    )
    assert len(series) == 8 * 3
    for venue, symbol, interval, first, last in series:
        rows = program.rows(
            f"SELECT open_time, {facts.BARS} FROM candles JOIN instruments USING (instrument_id) "
            "WHERE venue = %s AND venue_symbol = %s AND interval = %s",
            venue,
            symbol,
            interval,
        )
        assert {row[0]: row[1:] for row in rows} == truth.candles(venue, symbol, interval, first, last)
        assert len(rows) >= 250


def test_after_a_crash_before_the_indicators_the_next_cycle_computes_them(survivor):
    """The candles of a crashed cycle are not fetched again; their indicators must come all the same."""
    program, _ = survivor
    missing = program.rows(
        "SELECT instrument, interval, count(*) FROM candles JOIN instruments USING (instrument_id) "
        "LEFT JOIN indicators n USING (instrument_id, interval, open_time) "
        "WHERE n.open_time IS NULL GROUP BY 1, 2 ORDER BY 1, 2"
    )
    assert missing == []


def test_a_second_collector_ends_with_status_3_at_once_and_names_the_holder(install, venues):
    program = install(venues.base_urls)
    with program.running("run") as holder:
        wait_until(lambda: program.ended_cycles("daily"), "the first cycles")
        before = program.value("SELECT count(*) FROM cycles WHERE cadence = 'hourly'")
        second = program.run("once", "--cadence", "hourly")
        assert second.status == 3
        assert second.seconds < 3 + START_S
        assert f"pid={holder.pid}" in second.complaint
        assert f"host={socket.gethostname()}" in second.complaint
        assert program.run("status").status == 0, "looking is allowed"
        assert program.value("SELECT count(*) FROM cycles WHERE cadence = 'hourly'") == before
        assert holder.alive()
        holder.kill()
        assert program.run("once").status == 0, "a dead holder holds nothing"


START_S = 3
"""Python and the packages of the product on a busy machine."""


def test_the_embedded_server_survives_a_crash_of_the_collector(slow_venues, tmp_path):
    program = Program(tmp_path, addresses=slow_venues.base_urls, settings=SLOW)
    stored = tmp_path / "logs" / "latest" / "CryptoListingService.log"
    with program.running("once") as cycle:
        wait_until(lambda: stored.exists() or not cycle.alive(), "ranks and prices are stored")
        assert cycle.alive(), cycle.err
        cycle.kill()
    again = program.run("once")
    assert again.status == 0, again.err
    listed = program.run("psql", "-Atc", "SELECT cadence, state, rows_written > 0 FROM cycles ORDER BY cycle_id")
    assert listed.out.split() == ["market|abandoned|t", "market|ok|t"]
    assert (tmp_path / "data" / "postgres").stat().st_mode & 0o777 == 0o700
