"""Coverage in the database: it says bar by bar what is stored, commits with the rows, and costs next to nothing."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from collector.clock import ManualClock
from collector.coverage import ASKED_FOR, FOUND_BY_SCAN, HAS_NONE, Event, Finding, Series
from collector.errors import StorageUnavailable
from collector.records import Dataset, Interval, Job
from collector.storage import coverage, ledger
from collector.storage.coverage import CoverageStore
from collector.storage.database import Database
from tests.storage.samples import BTC, NOON, batch, candle, listing, perp

SERIES = Series(instrument=BTC.id, dataset=Dataset.CANDLES, interval=Interval.M1)
ETH = perp("ETH", venue="binance_futures")
NOW = NOON + timedelta(days=1)


def at(minute):
    return NOON + timedelta(minutes=minute)


def job(first, last, instrument=BTC, **changes):
    values = {"source": instrument.venue, "dataset": Dataset.CANDLES, "interval": Interval.M1}
    return Job(**{**values, "instruments": (instrument,), "since": at(first), "until": at(last), **changes})


def bars(first, last, *, without=(), instrument=BTC, **changes):
    """A batch whose answer holds every bar of its range but some."""
    asked = changes.pop("job", None) or job(first, last, instrument)
    given = [candle(n, instrument, source=asked.source) for n in range(first, last) if n not in without]
    return batch(*given, job=asked, **changes)


@pytest.fixture
def clock():
    return ManualClock(NOW)


@pytest.fixture
def database(emptied, clock):
    """The shared database with a clock that moves only when told."""
    opened = Database(emptied.url.render_as_string(hide_password=False), clock=clock)
    yield opened
    opened.close()


@pytest.fixture
def store(database):
    return CoverageStore(database)


@pytest.fixture
def windows(store):
    def run(prefix=""):
        return [
            (int((w.since - NOON) / timedelta(minutes=1)), int((w.until - NOON) / timedelta(minutes=1)), str(w.state))
            for _, w in store.windows(prefix)
        ]

    return run


# --------------------------------------------------------------------------- with the rows


def test_cycle_after_cycle_a_whole_series_is_one_growing_row(writer, cycle, windows, rows):
    for minute in range(30):
        writer.write(cycle, [bars(minute, minute + 1)])
    assert windows() == [(0, 30, "observed")]
    assert rows("SELECT reason, attempts, next_try_at, source, cycle_id FROM coverage") == [("", 0, None, "okx", cycle)]


def test_an_interior_hole_of_one_bar_is_known_with_its_reason_and_its_next_try(writer, cycle, store, rows):
    writer.write(cycle, [bars(0, 10, without=[4])])
    (hole,) = [window for _, window in store.windows(held=False)]
    assert (hole.since, hole.until, hole.reason) == (at(4), at(5), "not in the provider's answer")
    assert hole.next_try_at == NOW + timedelta(minutes=1)
    writer.write(cycle, [bars(4, 5)])
    assert [(w.since, w.until) for _, w in store.windows()] == [(at(0), at(10))]


def test_a_failed_job_leaves_a_missing_window_and_what_came_before_it_broke(writer, cycle, store, windows):
    writer.write(cycle, [bars(0, 10)])
    writer.write(cycle, [bars(10, 20, without=range(14, 20), state="failed", error="no answer within 15 s")])
    assert windows() == [(0, 14, "observed"), (14, 20, "missing")]
    assert store.windows()[1][1].reason == "no answer within 15 s"


def test_a_skipped_job_is_missing_but_was_no_attempt(writer, cycle, store):
    writer.write(cycle, [batch(job=job(0, 5), state="skipped", error="the cycle's time was over")])
    ((series, window),) = store.windows()
    assert (series, window.attempts, window.reason) == (SERIES, 0, "the cycle's time was over")


def test_a_stand_in_s_bars_fill_the_series_it_stands_for(writer, cycle, store, rows):
    writer.write(cycle, [bars(0, 3)])
    asked = job(3, 6, ETH, stands_for=BTC)
    writer.write(cycle, [bars(3, 6, job=asked)])
    assert [(s.instrument, str(w.state), w.source) for s, w in store.windows()] == [
        (BTC.id, "observed", "okx"),
        (BTC.id, "filled", "binance_futures"),
    ]


def test_bars_that_the_database_refused_are_not_held(writer, cycle, windows, rows):
    poison = candle(2, high=candle().low)
    (result,) = writer.write(cycle, [batch(candle(0), candle(1), poison, candle(3), job=job(0, 4))])
    assert len(result.rejects) == 1
    assert windows() == [(0, 2, "observed"), (2, 3, "missing"), (3, 4, "observed")]
    assert rows("SELECT reason FROM coverage WHERE state = 'missing'")[0][0].endswith("(see rejects)")


def test_a_forming_bar_is_not_held(writer, cycle, windows):
    writer.write(cycle, [batch(candle(0), candle(1, closed=False), job=job(0, 2))])
    assert windows() == [(0, 1, "observed"), (1, 2, "missing")]


def test_funding_is_covered_by_what_was_asked(writer, cycle, store):
    asked = job(0, 600, dataset=Dataset.FUNDING, interval=None)
    writer.write(cycle, [batch(job=asked)])
    writer.write(cycle, [batch(job=job(480, 660, dataset=Dataset.FUNDING, interval=None))])
    ((series, window),) = store.windows()
    assert (series.name, window.since, window.until) == ("okx:BTC-USDT:perp/funding", at(0), at(660))


def test_nothing_is_missing_before_the_listing(writer, cycle, windows):
    young = listing(listed_at=at(40) + timedelta(seconds=7))
    writer.write(cycle, [batch(young, dataset=Dataset.INSTRUMENTS)])
    writer.write(cycle, [batch(job=job(0, 60), state="failed", error="HTTP 500")])
    assert windows() == [(40, 60, "missing")]


def test_the_same_batch_twice_changes_no_row_of_coverage(writer, cycle, rows):
    group = [bars(0, 10, without=[4]), bars(0, 5, instrument=ETH)]
    query = "SELECT xmin::text, * FROM coverage ORDER BY instrument_id, since"
    writer.write(cycle, group)
    before = rows(query)
    writer.write(cycle, group)
    assert rows(query) == before


def test_two_jobs_of_one_series_in_one_transaction_both_count(writer, cycle, windows):
    writer.write(cycle, [bars(0, 5), bars(5, 9), bars(12, 15)])
    assert windows() == [(0, 9, "observed"), (12, 15, "observed")]
    writer.write(cycle, [bars(9, 12)])
    assert windows() == [(0, 15, "observed")]


def test_a_window_that_touches_what_it_grows_into_becomes_one_with_it(writer, cycle, windows):
    writer.write(cycle, [bars(0, 5), bars(6, 9)])
    writer.write(cycle, [bars(5, 6)])
    assert windows() == [(0, 9, "observed")]


def test_rows_that_could_not_be_committed_are_not_called_held(writer, cycle, windows, rows, monkeypatch):
    def fail(*_):
        raise StorageUnavailable("the connection broke")

    monkeypatch.setattr(ledger, "write_payloads", fail)
    with pytest.raises(StorageUnavailable):
        writer.write(cycle, [bars(0, 5)])
    assert windows() == []
    assert rows("SELECT count(*) FROM candles") == [(0,)]


def test_other_datasets_and_jobs_without_a_range_cover_nothing(writer, cycle, windows):
    writer.write(cycle, [batch(candle()), batch(dataset=Dataset.ORDER_BOOKS), batch(state="failed", error="x")])
    assert windows() == []


# --------------------------------------------------------------------------- asking and handing out


def asked(first, last, event=Event.ASKED):
    return SERIES, Finding(since=at(first), until=at(last), event=event, source="okx", reason=ASKED_FOR)


@pytest.fixture
def known(writer, cycle):
    """A series with ten bars."""
    writer.write(cycle, [bars(0, 10)])


def test_windows_on_their_way_are_pending_and_free_again_after_a_crash(store, known, windows, clock):
    store.mark([asked(10, 20), asked(30, 40)])
    assert windows() == [(0, 10, "observed"), (10, 20, "pending"), (30, 40, "pending")]
    assert store.due(clock.now(), 10) == []
    assert store.let_go() == 2
    assert windows() == [(0, 10, "observed"), (10, 20, "missing"), (30, 40, "missing")]
    assert [window.since for _, window in store.due(clock.now(), 10)] == [at(30), at(10)]


def test_a_job_that_never_ended_is_due_again(store, known, clock):
    store.mark([asked(10, 20)])
    clock.advance(601)
    assert [(str(window.state), window.since) for _, window in store.due(clock.now(), 10)] == [("pending", at(10))]


def test_holes_are_due_when_their_pause_is_over(store, writer, cycle, clock):
    writer.write(cycle, [batch(job=job(0, 5), state="failed", error="HTTP 500")])
    assert store.due(clock.now() + timedelta(seconds=59), 10) == []
    assert len(store.due(clock.now() + timedelta(seconds=60), 10)) == 1


def test_a_wish_for_a_series_nobody_knows_is_passed_over(store, windows):
    store.mark([asked(0, 10, Event.WANTED)])
    assert windows() == []


def test_windows_are_found_by_the_beginning_of_their_series_and_cut_to_a_range(store, known, writer, cycle):
    writer.write(cycle, [bars(0, 5, instrument=ETH)])
    assert len(store.windows("okx:")) == 1
    assert len(store.windows("okx:BTC-USDT:perp/1m")) == 1
    assert store.windows("okx:BTC-USDT:perp/1h") == []
    assert len(store.windows("")) == 2
    ((_, part),) = store.windows("okx:", at(3), at(6))
    assert (part.since, part.until) == (at(3), at(6))


# --------------------------------------------------------------------------- scanning


def test_a_scan_builds_the_windows_of_candles_that_were_stored_before_there_were_any(writer, cycle, store, windows):
    stored = [candle(n) for n in range(20) if n not in (5, 11, 12)]
    stored += [candle(n, source="binance_futures") for n in (11, 12)]
    writer.write(cycle, [batch(*stored)])
    assert store.scan() == 1
    assert windows() == [
        (0, 5, "observed"),
        (5, 6, "missing"),
        (6, 11, "observed"),
        (11, 13, "filled"),
        (13, 20, "observed"),
    ]
    assert store.windows(held=False)[0][1].reason == FOUND_BY_SCAN
    assert store.scan() == 0  # nothing is new any more


def test_a_second_scan_changes_nothing_and_keeps_what_is_known_about_holes(writer, cycle, store, clock, rows):
    writer.write(cycle, [bars(0, 10, without=[4])])
    clock.advance(60)
    writer.write(cycle, [batch(job=job(4, 5))])
    before = rows("SELECT xmin::text, * FROM coverage ORDER BY since")
    assert any(HAS_NONE in row for row in before)
    assert store.scan(again=True) == 1
    assert rows("SELECT xmin::text, * FROM coverage ORDER BY since") == before


def test_a_scan_finds_rows_that_are_gone(writer, cycle, store, windows, database):
    writer.write(cycle, [bars(0, 10)])
    with database.transaction() as connection:
        connection.execute(text("DELETE FROM candles WHERE open_time IN (:a, :b)"), {"a": at(3), "b": at(9)})
    store.scan(again=True)
    assert windows() == [(0, 3, "observed"), (3, 4, "missing"), (4, 9, "observed")]


def test_weekly_bars_follow_each_other_on_mondays(writer, cycle, store):
    monday = datetime(2026, 1, 5, tzinfo=UTC)
    weeks = [
        candle(interval=Interval.W1, open_time=monday + timedelta(weeks=n), observed_at=monday + timedelta(weeks=n + 1))
        for n in (0, 1, 3)
    ]
    writer.write(cycle, [batch(*weeks)])
    store.scan()
    ((_, hole),) = store.windows(held=False)
    assert (hole.since, hole.until) == (monday + timedelta(weeks=2), monday + timedelta(weeks=3))


# --------------------------------------------------------------------------- cost


def test_sixteen_hundred_series_settle_within_the_time_of_a_blink(writer, cycle, database, rows, monkeypatch):
    series = [perp(f"C{number}") for number in range(1650)]
    writer.write(cycle, [bars(0, 3, instrument=item) for item in series])
    spent = []
    real = coverage.settle_batches

    def timed(*given, **named):
        started = time.perf_counter()
        real(*given, **named)
        spent.append(time.perf_counter() - started)

    monkeypatch.setattr(coverage, "settle_batches", timed)
    for minute in (3, 4, 5):
        for start in range(0, len(series), 64):  # as the cycle writes them
            writer.write(cycle, [bars(minute, minute + 1, instrument=item) for item in series[start : start + 64]])
    assert rows("SELECT count(*), count(DISTINCT until) FROM coverage") == [(1650, 1)]
    assert sum(spent) / 3 < 0.2, spent  # 50 ms where nothing else runs
