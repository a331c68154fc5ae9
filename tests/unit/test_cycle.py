"""One cycle from plan to report: order, containment of failures, what is reported; on a real database."""

import json
import threading
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from collector.errors import PayloadError, RateLimited, StorageUnavailable, VenueUnreachable
from collector.records import CycleState, Dataset
from collector.sources import SOURCES
from tests.unit.cycle_rig import Everything, Rig, Stand, bars, frozen_market, only, part_of

VENUES = ("okx", "binance_futures", "binance_spot")
DAILY_TOO = {"sources": {name: {"datasets": {"candles": {"intervals": ["1m", "1d"]}}} for name in VENUES}}


@pytest.fixture
def simulator(clock):
    with frozen_market(clock) as running:
        yield running


def stand_rig(database, clock, folder, *stands, **more):
    follower = Everything(stands, clock)
    return Rig(database, clock, folder, stands=stands, follower=follower, **more)


def test_one_cycle_stores_every_dataset_and_says_so_three_times_alike(simulator, database, clock, tmp_path):
    with Rig(database, clock, tmp_path, DAILY_TOO, simulator=simulator, indicators=True) as rig:
        report = rig.run()
        stored = dict(rig.rows("SELECT cadence, state FROM cycles"))
        file = rig.report_file(report)
        (in_database,) = rig.rows("SELECT report FROM cycles")[0]
        counts = {
            table: rig.rows(f"SELECT count(*) FROM {table}")[0][0]
            for table in ("market_snapshots", "tickers", "order_books", "candles", "indicators", "open_interest")
        }
        files = sorted(path.name for path in (tmp_path / report.folder).iterdir())
        latest = (tmp_path / "latest").readlink().name
    assert report.state is CycleState.OK
    assert stored == {"market": "ok"}
    assert file == in_database
    assert file["state"] == "ok"
    assert file["cycle_id"] == report.cycle_id
    assert {part["source"] for part in file["sources"]} == set(SOURCES) - {"coincap"}  # it needs a key
    assert all(counts.values())
    # 3 coins (the fourth asset is a stablecoin) at 3 venues, 20 bars of each, and indicators for each 1m bar
    assert counts["order_books"] == 9
    assert counts["candles"] == 2 * 9 * 20  # 1m and 1d
    assert counts["indicators"] == report.indicator_rows == 9 * 20
    assert {"CoingeckoService.log", "BinanceService.log", "OkxService.log", "report.json"} <= set(files)
    assert {"Collector.log", "Database.log", "CryptoListingService.log", "TechnicalAnalysisService.log"} <= set(files)
    assert latest == report.folder == "cycle_2026-03-11_14-37-42_market"


def test_lists_come_before_prices_and_prices_before_books(simulator, database, clock, tmp_path):
    with Rig(database, clock, tmp_path, simulator=simulator) as rig:
        rig.run()
    paths = [path for _, _, path, _, _ in simulator.log]
    lists = {"/coins/list", "/fapi/v1/exchangeInfo", "/api/v5/public/instruments"}
    prices = {"/coins/markets", "/fapi/v1/premiumIndex", "/api/v5/market/tickers", "/api/v5/public/mark-price"}
    books = {"/fapi/v1/depth", "/api/v5/market/books", "/fapi/v1/klines", "/api/v5/market/candles"}
    assert set(paths) >= lists | prices | books
    last_list = max(place for place, path in enumerate(paths) if path in lists)
    first_price = min(place for place, path in enumerate(paths) if path in prices)
    last_price = max(place for place, path in enumerate(paths) if path in prices)
    first_book = min(place for place, path in enumerate(paths) if path in books)
    assert last_list < first_price
    assert last_price < first_book


def test_a_second_cycle_asks_only_for_what_is_new_and_doubles_nothing(simulator, database, clock, tmp_path):
    with Rig(database, clock, tmp_path, simulator=simulator) as rig:
        rig.run()
        before = rig.rows("SELECT count(*), max(open_time) FROM candles")[0]
        simulator.log.clear()
        clock.advance(60)
        report = rig.run()
        after = rig.rows("SELECT count(*), max(open_time), count(DISTINCT (instrument_id, open_time)) FROM candles")[0]
    assert report.state is CycleState.OK
    assert after[0] == after[2] == before[0] + 9  # one new bar of each of 9 series
    assert after[1] - before[1] == timedelta(minutes=1)
    assert "/fapi/v1/exchangeInfo" not in {path for _, _, path, _, _ in simulator.log}  # lists are daily


