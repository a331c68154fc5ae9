"""A cycle parsed again gives the rows that it stored, to the letter; whatever is otherwise is listed."""

import zlib
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import text

from collector import cli, cli_commands
from collector.clock import ManualClock, SystemClock
from collector.errors import PayloadError, StorageError
from collector.fallback import stand_in
from collector.records import Batch, Dataset, Instrument, Interval, Job, Kind, Payload, Reject, RejectReason
from collector.replay import render, replay
from collector.sources import SOURCES
from collector.storage.answers import load_jobs
from collector.storage.database import Database
from collector.storage.reader import Reader
from collector.storage.writer import Writer
from tests.conftest import NOW
from tests.unit.cycle_rig import Rig, frozen_market, listed

PARSERS = {name: kind.parsers for name, kind in SOURCES.items()}
D = Decimal
SWAP = Instrument(
    venue="okx", base="BTC", quote="USDT", kind=Kind.PERP, venue_symbol="BTC-USDT-SWAP", contract_size=D("0.01")
)
OPENED = NOW.replace(minute=30, second=0)
JOB = Job(source="okx", dataset=Dataset.CANDLES, instruments=(SWAP,), interval=Interval.M1)


class Recording(Writer):
    """A writer that remembers the jobs it was given."""

    def __init__(self, database):
        super().__init__(database)
        self.jobs = {}

    def write(self, cycle_id, batches):
        self.jobs.setdefault(cycle_id, []).extend(batch.job for batch in batches)
        return super().write(cycle_id, batches)


@pytest.fixture(scope="module")
def collected(cluster, tmp_path_factory):
    """Four simulated cycles of every cadence; each source did each of its datasets."""
    url = cluster.create_database()
    database, clock = Database(url, clock=SystemClock()), ManualClock(NOW)
    writer = Recording(database)
    folder = tmp_path_factory.mktemp("logs")
    with frozen_market(clock) as market, Rig(database, clock, folder, simulator=market, writer=writer) as rig:
        reports = []
        for cadence in (*rig.settings.cadences, "market"):
            reports.append(rig.run(cadence))
            clock.advance(90)
        wanted = {(task.source, task.dataset) for task in rig.tasks}
    yield database, writer, reports, wanted
    database.close()
    cluster.drop(url)


def test_every_cycle_of_every_source_gives_the_same_rows_to_the_byte(collected):
    database, _, reports, _ = collected
    for report in reports:
        found = replay(database, report.cycle_id, parsers=PARSERS)
        assert found.differences == ()
        stored = sum(sum(part.rows.values()) for part in report.sources)
        counted = sum(part.same + part.superseded for part in found.tables)
        assert counted >= stored > 0


def test_every_dataset_of_every_source_was_replayed(collected):
    database, _, reports, wanted = collected
    seen = {(item.job.source, item.job.dataset) for r in reports for item in load_jobs(database, r.cycle_id)}
    assert seen == wanted


def test_jobs_are_rebuilt_exactly_as_they_were(collected):
    database, writer, reports, _ = collected
    for report in reports:
        rebuilt = [item.job for item in load_jobs(database, report.cycle_id)]
        assert rebuilt == writer.jobs[report.cycle_id]


# --------------------------------------------------------------------------- one small cycle, by hand


def body(*bars):
    """OKX candles: [opened after the first, close]; open 100, high 110, low 90."""
    rows = []
    for place, close in reversed(bars):
        at = int((OPENED + timedelta(minutes=place)).timestamp()) * 1000
        rows.append(f'["{at}","100","110","90","{close}","500","5","500","1"]')
    return f'{{"code":"0","msg":"","data":[{",".join(rows)}]}}'.encode()


