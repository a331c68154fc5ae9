"""The vitals: each figure against rows written by hand, and what a big ledger costs."""

import os
from datetime import timedelta
from decimal import Decimal

import pytest

from collector.clock import ManualClock
from collector.records import Dataset, Suspect
from collector.storage.database import Database
from collector.storage.providers import ProviderStore
from collector.storage.suspects import Suspects
from collector.storage.vitals import VitalsReader, memory_of
from tests.storage.ledger_rows import Ledger, part
from tests.storage.samples import BTC, NOON

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


@pytest.fixture
def ledger(database):
    return Ledger(database)


@pytest.fixture
def look(database, tmp_path):
    reader = VitalsReader(
        database, sources=["okx", "kraken"], cadences=["market", "daily"], data_folder=tmp_path, recent=HOUR
    )
    return lambda at=NOON: reader.read(at)


def of(vitals, source="okx"):
    return next(item for item in vitals.sources if item.source == source)


def test_an_empty_database_has_vitals_without_an_age(look):
    found = look()
    assert [item.source for item in found.sources] == ["okx", "kraken"]
    assert (found.first_cycle_at, found.freshness, found.backup_at, found.collecting) == (None, {}, None, False)
    assert [item.last_started_at for item in found.cadences] == [None, None]
    assert of(found).today.jobs_ok == 0
    assert found.disk.free_bytes > 0


def test_work_is_summed_since_midnight_and_over_the_last_hour(look, ledger):
    ledger.cycle(NOON.replace(hour=0) - MINUTE, part(jobs_ok=1000))  # yesterday
    ledger.cycle(NOON - 3 * HOUR, part(jobs_ok=7, rows={"tickers": 5, "candles": 2}, rejects=3))
    ledger.cycle(NOON - 5 * MINUTE, part(jobs_ok=4, jobs_failed=2, rows={"candles": 1}), part("kraken", jobs_ok=9))
    found = look()
    assert (of(found).today.jobs_ok, of(found).recent.jobs_ok) == (11, 4)
    assert (of(found).today.jobs_failed, of(found).today.rejects, of(found).today.rows) == (2, 3, 8)
    assert (of(found).today.requests, of(found).today.waited_s, of(found).today.busy_s) == (4, 1.0, 3.0)
    assert of(found).rows_today == {"tickers": 5, "candles": 3}
    assert of(found, "kraken").recent.jobs_ok == 9


def test_a_cycle_that_began_yesterday_and_ended_today_counts_today(look, ledger):
    ledger.cycle(NOON.replace(hour=0) + MINUTE, part(jobs_ok=5), took=2 * HOUR)
    assert of(look()).today.jobs_ok == 5


def test_just_after_midnight_the_last_hour_reaches_into_yesterday(look, ledger):
    midnight = NOON.replace(hour=0)
    ledger.cycle(midnight - 10 * MINUTE, part(jobs_ok=5))
    found = look(midnight + MINUTE)
    assert (of(found).today.jobs_ok, of(found).recent.jobs_ok) == (0, 5)


def test_cadences_tell_their_last_and_their_running_cycle(look, ledger):
    ledger.cycle(NOON - HOUR, part(), cadence="daily", state="partial")
    ledger.cycle(NOON - 10 * MINUTE, part())
    ledger.cycle(None, took=3 * MINUTE, state="running")
    market, daily = look().cadences
    assert market.running_since == NOON - 3 * MINUTE
    assert (market.last_started_at, market.last_state) == (NOON - 11 * MINUTE, "ok")
    assert (daily.last_state, daily.ended_today, daily.running_since) == ("partial", {"partial": 1}, None)


def test_a_source_that_gave_nothing_in_its_newest_cycle_is_failing(look, ledger):
    ledger.cycle(NOON - 20 * MINUTE, part())
    ledger.cycle(NOON - 10 * MINUTE, part(jobs_ok=0, jobs_failed=3, errors=["no answer in 10 s"]))
    assert of(look()).failing == "no answer in 10 s"
    assert of(look(), "kraken").failing == ""


def test_freshness_is_the_end_of_the_newest_good_job(look, ledger):
    cycle = ledger.cycle(NOON - MINUTE, part())
    ledger.job(cycle, NOON - 30 * MINUTE)
    ledger.job(cycle, NOON - 20 * MINUTE)
    ledger.job(cycle, NOON - MINUTE, state="failed")
    assert look().freshness == {("okx", Dataset.TICKERS): NOON - 20 * MINUTE}


