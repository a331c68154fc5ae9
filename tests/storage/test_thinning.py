"""Thinning keeps the last row in each cell by instrument and source, and nothing else is touched."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from collector.records import Dataset
from collector.storage.cold.thinning import Thinning
from tests.storage.samples import BTC, batch, book, perp, ticker

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
START = datetime(2026, 1, 31, 22, tzinfo=UTC)
ETH = perp("ETH")


def at(minutes, seconds=0):
    return START + timedelta(minutes=minutes, seconds=seconds)


@pytest.fixture
def thinning(database):
    return Thinning(database)


@pytest.fixture
def thin(thinning):
    def run(before, grid=MINUTE, dataset="tickers"):
        return sum(sum(thinning.thin(plan)) for plan in thinning.due(dataset, grid, before))

    return run


@pytest.fixture
def moments(rows):
    def found(instrument=BTC, table="tickers"):
        query = (
            f"SELECT observed_at FROM {table} JOIN instruments USING (instrument_id) WHERE instrument = :i ORDER BY 1"
        )
        return [row[0] for row in rows(query, i=instrument.id)]

    return found


def store(writer, cycle, *moments, instrument=BTC):
    writer.write(cycle, [batch(*(ticker(instrument, at=moment) for moment in moments), dataset=Dataset.TICKERS)])


def test_the_last_row_in_each_cell_stays(writer, cycle, thin, moments):
    store(writer, cycle, at(0), at(0, 20), at(0, 59), at(1), at(2, 30), at(2, 31))
    assert thin(at(10)) == 3
    assert moments() == [at(0, 59), at(1), at(2, 31)]


def test_each_instrument_has_cells_of_its_own(writer, cycle, thin, moments):
    store(writer, cycle, at(0, 1), at(0, 2))
    store(writer, cycle, at(0, 3), at(0, 4), instrument=ETH)
    assert thin(at(10)) == 2
    assert (moments(), moments(ETH)) == ([at(0, 2)], [at(0, 4)])


def test_books_are_thinned_alike_and_keep_their_levels(writer, cycle, thin, moments, rows):
    books = [book(observed_at=at(0, second)) for second in (5, 10, 15)]
    writer.write(cycle, [batch(*books, dataset=Dataset.ORDER_BOOKS)])
    assert thin(at(10), dataset="order_books") == 2
    assert moments(table="order_books") == [at(0, 15)]
    assert rows("SELECT best_bid, bid_prices FROM order_books") == [(99, [99])]


def test_only_whole_cells_before_the_age_are_thinned(writer, cycle, thin, moments):
    store(writer, cycle, at(0, 1), at(0, 2), at(1, 1), at(1, 2))
    assert thin(at(1, 30)) == 1
    assert moments() == [at(0, 2), at(1, 1), at(1, 2)]


def test_thinning_again_changes_nothing(writer, cycle, thin, thinning, rows):
    store(writer, cycle, at(0, 1), at(0, 2))
    thin(at(10))
    before = rows("SELECT * FROM thinned_months")
    assert thinning.due("tickers", MINUTE, at(10)) == []
    assert thin(at(10)) == 0
    assert rows("SELECT * FROM thinned_months") == before


def test_it_goes_on_where_it_was_killed(writer, cycle, thinning, moments):
    store(writer, cycle, *(at(60 * hour, second) for hour in range(-24, 0) for second in (1, 2)))
    (plan,) = thinning.due("tickers", MINUTE, at(0))
    batches = thinning.thin(plan)
    assert next(batches) == 0  # six hours are a batch; the month has rows on its last day alone
    for removed in batches:
        if removed:
            batches.close()
            break
    assert len(moments()) == 48 - removed
    (left,) = thinning.due("tickers", MINUTE, at(0))
    assert left.since > plan.since
    assert sum(thinning.thin(left)) == 24 - removed
    assert len(moments()) == 24


def test_a_coarser_grid_keeps_the_last_of_what_a_finer_one_left(writer, cycle, thin, thinning, moments):
    store(writer, cycle, at(0, 1), at(0, 2), at(30, 1), at(30, 2), at(60, 1))
    assert thin(at(200)) == 2
    assert thin(at(200), HOUR) == 1
    assert moments() == [at(30, 2), at(60, 1)]
    assert [(item.grid, item.removed) for item in thinning.load()] == [(MINUTE, 2), (HOUR, 1)]


def test_cells_of_two_months_are_thinned_in_their_own_partitions(writer, cycle, thin, thinning, moments):
    store(writer, cycle, at(119, 58), at(119, 59), at(120), at(120, 1))
    assert thin(at(200)) == 2
    assert moments() == [at(119, 59), at(120, 1)]
    assert [(item.month, item.until) for item in thinning.load()] == [((2026, 1), at(120)), ((2026, 2), at(200))]


def test_a_count_removes_nothing(writer, cycle, thinning, moments):
    store(writer, cycle, at(0, 1), at(0, 2), at(0, 3))
    (plan,) = thinning.due("tickers", MINUTE, at(10))
    assert thinning.count(plan) == 2
    assert len(moments()) == 3


def test_months_that_left_or_came_back_by_hand_are_left_alone(writer, cycle, thinning, database):
    store(writer, cycle, at(0, 1), at(0, 2))
    with database.transaction() as connection:
        columns = "dataset, month, state, generation, file, rows, size, sha256, fingerprint, hot_rows, hot_fingerprint"
        values = "'tickers', '2026-01-01', 'restored', 1, '', 0, 0, '', '', 0, ''"
        connection.execute(
            text(
                f"INSERT INTO cold_months ({columns}, replaced, stale, updated_at) VALUES ({values}, 0, '{{}}', now())"
            )
        )
    assert thinning.due("tickers", MINUTE, at(10)) == []


def test_other_tables_are_never_thinned(thinning):
    with pytest.raises(ValueError, match="candles is not thinned"):
        thinning.due("candles", MINUTE, at(0))
