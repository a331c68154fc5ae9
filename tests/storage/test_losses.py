"""What is lost for good, as the ledger tells it: by source, dataset and reason, over the cycles of a span."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from collector.records import CycleReport, CycleState, Dataset, Job, SourceReport
from collector.storage.losses import load_lost_cycles, load_lost_jobs
from tests.storage.samples import BTC, NOON, batch, perp

MINUTE = timedelta(minutes=1)
ETH = perp("ETH")


@pytest.fixture
def failing(writer):
    """Run cycles that lose jobs, five minutes apart; return their numbers."""

    def run(*lost, number=0, finish=True):
        started_at = NOON + 5 * number * MINUTE
        cycle = writer.begin_cycle("market", started_at, instance="test:1", folder="f", simulated=True)
        writer.write(cycle, [batch(job=job, state=state, error=error) for job, state, error in lost])
        if finish:
            counts = {"jobs_failed": len(lost), "jobs_ok": 1, "jobs_skipped": 0}
            report = CycleReport(
                cycle_id=cycle,
                cadence="market",
                state=CycleState.PARTIAL,
                started_at=started_at,
                finished_at=started_at + MINUTE,
                sources=(SourceReport(source="okx", **counts),),
                indicator_rows=0,
                folder="f",
            )
            writer.finish_cycle(report)
        return cycle

    return run


def job(dataset, *instruments):
    return Job(source="okx", dataset=dataset, instruments=instruments)


def test_snapshots_that_failed_are_told_by_reason_with_their_cycles(failing, database):
    book, ticker = job(Dataset.ORDER_BOOKS, BTC), job(Dataset.TICKERS)
    first = failing((book, "failed", "HTTP 500"))
    second = failing((book, "failed", "HTTP 500"), (ticker, "skipped", "the cycle's time was over"), number=1)
    found = {item.dataset: item for item in load_lost_jobs(database, NOON)}
    books = found["order_books"]
    assert (books.source, books.error, list(books.cycles)) == ("okx", "HTTP 500", [first, second])
    assert (books.first_at, books.last_at) == (NOON, NOON + 5 * MINUTE)
    assert (found["tickers"].error, list(found["tickers"].cycles)) == ("the cycle's time was over", [second])


@pytest.mark.parametrize("dataset", [Dataset.CANDLES, Dataset.FUNDING, Dataset.INSTRUMENTS, Dataset.SENTIMENT])
def test_what_is_asked_for_again_is_no_loss(failing, database, dataset):
    failing((job(dataset, BTC), "failed", "HTTP 500"))
    assert load_lost_jobs(database, NOON) == []


def test_losses_before_the_span_are_not_told(failing, database):
    failing((job(Dataset.TICKERS), "failed", "HTTP 500"))
    assert load_lost_jobs(database, NOON + MINUTE) == []
    assert len(load_lost_jobs(database, NOON)) == 1


def test_of_a_named_instrument_only_its_own_losses_are_told(failing, database):
    failing(
        (job(Dataset.ORDER_BOOKS, BTC), "failed", "HTTP 500"), (job(Dataset.ORDER_BOOKS, ETH), "failed", "HTTP 418")
    )
    assert [item.error for item in load_lost_jobs(database, NOON, "okx:ETH-USDT:perp/1m")] == ["HTTP 418"]
    assert [item.error for item in load_lost_jobs(database, NOON, "kraken")] == []


def test_a_cycle_that_still_runs_tells_its_losses_already(failing, database):
    failing((job(Dataset.TICKERS), "failed", "HTTP 500"), finish=False)
    assert len(load_lost_jobs(database, NOON)) == 1


def test_cycles_whose_process_died_are_told_the_latest_first(failing, writer, database):
    dead = [failing(number=number, finish=False) for number in (0, 1)]
    failing(number=2)
    writer.abandon_running(NOON + timedelta(hours=1))
    found = load_lost_cycles(database, NOON)
    assert [(item.cycle_id, item.cadence) for item in found] == [(dead[1], "market"), (dead[0], "market")]
    assert found[0].started_at == NOON + 5 * MINUTE
    with database.transaction() as connection:
        connection.execute(text("UPDATE cycles SET started_at = started_at - interval '1 day'"))
    assert load_lost_cycles(database, NOON) == []