def test_a_defect_in_one_parser_costs_its_job_only_and_is_logged_with_a_traceback(database, clock, tmp_path):
    good, bad = Stand("good"), Stand("bad")

    def broken(payload):
        if payload.job.instruments[0].base == "ETH":
            raise ValueError("a defect\nof two lines")
        return []

    bad.on_parse = broken
    with stand_rig(database, clock, tmp_path, good, bad) as rig:
        report = rig.run()
        defects = [line for line in rig.log(report, "StandService") if "source_defect" in line]
    assert report.state is CycleState.PARTIAL
    assert part_of(report, "good").jobs_ok == 2
    assert part_of(report, "good").rows == {"candles": 6}
    assert (part_of(report, "bad").jobs_ok, part_of(report, "bad").jobs_failed) == (1, 1)
    assert part_of(report, "bad").errors[0].startswith("defect: ValueError: a defect")
    (line,) = defects
    assert "Traceback (most recent call last)" in line
    assert "in broken" in line
    assert "subject=bad:ETH-USDT:perp" in line


@pytest.mark.parametrize("garbage", [None, 7, [None], [{"open": 1}], ["text"]], ids=str)
def test_a_parser_that_returns_garbage_costs_its_jobs_only(database, clock, tmp_path, garbage):
    good, bad = Stand("good"), Stand("bad")
    bad.on_parse = lambda _: garbage
    with stand_rig(database, clock, tmp_path, good, bad) as rig:
        report = rig.run()
    assert report.state is CycleState.PARTIAL
    assert part_of(report, "good").rows == {"candles": 6}
    assert part_of(report, "bad").jobs_failed == 2
    assert part_of(report, "bad").errors[0].startswith("defect: TypeError")


def test_an_answer_that_is_not_understood_is_kept_whole_in_failures_and_in_the_database(database, clock, tmp_path):
    stand = Stand(bases=("BTC",))

    def parse(_):
        raise PayloadError("is missing", "$.data[3].px")

    stand.on_parse = parse
    with stand_rig(database, clock, tmp_path, stand) as rig:
        report = rig.run()
        (kept,) = (tmp_path / report.folder / "failures").iterdir()
        text = kept.read_text()
        payloads = list(rig.reader.load_payloads(report.cycle_id))
        lines = rig.log(report, "StandService")
    assert report.state is CycleState.FAILED
    assert part_of(report, "stand").errors == ("$.data[3].px: is missing",)
    assert text == '{"answer": 42}'
    assert kept.name.startswith("stand_candles_")
    assert [item.body for item in payloads] == [b'{"answer": 42}']
    assert any("payload_not_understood" in line and "$.data[3].px" in line for line in lines)


def test_rows_that_are_not_believed_are_listed_with_reason_and_the_others_land(database, clock, tmp_path):
    stand = Stand(bases=("BTC",))

    def parse(payload):
        first, second, third = bars(payload)
        return [first, replace(second, low=Decimal(-1)), third]

    stand.on_parse = parse
    with stand_rig(database, clock, tmp_path, stand) as rig:
        report = rig.run()
        lines = (tmp_path / report.folder / "rejects.jsonl").read_text().splitlines()
        stored = rig.rows("SELECT low FROM candles")
        ledger = rig.rows("SELECT source, dataset, reason FROM rejects")
    (line,) = [json.loads(text) for text in lines]
    assert (line["source"], line["dataset"], line["subject"]) == ("stand", "candles", "stand:BTC-USDT:perp")
    assert line["reason"] == "not_positive"
    assert "-1" in line["row"]
    assert ledger == [("stand", "candles", "not_positive")]
    assert stored == [(Decimal(99),), (Decimal(99),)]
    assert report.state is CycleState.OK  # a bad row is a value, not a failure
    assert part_of(report, "stand").rejects == 1