class Hand:
    """Stores cycles of one series from answers in OKX's shape, as a worker would."""

    def __init__(self, database):
        self.database = database
        self.writer = Writer(database)
        self.at = NOW

    def cycle(self, *bars, job=JOB, change=lambda batch: batch):
        self.at += timedelta(minutes=1)
        cycle = self.writer.begin_cycle("market", self.at, instance="test:1", folder="", simulated=True)
        payload = Payload(job=job, status=200, body=body(*bars), received_at=self.at)
        records = tuple(PARSERS["okx"][job.dataset](payload))
        batch = Batch(job=job, records=records, payloads=(payload,), started_at=self.at, finished_at=self.at)
        self.writer.write(cycle, [change(batch)])
        self.end(cycle)
        return cycle

    def end(self, cycle):
        self.execute("UPDATE cycles SET state = 'ok', finished_at = :at WHERE cycle_id = :id", at=self.at, id=cycle)

    def execute(self, statement, **values):
        with self.database.transaction() as connection:
            connection.execute(text(statement), values)

    def rows(self, query):
        with self.database.reading() as connection:
            return [tuple(row) for row in connection.execute(text(query))]

    def replay(self, cycle, parsers=PARSERS, **more):
        return replay(self.database, cycle, parsers=parsers, **more)


@pytest.fixture
def hand(database):
    return Hand(database)


def test_a_row_of_an_earlier_cycle_that_was_found_again_is_unchanged(hand):
    hand.cycle((0, 101))
    found = hand.replay(hand.cycle((0, 101), (1, 102)))
    assert found.differences == ()
    assert [(part.table, part.rows, part.same, part.unchanged) for part in found.tables] == [("candles", 2, 1, 1)]


def test_a_bar_that_a_later_cycle_revised_is_judged_by_its_revisions(hand):
    first = hand.cycle((0, 101), (1, 102))
    hand.cycle((0, 103))
    last = hand.cycle((0, 104))
    assert hand.rows("SELECT close FROM candles ORDER BY open_time") == [(D(104),), (D(102),)]
    assert hand.replay(first).differences == ()
    assert hand.replay(last).differences == ()
    (part,) = hand.replay(first).tables
    assert (part.same, part.unchanged, part.superseded) == (1, 1, 0)


def test_a_value_changed_behind_our_back_is_listed_with_row_and_column(hand):
    cycle = hand.cycle((0, 101), (1, 102))
    hand.execute("UPDATE candles SET close = 102.5 WHERE close = 102")
    (difference,) = hand.replay(cycle).differences
    assert (difference.table, difference.column, difference.stored, difference.replayed) == (
        "candles",
        "close",
        "102.5",
        "102",
    )
    assert difference.row == "okx:BTC-USDT:perp 1m 2026-03-11T14:31:00+00:00"


def test_one_more_digit_behind_the_point_is_a_difference_to_the_letter(hand):
    cycle = hand.cycle((0, "101.0"))
    hand.execute("UPDATE candles SET close = 101.00")
    assert [(item.stored, item.replayed) for item in hand.replay(cycle).differences] == [("101.00", "101.0")]


def test_rows_that_are_gone_and_rows_that_should_not_be_there_are_listed(hand):
    cycle = hand.cycle((0, 101), (1, 102))
    hand.execute("DELETE FROM candles WHERE close = 101")
    hand.execute("UPDATE candles SET open_time = open_time + interval '5 minutes'")
    found = {(item.row[-15:], item.stored, item.replayed) for item in hand.replay(cycle).differences}
    assert found == {
        ("T14:30:00+00:00", None, "a row"),
        ("T14:31:00+00:00", None, "a row"),
        ("T14:36:00+00:00", "a row", None),
    }


def doubled(payload):
    for item in PARSERS["okx"][Dataset.CANDLES](payload):
        yield replace(item, volume=item.volume * 2)


def test_a_parser_that_changed_shows_in_every_row_and_write_stores_the_correction_as_revisions(hand):
    cycle = hand.cycle((0, 101), (1, 102))
    changed = {"okx": {Dataset.CANDLES: doubled}}
    found = hand.replay(cycle, changed)
    assert {(item.column, item.stored, item.replayed) for item in found.differences} == {("volume", "5", "10")}
    assert len(found.differences) == 2
    assert hand.rows("SELECT count(*) FROM revisions") == [(0,)]
    written = hand.replay(cycle, changed, write=True)
    assert written.corrected == {"candles": 2}
    assert hand.rows("SELECT volume, cycle_id FROM candles") == [(D(10), cycle)] * 2
    assert (
        hand.rows("SELECT cause, columns, old, new, cycle_id FROM revisions")
        == [("replay", ["volume"], {"volume": "5"}, {"volume": "10"}, cycle)] * 2
    )
    assert hand.replay(cycle, changed).differences == ()


