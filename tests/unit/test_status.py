"""What `status` shows: of an empty database, and of one that holds cycles, rows and oddities."""

import json
from dataclasses import asdict, replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from collector import cli
from collector.records import CycleReport, CycleState, Dataset, Interval, Job, SourceReport
from collector.status import label, load_overview, render, render_inventory
from collector.storage.reader import Reader
from collector.storage.stored import HeldSeries
from collector.storage.writer import InstrumentStanding, Writer
from tests.conftest import NOW
from tests.storage.samples import NOON, batch, candle, listing, perp, snapshot

AGO = timedelta(minutes=7, seconds=5)
ASKED = {"source": "okx", "dataset": Dataset.CANDLES}


@pytest.fixture
def reader(database):
    return Reader(database)


@pytest.fixture
def writer(database):
    return Writer(database)


def overview(reader, **changes):
    values = {"cycles": 5, "now": NOW, "simulated": False, **changes}
    return load_overview(reader, "embedded PostgreSQL in data/postgres", **values)


def finished(cycle_id, state=CycleState.PARTIAL, **changes):
    part = SourceReport(source="okx", jobs_ok=2, jobs_failed=1, jobs_skipped=3, rows={"candles": 1200, "tickers": 34})
    values = {
        "cadence": "market",
        "started_at": NOW - AGO,
        "finished_at": NOW - AGO + timedelta(seconds=12.34),
        "sources": (part,),
        "indicator_rows": 1120,
        "folder": "cycle_2026-03-11_14-30-37_market",
    }
    return CycleReport(cycle_id=cycle_id, state=state, **{**values, **changes})


def begin(writer, at=NOW - AGO):
    return writer.begin_cycle("market", at, instance="host:1", folder="f", simulated=False)


def line_of(text, word):
    return next(line for line in text.splitlines() if word in line)


@pytest.mark.parametrize("words", [("status",), ("status", "--json"), ("replay", "1"), ("gaps",), ("trends",)])
def test_a_database_of_an_older_schema_is_one_line_with_the_remedy(emptied, tmp_path, monkeypatch, capsys, words):
    monkeypatch.setenv("COLLECTOR_DATABASE__URL", emptied.url.render_as_string(hide_password=False))
    monkeypatch.setenv("COLLECTOR_LOGS__DIRECTORY", str(tmp_path))
    found, step = emptied.revision(), "UPDATE alembic_version SET version_num = :number"
    with emptied.transaction() as connection:
        connection.execute(text(step), {"number": "0004"})
    try:
        assert cli.main(words) == 2
    finally:
        with emptied.transaction() as connection:
            connection.execute(text(step), {"number": found})
    said = f"collector: the database is at schema 0004, this program at {found}: python main.py db upgrade\n"
    assert capsys.readouterr() == ("", said)


def test_an_empty_database_says_what_to_do_next(reader):
    text = render(overview(reader))
    assert text.startswith("database: embedded PostgreSQL in data/postgres\n")
    assert "cycles: none yet; start with `python main.py run` or `make demo`" in text
    assert "sources: nothing was asked for yet" in text
    assert line_of(text, "candles").split() == ["candles", "0", "-", "-"]
    assert "no asset could be matched" not in text
    assert "listing changes" not in text


def test_cycles_are_shown_newest_first_with_their_numbers(reader, writer):
    writer.finish_cycle(finished(begin(writer)))
    running = begin(writer, NOW - timedelta(seconds=3))
    text = render(overview(reader))
    first, second = text.split("cycles, newest first:\n")[1].splitlines()[1:3]
    assert first.split() == [str(running), "market", "running", "2026-03-11", "14:37:39", "-", "0", "0", "0", "0", "f"]
    assert second.split()[1:] == [
        "market", "partial", "2026-03-11", "14:30:37", "12.3", "s", "1,234", "1,120", "1", "3",
        "cycle_2026-03-11_14-30-37_market",
    ]  # fmt: skip


def test_no_more_cycles_are_shown_than_asked_for(reader, writer):
    for _ in range(4):
        writer.finish_cycle(finished(begin(writer)))
    assert len(overview(reader, cycles=3).cycles) == 3


def test_sources_show_rows_failures_age_and_their_last_error(reader, writer):
    cycle = begin(writer)
    ended = NOW - timedelta(hours=2, minutes=5)
    good = batch(candle(), candle(1), started_at=ended, finished_at=ended)
    bad = batch(dataset=Dataset.TICKERS, source="coingecko", state="failed", error="no answer within 15 s")
    writer.write(cycle, [good, bad])
    text = render(overview(reader))
    assert "sources, last 24 h:" in text
    assert line_of(text, "  okx").split() == ["okx", "2", "0", "0", "2h", "5m", "ago"]
    assert line_of(text, "  coingecko").split() == [
        "coingecko",
        "0",
        "1",
        "0",
        "never",
        *["no", "answer", "within", "15", "s"],
    ]


