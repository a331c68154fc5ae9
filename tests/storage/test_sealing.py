"""The states of months that leave, one worker at a time, exact values, and every dataset that can be sealed."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from sqlalchemy import text

from collector.config.retention import KEPT_BY_AGE, RetentionSettings
from collector.errors import IllegalTransition, LockHeld, StorageRejected
from collector.records import Dataset
from collector.retention.turn import Retention
from collector.storage import timeseries
from collector.storage.cold.cold_months import ColdMonths, Event, State, moved
from collector.storage.cold.sealing import kept_sql
from collector.storage.database import Database
from collector.storage.outgoing.datasets import EXPORTABLE
from tests.storage.samples import BTC, batch, book, candle, everything

JANUARY = (2026, 1)
NOW = datetime(2026, 6, 15, tzinfo=UTC)


@pytest.fixture
def months(database):
    return ColdMonths(database)


@pytest.fixture
def retention(database, tmp_path):
    settings = RetentionSettings(
        datasets={name: {"age": "60d", "then": "seal"} for name in KEPT_BY_AGE}, keep_intervals=()
    )
    return Retention(settings, tmp_path, database, database.clock)


# --------------------------------------------------------------------------- states


def test_a_month_goes_from_the_database_to_a_file_and_back():
    state = None
    path = [Event.BEGUN, Event.VERIFIED, Event.CHANGED, Event.VERIFIED, Event.LEFT, Event.CALLED_BACK, Event.BACK]
    for event in path:
        state = moved(state, event)
    assert state is State.RESTORED
    assert moved(state, Event.BEGUN) is State.SEALING


@pytest.mark.parametrize(
    ("state", "event"),
    [
        (None, Event.LEFT),
        (None, Event.VERIFIED),
        (State.SEALING, Event.LEFT),  # never dropped before it was verified
        (State.DROPPED, Event.LEFT),
        (State.DROPPED, Event.DELETED),  # a file is never forgotten
        (State.RESTORING, Event.BEGUN),
        (State.RESTORED, Event.CALLED_BACK),
        (State.DELETED, Event.CALLED_BACK),
    ],
)
def test_there_is_no_other_way(state, event):
    with pytest.raises(IllegalTransition):
        moved(state, event)


def test_a_stored_move_names_the_state_that_it_leaves(months):
    months.move("candles", JANUARY, Event.BEGUN)
    with pytest.raises(IllegalTransition, match="sealing cannot be left"):
        months.move("candles", JANUARY, Event.LEFT)
    found = months.move("candles", JANUARY, Event.VERIFIED, file="a.parquet", rows=3)
    assert (found.state, found.file, found.rows, found.label) == (State.SEALED, "a.parquet", 3, "candles 2026-01")
    assert months.find("candles", JANUARY) == found
    assert months.find("candles", (2026, 2)) is None


def test_only_one_process_works_at_a_time_and_the_next_may_follow(months, database):
    other = ColdMonths(Database(database.url.render_as_string(hide_password=False), clock=database.clock))
    with months.lock(), pytest.raises(LockHeld), other.lock():
        pass
    with other.lock():
        pass
    other._database.close()


# --------------------------------------------------------------------------- values


def test_every_dataset_that_can_be_sealed_returns_value_by_value(writer, cycle, database, rows, retention):
    exact = book(bids=(("0.000000012300", "1E+3"),), asks=())
    writer.write(cycle, [batch(*everything()), batch(exact, dataset=Dataset.ORDER_BOOKS, source="binance_futures")])
    numbers = "0.1::float8 + 0.2, NULL, 1e-300, NULL, NULL, NULL, 3, now()"
    values = f"instrument_id, 'price', '20', '2026-01-31 12:00+00', {numbers}"
    with database.transaction() as connection:
        for table in ("derived_metrics", "indicators"):
            timeseries.ensure_partitions(connection, table, [JANUARY])
        connection.execute(text(f"INSERT INTO derived_metrics SELECT {values} FROM instruments"))
        columns = "instrument_id, interval, open_time, rsi_14, extra, warm, computed_at, cycle_id"
        row = "instrument_id, '1m', '2026-01-31 12:00+00', 51.5, '{\"CCI(14)\": -12.5}', true, now(), 1"
        connection.execute(text(f"INSERT INTO indicators ({columns}) SELECT {row} FROM instruments"))
    before = {name: rows(f"SELECT * FROM {name} ORDER BY 1, 2, 3, 4") for name in KEPT_BY_AGE}
    assert all(before.values())
    done, _ = retention.turn(NOW)
    assert (done.months, done.postponed) == (len(KEPT_BY_AGE), [])
    assert [name for name in KEPT_BY_AGE if rows(f"SELECT * FROM {name}")] == []
    for name in KEPT_BY_AGE:
        retention.restore(name, JANUARY)
    assert {name: rows(f"SELECT * FROM {name} ORDER BY 1, 2, 3, 4") for name in KEPT_BY_AGE} == before


def test_a_number_with_more_digits_than_a_decimal_has_is_kept_to_the_last_one(writer, cycle, rows, retention):
    price = Decimal("123456789012345678901234567890.123456789012345678901234567")
    writer.write(cycle, [batch(candle(open=price, high=price, low=price, close=price))])
    retention.turn(NOW)
    assert rows("SELECT count(*) FROM candles") == [(0,)]
    retention.restore("candles", JANUARY)
    assert rows("SELECT close FROM candles") == [(price,)]


def test_a_file_that_speaks_of_an_unknown_instrument_changes_nothing(writer, cycle, database, rows, retention, months):
    writer.write(cycle, [batch(candle())])
    retention.turn(NOW)
    with database.transaction() as connection:
        connection.execute(text("UPDATE instruments SET instrument = 'okx:OLD-USDT:perp'"))
    with pytest.raises(StorageRejected, match="1 rows, 0 of known instruments"):
        retention.restore("candles", JANUARY)
    assert rows("SELECT count(*) FROM candles") == [(0,)]
    assert months.find("candles", JANUARY).state is State.RESTORING
    with database.transaction() as connection:
        connection.execute(text("UPDATE instruments SET instrument = :name"), {"name": BTC.id})
    retention.turn(NOW)  # finishes what was asked for
    assert rows("SELECT count(*) FROM candles") == [(1,)]


def test_a_row_that_is_there_already_stays_when_a_file_returns(writer, cycle, rows, retention):
    writer.write(cycle, [batch(candle())])
    retention.turn(NOW)
    writer.write(cycle, [batch(candle(close=Decimal("99.5")))])
    retention.restore("candles", JANUARY)
    assert rows("SELECT close FROM candles") == [(Decimal("99.5"),)]


def test_only_bars_have_intervals_that_are_kept():
    assert kept_sql("tickers", ["1d"]) == ""
    assert kept_sql("candles", []) == ""
    assert kept_sql("indicators", ["1d", "1w"]) == "interval IN ('1d', '1w')"


def test_what_can_be_sealed_is_what_is_stored_by_month():
    assert set(KEPT_BY_AGE) == set(timeseries.PARTITIONED) - {"raw_payloads"}
    assert set(KEPT_BY_AGE) <= set(EXPORTABLE)
