"""Sealing: what leaves the database is in a verified file, and the database plus the files are always the truth."""

import os
from datetime import timedelta
from decimal import Decimal

import pyarrow.parquet as pq
import pytest

from collector.config.retention import RetentionSettings
from collector.errors import ConfigError, SinkError
from collector.records import Dataset, Interval, Job
from collector.retention.turn import Retention
from collector.storage.cold.cold_months import ColdMonths, Event
from collector.storage.inventory import load_tables
from tests.retention.conftest import BTC, ETH, FEBRUARY, JANUARY, NOW, bars
from tests.storage.samples import candle


def january(stand):
    stand.write(*bars(5, 30), *bars(6, 20, instrument=ETH), *bars(7, 3, interval=Interval.H1))


def files(stand):
    """The names of the files that the ledger may name; not of those that were set aside."""
    aside = stand.folder / "replaced"
    return sorted(path.name for path in stand.folder.rglob("*") if path.is_file() and aside not in path.parents)


def test_a_month_past_its_age_is_in_the_file_and_no_longer_in_the_database(stand):
    january(stand)
    done, finished = stand.sealing().turn(NOW)
    assert (done.months, done.rows, finished, done.postponed) == (1, 50, True, [])
    assert files(stand) == ["candles_2026-01_g0001.parquet"]
    table = pq.read_table(next(stand.folder.rglob("*.parquet")))
    assert table.num_rows == 50
    assert set(table.column("interval").to_pylist()) == {"1m"}
    assert set(table.column("instrument").to_pylist()) == {BTC.id, ETH.id}
    assert set(table.column("close").to_pylist()) == {Decimal(100)}
    assert [row[1] for row in stand.hot()] == ["1h"] * 3  # kept for the analytics
    assert [row[2:] for row in stand.cold()] == [("dropped", 1, 50)]


def test_a_second_turn_changes_nothing(stand):
    january(stand)
    stand.sealing().turn(NOW)
    before = stand.rows("SELECT * FROM cold_months"), files(stand), stand.hot()
    done, _ = stand.sealing().turn(NOW)
    assert (done.months, done.rows) == (0, 0)
    assert (stand.rows("SELECT * FROM cold_months"), files(stand), stand.hot()) == before


def test_months_that_are_not_old_enough_and_datasets_that_are_not_named_stay(stand):
    january(stand)
    stand.write(*bars(1, 5, month=4))
    done, _ = stand.sealing("tickers").turn(NOW)
    assert done.months == 0
    done, _ = stand.retention(datasets={"candles": {"age": "75d", "then": "seal"}}).turn(NOW)
    assert done.months == 1
    assert len(stand.hot("open_time >= '2026-04-01'")) == 5


def test_without_bars_to_keep_the_partition_itself_goes(stand):
    january(stand)
    stand.sealing(keep_intervals=()).turn(NOW)
    assert stand.hot() == []
    assert stand.rows("SELECT to_regclass('candles_2026_01')::text") == [(None,)]


def test_a_restored_month_is_exactly_what_it_was_and_stays_until_it_is_sealed_by_hand(stand):
    january(stand)
    truth = stand.rows("SELECT * FROM candles ORDER BY instrument_id, interval, open_time")
    retention = stand.sealing()
    retention.turn(NOW)
    assert retention.restore("candles", JANUARY) == 50
    assert stand.rows("SELECT * FROM candles ORDER BY instrument_id, interval, open_time") == truth
    assert files(stand) == []
    done, _ = retention.turn(NOW)
    assert done.months == 0
    assert len(stand.hot()) == 53
    assert retention.seal("candles", JANUARY).rows == 50
    assert files(stand) == ["candles_2026-01_g0002.parquet"]
    assert len(stand.hot()) == 3


