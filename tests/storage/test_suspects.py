"""Suspects in the database, and the part that notes them while collecting."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from collector.clock import ManualClock
from collector.config import LogSettings
from collector.log import set_up_logging, tear_down_logging
from collector.records import Dataset, Suspect
from collector.scrutiny import Scrutiny
from collector.storage.database import Database
from collector.storage.suspects import Suspects
from collector.suspicion import Bounds
from tests.storage.samples import BTC, NOON, batch, candle, mark, perp, snapshot, ticker

D = Decimal
SUSPECT = Suspect(
    dataset=Dataset.CANDLES,
    subject=BTC.id,
    source="okx",
    observed_at=NOON,
    kind="jump",
    value=D("150.5"),
    reference=D(100),
    reference_source="okx",
    detail="1m bar +50.5 % from the one before, 1 min earlier",
)
MATCH = "UPDATE instruments SET asset_id = 'bitcoin', asset_units = %s, match_state = 'matched' WHERE venue = %s"


@pytest.fixture
def store(database):
    return Suspects(database)


@pytest.fixture
def said(tmp_path):
    """Return the lines of the database's log."""
    set_up_logging(LogSettings(directory=tmp_path), console=None)
    yield lambda: (tmp_path / "collector.log").read_text().splitlines()
    tear_down_logging()


@pytest.fixture
def clock():
    return ManualClock(NOON + timedelta(seconds=10))


def scrutiny(store, clock):
    looking = Scrutiny(store, bounds=Bounds(), clock=clock)
    looking.start()
    return looking


def test_a_suspect_comes_back_as_it_was_and_the_same_again_changes_nothing(store, cycle, rows):
    other = replace(SUSPECT, kind="divergence")
    assert store.write(cycle, [SUSPECT, other]) == 2
    assert store.write(cycle + 1, [SUSPECT]) == 0
    assert sorted(store.load(), key=lambda item: item.kind) == [other, SUSPECT]
    assert rows("SELECT DISTINCT cycle_id FROM suspects") == [(cycle,)]


def test_old_suspects_go_with_the_ledger_revisions_stay(store, writer, cycle, rows, database):
    store.write(cycle, [SUSPECT])
    writer.write(cycle, [batch(candle())])
    writer.write(cycle, [batch(candle(close=D(101)))])
    writer.prune_ledger(database.clock.now() - timedelta(minutes=1))
    assert rows("SELECT count(*) FROM suspects") == [(1,)]
    writer.prune_ledger(database.clock.now() + timedelta(minutes=1))
    assert rows("SELECT count(*) FROM suspects") == [(0,)]
    assert rows("SELECT count(*) FROM revisions") == [(1,)]


def test_a_jump_is_stored_and_marked_not_dropped(store, writer, cycle, rows, clock, said):
    looking = scrutiny(store, clock)
    given = [batch(candle(0), candle(1, high=D(160)))]
    writer.write(cycle, given)
    assert looking.note(cycle, given) == 1
    assert rows("SELECT high FROM candles ORDER BY open_time") == [(D(101),), (D(160),)]
    assert rows("SELECT subject, kind, value, reference FROM suspects") == [(BTC.id, "jump", D(160), D(100))]
    assert len([line for line in said() if "values_jumped" in line]) == 1


def test_after_a_restart_the_stored_values_are_what_a_jump_is_measured_against(store, writer, cycle, clock, said):
    writer.write(cycle, [batch(candle(-2), mark("100", NOON - timedelta(minutes=1)), snapshot(price="100000"))])
    looking = scrutiny(store, clock)
    late = NOON + timedelta(minutes=1)
    given = [batch(candle(-1, low=D(60)), mark("130"), snapshot(price="250000", at=late))]
    assert looking.note(cycle, given) == 3
    assert {(item.dataset, item.reference) for item in store.load()} == {
        (Dataset.CANDLES, D(100)),
        (Dataset.MARK_PRICES, D(100)),
        (Dataset.MARKETS, D(100000)),
    }


def test_prices_are_compared_per_coin_over_sources_and_markets(store, writer, cycle, database, clock, said):
    thousand = perp("1000SHIB", venue="binance_futures")
    coin = perp("SHIB")
    writer.write(
        cycle,
        [
            batch(
                replace(ticker(thousand, "20.1"), source="binance_futures"),
                ticker(coin, "0.02"),
                snapshot("bitcoin", "0.0201"),
            )
        ],
    )
    with database.transaction() as connection:
        for venue, units in (("binance_futures", 1000), ("okx", 1)):
            connection.exec_driver_sql(MATCH, (units, venue))
    found = scrutiny(store, clock).compare_sources(cycle)
    assert (found.compared, found.suspects) == (1, ())
    assert found.worst_pct == D("0.498")  # 0.02 / 0.0201 - 1
    assert store.load() == []


def test_a_source_that_parts_is_stored_every_cycle_and_said_once_until_it_is_back(
    store, writer, cycle, database, clock, said
):
    binance = perp(venue="binance_futures")

    def round_of(minute, okx):
        at = NOON + timedelta(minutes=minute)
        given = (
            replace(ticker(binance, "100", at), source="binance_futures"),
            ticker(BTC, okx, at),
            snapshot(price="100", at=at),
        )
        writer.write(cycle, [batch(*given)])
        with database.transaction() as connection:
            connection.exec_driver_sql("UPDATE instruments SET asset_id = 'bitcoin', match_state = 'matched'")
        found = looking.compare_sources(cycle)
        clock.advance(60)
        return found

    looking = scrutiny(store, clock)
    assert [len(round_of(minute, okx).suspects) for minute, okx in enumerate(("100", "120", "121", "101", "130"))] == [
        0,
        1,
        1,
        0,
        1,
    ]
    assert len(store.load()) == 3
    lines = [line for line in said() if "sources_" in line]
    assert ["diverge" in line for line in lines] == [True, False, True]
    assert "subject=okx:BTC-USDT:perp" in lines[0]
    assert "reference=100" in lines[0]


def test_a_database_that_is_away_costs_the_doubts_of_that_moment_and_says_so(clock, said):
    away = Database("postgresql://nobody@127.0.0.1:1/none", clock=clock)
    looking = Scrutiny(Suspects(away), bounds=Bounds(), clock=clock)
    assert looking.note(1, [batch(candle(0), candle(1, high=D(160)))]) == 1
    assert looking.compare_sources(1).compared == 0
    assert ["suspects_lost" in line or "divergence_unknown" in line for line in said()[-2:]] == [True, True]
    away.close()