def test_write_leaves_rows_of_later_cycles_alone(hand):
    first = hand.cycle((0, 101))
    hand.cycle((0, 103))
    found = hand.replay(first, {"okx": {Dataset.CANDLES: doubled}}, write=True)
    assert [(item.column, item.stored, item.replayed) for item in found.differences] == [("volume", "5", "10")]
    assert found.corrected == {}
    assert hand.rows("SELECT close, volume FROM candles") == [(D(103), D(5))]


def test_write_brings_back_a_row_that_is_gone(hand):
    cycle = hand.cycle((0, 101), (1, 102))
    before = hand.rows("SELECT * FROM candles ORDER BY open_time")
    hand.execute("DELETE FROM candles WHERE close = 101")
    assert hand.replay(cycle, write=True).corrected == {"candles": 1}
    assert hand.rows("SELECT * FROM candles ORDER BY open_time") == before


def test_a_parser_that_no_longer_understands_an_answer_is_a_difference_not_an_exception(hand):
    def lost(_):
        raise PayloadError("missing", "$.data")

    cycle = hand.cycle((0, 101))
    found = hand.replay(cycle, {"okx": {Dataset.CANDLES: lost}})
    assert [(item.table, item.stored, item.replayed) for item in found.differences] == [
        ("candles", "a row", None),
        ("jobs", None, "$.data: missing"),
    ]


def test_a_row_refused_then_and_not_now_is_a_difference(hand):
    def refuse(batch):
        reject = Reject(job=batch.job, row="bar", reason=RejectReason.NO_PRICE, detail="no close")
        return replace(batch, rejects=(reject,))

    (difference,) = hand.replay(hand.cycle((0, 101), change=refuse)).differences
    assert (difference.table, difference.stored, difference.replayed) == ("rejects", "refused: no close", None)


def test_a_row_the_database_refused_is_not_missing(hand):
    hand.execute("ALTER TABLE candles ADD CONSTRAINT below CHECK (close < 105) NOT VALID")
    cycle = hand.cycle((0, 101), (1, 106))
    hand.execute("ALTER TABLE candles DROP CONSTRAINT below")
    assert hand.rows("SELECT reason FROM rejects") == [("refused_by_database",)]
    assert hand.replay(cycle).differences == ()


def test_a_filled_bar_is_replayed_under_the_series_it_stands_for(hand):
    wanted = replace(SWAP, venue="binance_futures", venue_symbol="BTCUSDT", contract_size=D(1))
    job = replace(JOB, stands_for=wanted)

    cycle = hand.cycle((0, 101), job=JOB)  # so that both instruments are known
    cycle = hand.cycle((0, 101), job=job, change=stand_in)
    assert hand.replay(cycle, after_parse=stand_in).differences == ()
    assert [item.job for item in load_jobs(hand.database, cycle)] == [job]


def test_a_filled_bar_that_was_not_taken_beside_the_own_one_is_no_difference(hand):
    own = replace(SWAP, venue="binance_futures", venue_symbol="BTCUSDT", contract_size=D(1))
    job = replace(JOB, stands_for=own)

    def as_binance(batch):
        return replace(batch, records=tuple(replace(item, instrument=own, source=own.venue) for item in batch.records))

    hand.cycle((0, 99))
    hand.cycle((0, 101), change=as_binance)
    late = hand.cycle((0, 102), job=job, change=stand_in)
    assert hand.rows(
        "SELECT close FROM candles c JOIN instruments USING (instrument_id) WHERE venue = 'binance_futures'"
    ) == [(D(101),)]
    found = hand.replay(late, after_parse=stand_in)
    assert found.differences == ()
    assert [part.unchanged for part in found.tables] == [1]