def test_job_times_are_the_quantiles_of_good_jobs_of_the_last_hour(look, ledger):
    cycle = ledger.cycle(NOON - MINUTE, part())
    for took in (1.0, 2.0, 3.0):
        ledger.job(cycle, NOON - MINUTE, took=took)
    ledger.job(cycle, NOON - 2 * HOUR, took=100.0)
    ledger.job(cycle, NOON - MINUTE, took=100.0, state="failed")
    assert of(look()).job_seconds == pytest.approx({"0.5": 2.0, "0.95": 2.9})


def test_bans_and_refusals_of_providers_are_told(look, database):
    ProviderStore(database).save_state("okx", NOON + HOUR, "way too many requests", banned=True)
    item = of(look())
    assert (item.banned, item.denied, item.paused_until, item.reason) == (
        True,
        False,
        NOON + HOUR,
        "way too many requests",
    )


def test_coverage_counts_what_is_missing_of_the_last_day_apart(look, ledger):
    number = ledger.one(
        """
        INSERT INTO instruments (instrument, venue, base, quote, kind, venue_symbol, contract_size, first_seen_at,
            last_seen_at, followed) VALUES ('okx:BTC-USDT:perp', 'okx', 'BTC', 'USDT', 'perp', 'B', 1, :at, :at, true)
        RETURNING instrument_id
        """,
        at=NOON,
    )
    for since, until, state in (
        (NOON - timedelta(days=3), NOON - timedelta(days=2), "missing"),
        (NOON - timedelta(days=2), NOON - 6 * HOUR, "observed"),
        (NOON - 6 * HOUR, NOON - 4 * HOUR, "pending"),
        (NOON - 4 * HOUR, NOON - 3 * HOUR, "provider_has_none"),
        (NOON - 3 * HOUR, NOON, "filled"),
    ):
        ledger.one(
            """
            INSERT INTO coverage (instrument_id, dataset, interval, since, until, state, source, reason, updated_at)
            VALUES (:number, 'candles', '1m', :since, :until, :state, 'okx', '', :until)
            """,
            number=number,
            since=since,
            until=until,
            state=state,
        )
    (item,) = look().coverage
    assert (item.venue, item.dataset, item.interval, item.series, item.holes) == ("okx", "candles", "1m", 1, 2)
    assert (item.held_s / 3600, item.missing_s / 3600, item.none_s / 3600) == (42 + 3, 24 + 2, 1)
    assert (item.recent_held_s / 3600, item.recent_missing_s / 3600) == (18 + 3, 2)


def test_doubts_and_rejects_of_the_last_hour_are_counted(database, ledger, tmp_path):
    noted = Database(database.url.render_as_string(hide_password=False), clock=ManualClock(NOON - MINUTE))
    cycle = ledger.cycle(NOON - MINUTE, part())
    suspect = Suspect(
        dataset=Dataset.TICKERS,
        subject=BTC.id,
        source="okx",
        observed_at=NOON,
        kind="divergence",
        value=Decimal(150),
        reference=Decimal(100),
        reference_source="kraken",
        detail="too far",
    )
    Suspects(noted).write(cycle, [suspect])
    noted.close()
    job = ledger.job(cycle, NOON - MINUTE)
    for number, at in enumerate((NOON - MINUTE, NOON - MINUTE, NOON - 2 * HOUR)):
        ledger.one(
            """
            INSERT INTO rejects (job_id, seq, at, source, dataset, reason, detail, row)
            VALUES (:job, :seq, :at, 'okx', 'tickers', 'negative', '', '')
            """,
            job=job,
            seq=number,
            at=at,
        )
    found = VitalsReader(database, sources=["okx"], cadences=[], data_folder=tmp_path).read(NOON)
    assert [(item.source, item.dataset, item.kind, item.rows, item.subjects) for item in found.doubts] == [
        ("okx", "tickers", "divergence", 1, 1)
    ]
    assert found.rejects == {("okx", "negative"): 2}


def test_a_held_lock_means_that_somebody_collects_and_its_memory_is_told(look, database):
    assert look().collecting is False
    with database.writer_lock():
        found = look()
    assert found.collecting
    assert found.memory["collector"] == pytest.approx(memory_of(os.getpid()), rel=0.2)


def test_the_memory_of_a_process_that_is_gone_is_not_known():
    assert memory_of(2**22 + 1) is None


def test_a_sink_is_as_far_behind_as_the_worst_of_its_tables(look, ledger):
    for target, at in (("a", NOON - HOUR), ("b", NOON - MINUTE), ("c", None)):
        ledger.one(
            """
            INSERT INTO sink_watermarks (sink, target, source, content, server, recent_at, done, error, updated_at)
            VALUES ('bigquery', :target, 'okx', 'raw', '', :at, '{}', '', now()) RETURNING 1
            """,
            target=target,
            at=at,
        )
    (sink,) = look().sinks
    assert (sink.sink, sink.source, sink.lag_s) == ("bigquery", "okx", 3600.0)