def test_errors_older_than_a_day_are_not_shown_as_todays(reader, writer):
    old = begin(writer, NOW - timedelta(days=2))
    writer.write(old, [batch(dataset=Dataset.TICKERS, state="failed", error="long ago")])
    assert "long ago" not in render(overview(reader))


def test_what_is_stored_is_shown_with_first_and_last_moment(reader, writer):
    writer.write(begin(writer), [batch(candle(), candle(9))])
    text = render(overview(reader))
    assert line_of(text, "  candles").split() == ["candles", "2", "2026-01-31", "12:00:00", "2026-01-31", "12:09:00"]


def test_series_are_shown_by_venue_and_length_with_what_is_missing(reader, writer):
    cycle = begin(writer)
    whole = {"interval": Interval.M1, "since": NOON, "until": NOON + timedelta(minutes=10)}
    for name, without in (("BTC", ()), ("ETH", (4,))):
        bars = [candle(minute, perp(name)) for minute in range(10) if minute not in without]
        writer.write(cycle, [batch(*bars, job=Job(**ASKED, instruments=(perp(name),), **whole))])
    text = render(overview(reader)).split("series (`python main.py gaps` lists the holes):\n")[1]
    assert text.splitlines()[1].split() == [
        *("okx", "1m", "2", "2026-01-31", "12:00:00", "2026-01-31", "12:10:00", "95", "%", "1", "okx")
    ]  # fmt: skip


def test_a_hole_of_one_bar_among_many_is_not_rounded_away(reader):
    held = HeldSeries(
        name="okx:BTC-USDT:perp/1m",
        venue="okx",
        dataset=Dataset.CANDLES,
        interval=Interval.M1,
        since=NOON,
        until=NOON + timedelta(days=100),
        held=timedelta(days=100, minutes=-1),
        missing=timedelta(minutes=1),
        provider_has_none=timedelta(0),
        holes=1,
        sources=("okx", "kraken"),
        next_try_at=NOW,
    )
    text = render(replace(overview(reader), series=[held]))
    assert line_of(text.split("series (")[1], "  okx ").split()[-5:] == ["99.99", "%", "1", "kraken,", "okx"]


def test_a_large_table_is_marked_as_estimated(reader):
    empty = overview(reader)
    (item,) = [table for table in empty.tables if table.table == "candles"]
    large = replace(empty, tables=[replace(item, rows=1_234_567, exact=False)])
    assert "~1,234,567" in render_inventory(large)


def test_instruments_that_match_no_asset_are_listed_with_the_reason_and_the_rest_counted(reader, writer):
    names = [f"C{number:02}" for number in range(18)]
    items = [listing(perp(name)) for name in names]
    writer.write(begin(writer), [batch(*items, dataset=Dataset.INSTRUMENTS)])
    verdict = {"asset_id": None, "asset_units": None, "match_state": "unmatched", "followed": False}
    writer.save_universe(
        "coingecko",
        [],
        [
            InstrumentStanding(instrument=item.instrument.id, match_detail="no coin has this symbol", **verdict)
            for item in items
        ],
    )
    text = render(overview(reader))
    assert "instruments that no asset could be matched to (not followed):" in text
    assert line_of(text, "okx:C00-USDT:perp").endswith("unmatched  no coin has this symbol")
    assert "okx:C14-USDT:perp" in text
    assert "  and 3 more" in text


def test_what_changed_in_listings_is_shown_newest_first(reader, writer):
    cycle = begin(writer)
    writer.write(cycle, [batch(listing(perp("BTC")), listing(perp("OLD")), dataset=Dataset.INSTRUMENTS)])
    writer.write(cycle, [batch(listing(perp("BTC"), status="suspend"), dataset=Dataset.INSTRUMENTS)])
    text = render(overview(reader))
    changes = text.split("listing changes, newest first:\n")[1]
    assert "delisted" in line_of(changes, "okx:OLD-USDT:perp")


def test_simulated_data_is_labelled_wherever_it_is_shown(reader):
    text = render(overview(reader, simulated=True))
    assert text.startswith("SIMULATED data (made-up prices); database: ")
    assert "SIMULATED data (made-up prices); stored:" in text
    assert label(simulated=False) == ""
    assert "SIMULATED" not in render(overview(reader))


def test_the_overview_can_be_written_as_json(reader, writer):
    cycle = begin(writer)
    writer.write(cycle, [batch(snapshot(), source="coingecko", dataset=Dataset.MARKETS)])
    writer.finish_cycle(finished(cycle))
    tree = json.loads(json.dumps(asdict(overview(reader)), default=str))
    assert tree["cycles"][0]["state"] == "partial"
    assert tree["cycles"][0]["report"] is None  # `status` is an overview; the report is in its folder
    assert set(tree) == {
        *("now", "database", "simulated", "cycles", "sources", "tables", "series", "unmatched", "changes")
    }


def test_a_database_without_tables_has_nothing_to_tell_and_says_how_to_start():
    overview = load_overview(None, "somewhere", cycles=5, now=NOW, simulated=False)
    assert "cycles: none yet; start with" in render(overview)
