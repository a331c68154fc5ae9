"""The ledger of cycles: its states, and what providers asked of us."""

from datetime import timedelta

import pytest

from collector.errors import IllegalTransition
from collector.records import CycleReport, CycleState, Dataset, SourceReport
from tests.storage import samples
from tests.storage.samples import NOON

SOURCES = (
    SourceReport(source="okx", jobs_ok=3, jobs_failed=1, rows={"candles": 5, "tickers": 2}, rejects=1, errors=("x",)),
    SourceReport(source="coingecko", jobs_ok=1, jobs_skipped=4, rows={"market_snapshots": 250}),
)


def report(cycle_id, state=CycleState.PARTIAL, **changes):
    values = {
        "cycle_id": cycle_id,
        "cadence": "market",
        "state": state,
        "started_at": NOON - timedelta(minutes=1),
        "finished_at": NOON,
        "sources": SOURCES,
        "indicator_rows": 9,
        "folder": "cycle_x",
    }
    return CycleReport(**{**values, **changes})


def test_a_cycle_begins_as_running_and_ends_with_its_report(writer, cycle, rows):
    assert rows("SELECT state, finished_at, report, simulated FROM cycles") == [("running", None, None, True)]
    writer.finish_cycle(report(cycle))
    assert rows(
        "SELECT state, finished_at, folder, rows_written, indicator_rows, jobs_ok, jobs_failed, jobs_skipped, rejects "
        "FROM cycles"
    ) == [("partial", NOON, "cycle_x", 257, 9, 4, 1, 4, 1)]
    assert rows("SELECT report->'sources'->0->'rows'->>'candles', report->>'finished_at' FROM cycles") == [
        ("5", "2026-01-31T12:00:00+00:00")
    ]


def test_finishing_once_more_with_the_same_report_is_the_same(writer, cycle, rows):
    writer.finish_cycle(report(cycle))
    writer.finish_cycle(report(cycle))  # the answer to the first may have been lost
    assert rows("SELECT state FROM cycles") == [("partial",)]


@pytest.mark.parametrize("state", [CycleState.OK, CycleState.FAILED])
def test_a_finished_cycle_cannot_end_otherwise(writer, cycle, state):
    writer.finish_cycle(report(cycle))
    with pytest.raises(IllegalTransition, match="is partial, not running"):
        writer.finish_cycle(report(cycle, state))
    with pytest.raises(IllegalTransition):
        writer.finish_cycle(report(cycle, finished_at=NOON + timedelta(seconds=1)))


@pytest.mark.parametrize("state", [CycleState.RUNNING, CycleState.ABANDONED])
def test_a_cycle_does_not_finish_as_running_or_abandoned(writer, cycle, state):
    with pytest.raises(IllegalTransition):
        writer.finish_cycle(report(cycle, state))


def test_an_unknown_cycle_cannot_finish(writer):
    with pytest.raises(IllegalTransition, match="cycle 99 is unknown"):
        writer.finish_cycle(report(99))


def test_running_cycles_of_dead_processes_are_abandoned_and_others_are_not(writer, cycle, rows):
    done = writer.begin_cycle("market", NOON, instance="a:2", folder="g", simulated=False)
    writer.finish_cycle(report(done, CycleState.OK))
    assert writer.abandon_running(NOON) == [cycle]
    assert writer.abandon_running(NOON) == []
    assert rows("SELECT cycle_id, state FROM cycles ORDER BY 1") == [(cycle, "abandoned"), (done, "ok")]
    with pytest.raises(IllegalTransition, match="is abandoned"):
        writer.finish_cycle(report(cycle))


def test_an_abandoned_cycle_tells_what_it_did_until_its_process_died(writer, cycle, rows):
    writer.write(cycle, [samples.batch(samples.candle(0), samples.candle(1))])
    writer.write(cycle, [samples.batch(state="failed", error="HTTP 500", dataset=Dataset.TICKERS)])
    writer.abandon_running(NOON)
    told = "SELECT state, rows_written, jobs_ok, jobs_failed, jobs_skipped, rejects FROM cycles"
    assert rows(told) == [("abandoned", 2, 1, 1, 0, 0)]


def test_a_clock_that_went_back_does_not_stop_the_abandoning(writer, cycle, rows):
    writer.abandon_running(NOON - timedelta(days=1))
    assert rows("SELECT finished_at = started_at FROM cycles") == [(True,)]