def test_a_disk_that_takes_no_reject_file_costs_no_row(database, clock, tmp_path):
    stand = Stand(bases=("BTC", "ETH"), parallelism=1)

    def parse(payload):
        if payload.job.instruments[0].base == "ETH":
            raise PayloadError("is missing", "$.x")
        first, second, third = bars(payload)
        return [first, replace(second, low=Decimal(-1)), third]

    def in_the_way(_):
        folder = tmp_path / (tmp_path / "latest").readlink().name
        (folder / "rejects.jsonl").mkdir(exist_ok=True)
        (folder / "failures").touch()

    stand.on_parse, stand.on_fetch = parse, in_the_way
    with stand_rig(database, clock, tmp_path, stand) as rig:
        report = rig.run()
        stored = rig.rows("SELECT count(*) FROM candles")
        state = rig.rows("SELECT state FROM cycles")
        lines = rig.log(report, "Collector")
    assert stored == [(2,)]
    assert report.state is CycleState.PARTIAL
    assert part_of(report, "stand").errors == ("$.x: is missing",)
    assert state == [("partial",)]
    assert any("unwritable" in line for line in lines)


@pytest.mark.parametrize(
    ("failing", "state"),
    [((), CycleState.OK), (("ETH",), CycleState.PARTIAL), (("BTC", "ETH"), CycleState.FAILED)],
)
def test_a_cycle_is_ok_partial_or_failed_by_what_its_jobs_did(database, clock, tmp_path, failing, state):
    stand = Stand()

    def fetch(job):
        if job.instruments[0].base in failing:
            raise RateLimited("too many calls", source="stand", status=429)

    stand.on_fetch = fetch
    with stand_rig(database, clock, tmp_path, stand) as rig:
        report = rig.run()
        ledger = rig.rows("SELECT state, count(*) FROM jobs GROUP BY 1 ORDER BY 1")
        refused = [line for line in rig.log(report, "StandService") if "call_refused" in line]
    assert report.state is state
    assert dict(ledger) == {k: v for k, v in {"ok": 2 - len(failing), "failed": len(failing)}.items() if v}
    assert len(refused) == len(failing)
    assert all("kind=RateLimited" in line for line in refused)


def test_a_cycle_without_any_work_is_ok(database, clock, tmp_path):
    with stand_rig(database, clock, tmp_path, Stand(bases=())) as rig:
        report = rig.run()
    assert report.state is CycleState.OK
    assert report.sources[0].jobs_ok == 0


def test_rows_of_a_failed_job_that_came_before_the_failure_are_stored(database, clock, tmp_path):
    stand = Stand(bases=("BTC",))
    original = stand.fetch

    def fetch(job):
        yield from original(job)
        raise VenueUnreachable("the second page did not come", source="stand")

    stand.fetch = fetch
    with stand_rig(database, clock, tmp_path, stand) as rig:
        report = rig.run()
        stored = rig.rows("SELECT count(*) FROM candles")
    assert report.state is CycleState.FAILED
    assert part_of(report, "stand").rows == {"candles": 3}
    assert stored == [(3,)]


def test_after_the_deadline_no_job_starts_and_the_skipped_ones_are_reported(database, clock, tmp_path):
    stand = Stand(bases=("A", "B", "C", "D", "E"), parallelism=1)
    stand.on_fetch = lambda _: clock.advance(25)  # two jobs fit into a minute: at 0 and 25 s; and one more at 50
    with stand_rig(database, clock, tmp_path, stand, deadline=timedelta(minutes=1)) as rig:
        report = rig.run()
        ledger = rig.rows("SELECT state, error, count(*) FROM jobs GROUP BY 1, 2 ORDER BY 1")
    part = part_of(report, "stand")
    assert (part.jobs_ok, part.jobs_skipped, len(stand.fetched)) == (3, 2, 3)
    assert report.state is CycleState.PARTIAL
    assert ledger == [("ok", "", 3), ("skipped", "the cycle's time was over", 2)]
    assert rig.report_file(report)["sources"][0]["jobs_skipped"] == 2


