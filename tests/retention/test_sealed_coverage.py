"""What was sealed or deleted is no hole: nobody asks for it again, and `gaps` says where it is."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from collector.config import UniverseSettings
from collector.coverage import HELD
from collector.following import DatabaseFollower
from collector.gaps import as_json, load_gaps, render
from collector.plan import Task, plan_stage
from collector.records import Dataset, IndicatorBlock, Interval, Job
from collector.sources.base import Shape
from collector.storage.coverage import CoverageStore
from collector.storage.reader import Reader
from tests.retention.conftest import BTC, ETH, JANUARY, NOW, bars
from tests.storage.samples import listing

MINUTE = timedelta(minutes=1)
START = datetime(2026, 1, 31, 23, 30, tzinfo=UTC)


def job(instrument, since, until, interval=Interval.M1):
    return Job(
        source="okx", dataset=Dataset.CANDLES, instruments=(instrument,), interval=interval, since=since, until=until
    )


def at(text):
    return datetime.fromisoformat(f"2026-{text}:00+00:00")


@pytest.fixture
def series(stand):
    """An hour of minutes around the end of January, without a hole but one in February."""
    stand.write(listing(), dataset=Dataset.INSTRUMENTS, state="failed", error="not all of it")
    found = [*bars(31, 1440), *bars(1, 60, month=2)]
    found = [item for item in found if item.open_time >= START and item.open_time != at("02-01T00:10")]
    stand.write(*found, job=job(BTC, START, at("02-01T01:00")))
    return CoverageStore(stand.database)


def windows(store):
    return [(window.since, window.until, str(window.state)) for _, window in store.windows()]


HELD_AND_HOLE = [
    (START, at("02-01T00:10"), "observed"),
    (at("02-01T00:10"), at("02-01T00:11"), "missing"),
    (at("02-01T00:11"), at("02-01T01:00"), "observed"),
]


def seal_january(stand):
    done, _ = stand.retention(datasets={"candles": {"age": "120d", "then": "seal"}}).turn(NOW)
    assert done.months == 1


def test_a_rescan_takes_nothing_sealed_for_a_hole(stand, series):
    assert windows(series) == HELD_AND_HOLE
    seal_january(stand)
    assert series.scan(again=True) == 1
    assert windows(series) == HELD_AND_HOLE
    assert [window.since for _, window in series.due(NOW + MINUTE, 10)] == [at("02-01T00:10")]


def test_a_rescan_still_finds_rows_that_are_gone_outside_of_sealed_months(stand, series):
    seal_january(stand)
    stand.execute("DELETE FROM candles WHERE open_time = '2026-02-01 00:30+00'")
    series.scan(again=True)
    assert (at("02-01T00:30"), at("02-01T00:31"), "missing") in windows(series)


def test_a_bar_that_came_late_to_a_sealed_month_is_held_once(stand, series):
    late = bars(31, 1440)[1380:1381]  # 23:00, half an hour before the others
    seal_january(stand)
    stand.write(*late, job=job(BTC, late[0].open_time, late[0].open_time + MINUTE))
    before = windows(series)
    series.scan(again=True)
    held = [item for item in windows(series) if item[2] == "observed"]
    assert held == [item for item in before if item[2] == "observed"]


def test_a_series_whose_rows_are_all_sealed_is_not_scanned_and_stays_held(stand):
    store = CoverageStore(stand.database)
    stand.write(*bars(5, 10), job=job(BTC, at("01-05T00:00"), at("01-05T00:10")))
    seal_january(stand)
    assert store.scan(again=True) == 0
    assert store.scan() == 0
    assert windows(store) == [(at("01-05T00:00"), at("01-05T00:10"), "observed")]


def test_gaps_tells_what_is_in_files(stand, series):
    seal_january(stand)
    found = load_gaps(series, "okx:BTC", NOW)
    lines = render(found).splitlines()
    assert lines[0] == "gaps of okx:BTC: 1 windows missing (1 bars), 0 that the provider does not have"
    assert lines[2].endswith("in files: 2026-01")
    assert "in files" not in lines[4]
    told = json.loads(json.dumps(as_json(found), default=str))
    assert [item["sealed_months"] for item in told["windows"]] == [["2026-01"], [], []]


def test_the_next_cycle_asks_from_the_end_of_what_is_held_even_when_all_of_it_is_sealed(stand):
    stand.write(listing(), dataset=Dataset.INSTRUMENTS, state="failed", error="not all of it")
    stand.execute("UPDATE instruments SET followed = true")
    stand.write(*bars(5, 10), job=job(BTC, at("01-05T00:00"), at("01-05T00:10")))
    reader = Reader(stand.database)
    task = Task(
        source="okx", dataset=Dataset.CANDLES, shape=Shape.EACH, cadence="market", intervals=(Interval.M1,), history=5
    )
    follower = DatabaseFollower(UniverseSettings(), reader, stand.writer, stand.clock)
    (before,) = plan_stage([task], follower.known([task], NOW))
    seal_january(stand)
    assert stand.hot() == []
    (after,) = plan_stage([task], follower.known([task], NOW))
    assert before == after
    assert after.since == at("01-05T00:09")  # the newest bar is read once more, as ever


def test_deleted_months_are_not_wanted_any_more(stand, series):
    retention = stand.retention(datasets={"candles": {"age": "120d", "then": "delete"}}, keep_intervals=())
    older = bars(20, 5, instrument=ETH)
    stand.write(*older, job=job(ETH, at("01-20T00:00"), at("01-20T00:07")))  # two of them missing
    retention.turn(NOW)
    left = HELD_AND_HOLE[1:]
    assert windows(series) == [(at("02-01T00:00"), at("02-01T00:10"), "observed"), *left]
    series.scan(again=True)
    assert windows(series) == [(at("02-01T00:00"), at("02-01T00:10"), "observed"), *left]


def test_kept_bars_of_a_deleted_month_stay_held(stand):
    store = CoverageStore(stand.database)
    hours = bars(5, 4, interval=Interval.H1)
    stand.write(*hours, job=job(BTC, at("01-05T00:00"), at("01-05T04:00"), Interval.H1))
    stand.write(*bars(5, 4), job=job(BTC, at("01-05T00:00"), at("01-05T00:04")))
    stand.retention(datasets={"candles": {"age": "120d", "then": "delete"}}).turn(NOW)
    ((series, window),) = store.windows()
    assert series.interval is Interval.H1
    assert window.state in HELD


def test_weekly_bars_of_a_sealed_month_reach_into_the_next_one_without_a_hole(stand):
    store = CoverageStore(stand.database)
    weeks = bars(5, 6, interval=Interval.W1)  # Mondays 5 January to 9 February
    stand.write(*weeks, job=job(BTC, at("01-05T00:00"), at("02-16T00:00"), Interval.W1))
    stand.retention(datasets={"candles": {"age": "120d", "then": "seal"}}, keep_intervals=()).turn(NOW)
    assert len(stand.hot()) == 2
    store.scan(again=True)
    assert windows(store) == [(at("01-05T00:00"), at("02-16T00:00"), "observed")]


def test_indicators_of_a_dropped_month_can_be_written_again(stand):
    block = IndicatorBlock(
        instrument=BTC,
        interval=Interval.M1,
        open_times=(at("01-05T00:00"),),
        columns={"rsi_14": [50.0]},
        extra={},
        warm=(True,),
    )
    assert stand.writer.write_indicators(stand.cycle, [block]) == 1
    retention = stand.sealing("indicators")
    assert retention.turn(NOW)[0].rows == 1
    assert stand.writer.write_indicators(stand.cycle, [block]) == 1
    retention.turn(NOW)
    retention.restore("indicators", JANUARY)
    assert stand.rows("SELECT rsi_14, warm FROM indicators") == [(50.0, True)]