def test_a_contract_size_that_changed_since_is_taken_as_it_was(hand):
    def listing_cycle(size):
        hand.at += timedelta(minutes=1)
        cycle = hand.writer.begin_cycle("daily", hand.at, instance="test:1", folder="", simulated=True)
        row = listed(replace(SWAP, contract_size=D(size)), "okx", hand.at)
        hand.writer.write(cycle, [Batch(job=Job(source="okx", dataset=Dataset.INSTRUMENTS), records=(row,))])
        hand.end(cycle)

    listing_cycle("0.01")
    cycle = hand.cycle((0, 101))
    listing_cycle("0.1")
    listing_cycle("1")
    hand.execute("DELETE FROM jobs WHERE dataset = 'instruments'")
    assert Reader(hand.database).load_instruments()[0].instrument.contract_size == 1
    assert [item.job for item in load_jobs(hand.database, cycle)] == [JOB]
    assert hand.replay(cycle).differences == ()


# --------------------------------------------------------------------------- what cannot be replayed


def test_an_unknown_and_a_running_cycle_are_named(hand):
    with pytest.raises(StorageError, match="there is no cycle 77"):
        hand.replay(77)
    running = hand.writer.begin_cycle("market", NOW, instance="test:1", folder="", simulated=True)
    with pytest.raises(StorageError, match="still running"):
        hand.replay(running)


def test_answers_that_are_gone_are_not_taken_for_empty_ones(hand):
    cycle = hand.cycle((0, 101))
    hand.writer.prune_payloads(hand.at + timedelta(days=1))
    with pytest.raises(StorageError, match="not kept any more"):
        hand.replay(cycle)


@pytest.mark.parametrize("damage", ["other", "longer", "torn"])
def test_a_damaged_answer_is_found_by_its_digest(hand, damage):
    cycle = hand.cycle((0, 101))
    good = body((0, 101))
    stored = {
        "other": zlib.compress(good.replace(b"101", b"102")),
        "longer": zlib.compress(good + b" " * 100_000_000),
        "torn": zlib.compress(good)[:-9],
    }[damage]
    hand.execute("UPDATE raw_payloads SET body = :body", body=stored)
    with pytest.raises(StorageError, match="damaged"):
        hand.replay(cycle)


# --------------------------------------------------------------------------- for people


def test_the_text_says_what_was_compared_and_what_differs(hand):
    cycle = hand.cycle((0, 101), (1, 102))
    assert render(hand.replay(cycle)).splitlines() == [
        f"cycle {cycle} (market, 2026-03-11 14:38:42 UTC, ok): 1 jobs, 1 answers parsed again",
        "  table    rows  same  unchanged  superseded  different",
        "  candles  2     2     0          0           0",
        "",
        "the same rows to the byte",
    ]
    hand.execute("UPDATE candles SET volume = NULL WHERE close = 102")
    assert render(hand.replay(cycle)).splitlines()[3:] == [
        "  candles: okx:BTC-USDT:perp 1m 2026-03-11T14:31:00+00:00 volume: stored NULL, now 5",
        "",
        "1 difference",
    ]


def test_the_command_ends_with_0_for_the_same_1_for_differences_and_2_for_what_is_gone(hand, monkeypatch, capsys):
    monkeypatch.setenv("COLLECTOR_DATABASE__URL", hand.database.url.render_as_string(hide_password=False))
    monkeypatch.setattr(cli_commands, "tear_down_logging", lambda: None)
    cycle = hand.cycle((0, 101))
    assert cli.main(["replay", str(cycle)]) == cli.OK
    hand.execute("UPDATE candles SET close = 102")
    assert cli.main(["replay", str(cycle), "--json"]) == cli.NOT_ALL_WELL
    assert '"replayed": "101"' in capsys.readouterr().out
    assert cli.main(["replay", str(cycle), "--write"]) == cli.NOT_ALL_WELL
    assert cli.main(["replay", str(cycle)]) == cli.OK
    assert cli.main(["replay", "4711"]) == cli.USAGE
    assert (
        capsys.readouterr().err == "collector: there is no cycle 4711; see the last ones with: python main.py status\n"
    )