def test_rows_that_come_late_join_the_file_and_the_newer_row_wins(stand):
    january(stand)
    retention = stand.sealing()
    retention.turn(NOW)
    # One bar that is in the file already, with another close, and one that is new.
    stand.write(*bars(5, 1, high=Decimal(200), close=Decimal(150)), *bars(8, 1))
    assert len(stand.hot("interval = '1m'")) == 2
    done, _ = retention.turn(NOW)
    assert (done.months, done.rows) == (1, 2)
    assert [row[2:] for row in stand.cold()] == [("dropped", 2, 51)]
    assert stand.rows("SELECT replaced FROM cold_months") == [(1,)]
    assert files(stand) == ["candles_2026-01_g0002.parquet"]
    retention.restore("candles", JANUARY)
    assert stand.rows("SELECT count(*) FROM candles WHERE close = 150") == [(1,)]
    assert len(stand.hot()) == 54


def test_a_row_that_comes_between_the_copy_and_the_drop_keeps_the_month_in_the_database(stand, monkeypatch):
    january(stand)
    retention = stand.sealing()
    sealer, real = retention.sealer, type(retention.sealer)._leave
    late = iter([bars(9, 1), bars(9, 2)])

    def late_row(self, month):
        for rows in late:
            stand.write(*rows)
            break
        return real(self, month)

    monkeypatch.setattr(type(sealer), "_leave", late_row)
    done, _ = retention.turn(NOW)
    assert (done.months, done.rows, done.postponed) == (1, 52, [])
    assert [row[2:] for row in stand.cold()] == [("dropped", 3, 52)]
    assert files(stand) == ["candles_2026-01_g0003.parquet"]


def test_a_damaged_file_is_never_the_reason_to_drop_rows(stand, monkeypatch):
    january(stand)
    retention = stand.sealing()
    real = type(retention.sealer)._leave

    def damaged(self, month):
        path = self.path_of(month)
        path.write_bytes(path.read_bytes()[:-1] + b"x")
        return real(self, month)

    monkeypatch.setattr(type(retention.sealer), "_leave", damaged)
    done, _ = retention.turn(NOW)
    assert done.months == 0
    assert "not the file that was verified" in done.postponed[0]
    assert len(stand.hot()) == 53


def test_a_damaged_file_is_found_by_verify_and_never_restored(stand):
    january(stand)
    retention = stand.sealing()
    retention.turn(NOW)
    assert [wrong for _, wrong in retention.verify()] == [""]
    path = next(stand.folder.rglob("*.parquet"))
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(bytes(content))
    assert [bool(wrong) for _, wrong in retention.verify()] == [True]
    with pytest.raises(SinkError, match="not the file that was verified"):
        retention.restore("candles", JANUARY)


def test_what_was_never_sealed_cannot_be_restored(stand):
    with pytest.raises(ConfigError, match="candles 2026-02: there is no sealed file"):
        stand.sealing().restore("candles", FEBRUARY)


def test_a_plan_counts_and_changes_nothing(stand):
    january(stand)
    (step,) = stand.sealing().plan(NOW)
    assert (step.what, step.dataset, step.month, step.rows) == ("seal", "candles", JANUARY, 50)
    assert step.size > 0
    assert len(stand.hot()) == 53
    assert stand.cold() == []


def test_deleted_months_are_gone_and_said_so(stand):
    january(stand)
    retention = stand.retention(datasets={"candles": {"age": "60d", "then": "delete"}})
    done, _ = retention.turn(NOW)
    assert (done.months, done.rows) == (1, 50)
    assert files(stand) == []
    assert [row[2:] for row in stand.cold()] == [("deleted", 0, 0)]
    assert [row[1] for row in stand.hot()] == ["1h"] * 3
    assert retention.turn(NOW)[0].months == 0


def test_the_writer_makes_a_dropped_month_again_without_being_told(stand):
    january(stand)
    stand.sealing(keep_intervals=()).turn(NOW)
    (result,) = stand.write(candle(), *bars(5, 2))
    assert result.rejects == ()
    assert len(stand.hot()) == 3