def test_an_outage_is_said_once_when_it_begins_and_once_when_it_is_over(simulator, database, clock, tmp_path):
    trees = (only("okx"), {"http": {"connect_timeout_s": 1}})
    with Rig(database, clock, tmp_path, *trees, simulator=simulator) as rig:
        first = rig.run()
        port = simulator.port
        simulator.stop()
        lost = []
        for _ in range(2):
            clock.advance(1000)  # past the breaker's pause
            lost.append(rig.run())
        simulator._port = port
        simulator.start()
        clock.advance(1000)
        back = rig.run()
        clock.advance(300)
        again = rig.run()
        said = [
            [
                word
                for line in rig.log(report, "OkxService")
                for word in ("source_unreachable", "source_is_back")
                if word in line
            ]
            for report in (first, *lost, back, again)
        ]
        warning = next(line for line in rig.log(lost[0], "OkxService") if "source_unreachable" in line)
    assert said == [[], ["source_unreachable"], [], ["source_is_back"], []]
    # While the breaker's one probe is under way, calls beside it are not tried: the way back may be partial.
    assert [report.state for report in (first, *lost, again)] == [
        CycleState.OK,
        CycleState.FAILED,
        CycleState.FAILED,
        CycleState.OK,
    ]
    assert "make demo" in warning
    assert "\n" not in warning


def test_lines_of_pool_threads_go_to_the_folder_of_their_cycle(simulator, database, clock, tmp_path):
    with Rig(database, clock, tmp_path, only("okx"), simulator=simulator) as rig:
        first = rig.run()
        clock.advance(60)
        second = rig.run()
        logs = {report.cycle_id: rig.log(report, "OkxService") for report in (first, second)}
        outside = rig.daemon_log()
    for cycle_id, lines in logs.items():
        done = [line for line in lines if " job_done " in line]
        assert done
        assert all(f"cycle={cycle_id} " in line for line in done)
    assert not any("OkxService" in line for line in outside)
    assert sum("cycle_finished" in line for line in outside) == 2


def test_progress_is_said_during_long_work(database, clock, tmp_path):
    stand = Stand(bases=[f"C{number}" for number in range(6)], parallelism=1)
    stand.on_fetch = lambda _: clock.advance(6)  # longer than the 5 s between two lines
    with stand_rig(database, clock, tmp_path, stand) as rig:
        report = rig.run()
        lines = [line for line in rig.log(report, "Collector") if "cycle_progress" in line]
    assert lines
    assert all("jobs=6" in line for line in lines)


def test_twenty_cycles_leave_no_thread_and_no_descriptor_behind(simulator, database, clock, tmp_path):
    few = {name: {"datasets": {"open_interest": {"enabled": False}}} for name in ("okx", "binance_futures")}
    with Rig(database, clock, tmp_path, {"universe": {"top": 1}, "sources": few}, simulator=simulator) as rig:
        counts = []
        for _ in range(20):
            rig.run()
            clock.advance(300)
            counts.append((threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))))
    threads, files = zip(*counts, strict=True)
    # pools fill up in the first cycles (2 + 16 + 16 threads, a connection each); then nothing may grow
    assert max(threads[10:]) <= max(threads[:10])
    assert max(files[10:]) <= max(files[:10])


def test_closing_ends_every_thread_and_connection(simulator, database, clock, tmp_path):
    before = threading.active_count()
    with Rig(database, clock, tmp_path, simulator=simulator) as rig:
        rig.run()
        assert threading.active_count() > before
    assert threading.active_count() == before


def test_a_cycle_that_cannot_be_recorded_raises_and_asks_nobody(database, clock, tmp_path):
    stand = Stand()

    def lost():
        raise StorageUnavailable("lock the database: gone")

    with stand_rig(database, clock, tmp_path, stand, hold_lock=lost) as rig, pytest.raises(StorageUnavailable):
        rig.run()
    assert stand.fetched == []


def test_only_prices_make_the_universe_new(database, clock, tmp_path):
    stand = Stand(datasets=(Dataset.CANDLES,))
    with stand_rig(database, clock, tmp_path, stand) as rig:
        rig.run()
        assert rig.runner._follower.refreshed == 0