def test_a_month_that_a_sink_has_not_sent_waits(stand):
    january(stand)
    settings = RetentionSettings(datasets={"candles": {"age": "60d", "then": "seal"}})
    held = {JANUARY: "bigquery has not sent it"}
    retention = Retention(
        settings, stand.folder, stand.database, stand.clock, held=lambda _dataset, month: held.get(month, "")
    )
    done, _ = retention.turn(NOW)
    assert (done.months, done.postponed) == (0, ["seal candles 2026-01: bigquery has not sent it"])
    held.clear()
    assert retention.turn(NOW)[0].months == 1


def test_status_counts_what_is_in_the_database(stand):
    since = bars(5, 1)[0].open_time
    job = Job(
        source="okx",
        dataset=Dataset.CANDLES,
        instruments=(BTC,),
        interval=Interval.M1,
        since=since,
        until=since + timedelta(minutes=30),
    )
    stand.write(*bars(5, 30), job=job)
    stand.sealing().turn(NOW)
    with stand.database.reading() as connection:
        (candles,) = [table for table in load_tables(connection) if table.table == "candles"]
    assert candles.rows == 0


def test_a_month_that_is_not_over_is_not_sealed(stand):
    with pytest.raises(ConfigError, match="2026-06 is not over"):
        stand.sealing().seal("candles", (2026, 6))


def test_a_month_without_rows_to_leave_is_refused_and_leaves_no_trace(stand):
    stand.write(*bars(7, 3, interval=Interval.H1))  # kept in the database
    for month in (JANUARY, FEBRUARY):
        with pytest.raises(SinkError, match="there is nothing to seal"):
            stand.sealing().seal("candles", month)
    assert stand.cold() == []
    assert len(stand.hot()) == 3


def test_a_trace_of_a_month_without_rows_goes_at_the_next_turn_and_that_of_a_copy_under_way_stays(stand):
    january(stand)
    months = ColdMonths(stand.database)
    for month in (JANUARY, FEBRUARY):
        months.move("candles", month, Event.BEGUN)  # as a process does that is killed right after it
    stand.sealing("tickers").turn(NOW)
    assert [(row[1].month, row[2]) for row in stand.cold()] == [(1, "sealing")]


def test_a_file_that_is_not_needed_any_more_is_there_for_a_restored_backup_and_goes_by_age(stand):
    january(stand)
    retention = stand.sealing()
    retention.turn(NOW)
    then = stand.rows("SELECT * FROM cold_months")
    (name,) = files(stand)
    retention.restore("candles", JANUARY)
    assert files(stand) == []
    stand.execute("DELETE FROM cold_months")  # what a restored backup says: the month is in its file
    columns = "dataset, month, state, generation, file, rows, size, sha256, fingerprint, hot_rows, hot_fingerprint, "
    columns += "replaced, stale, updated_at"
    stand.execute(
        f"INSERT INTO cold_months ({columns}) "
        "VALUES ('candles', '2026-01-01+00', 'dropped', 1, :file, 1, 1, '', '', 0, '', 0, '{}', now())",
        file=f"candles/2026-01/{name}",
    )
    assert retention.without_file() == []
    assert files(stand) == [name]
    assert len(then) == 1
    (stand.folder / "candles" / "2026-01" / name).unlink()
    assert [month.label for month in retention.without_file()] == ["candles 2026-01"]


def test_what_was_set_aside_goes_after_half_a_year(stand):
    january(stand)
    retention = stand.sealing()
    retention.turn(NOW)
    retention.restore("candles", JANUARY)
    (aside,) = (stand.folder / "replaced").rglob("*.parquet")
    for days, there in ((199, True), (201, False)):
        moment = NOW.timestamp() - days * 86_400
        if aside.exists():
            os.utime(aside, (moment, moment))
        retention.turn(NOW)
        assert aside.exists() is there
