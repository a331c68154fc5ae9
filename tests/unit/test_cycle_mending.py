"""What a cycle does beyond its schedule: fills holes, reads last bars twice, and doubts prices; on real databases."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from collector.errors import StorageUnavailable
from collector.fallback import stand_in, translated
from collector.records import CycleState
from collector.replay import replay
from collector.simulator.wire import Response
from collector.sources import SOURCES
from collector.storage.coverage import CoverageStore
from collector.storage.database import Database
from tests.unit.cycle_rig import Everything, Rig, Stand, bars, frozen_market, only

MINUTE = timedelta(minutes=1)
BARS = "SELECT open_time, open, high, low, close, volume FROM candles c JOIN instruments i USING (instrument_id) "
BTC = "i.instrument = 'okx:BTC-USDT:perp' AND interval = '1m'"


@pytest.fixture
def database(migrated_url, clock):
    """A database that lives in the time of the test, as holes and the moments of their next try do."""
    opened = Database(migrated_url, clock=clock)
    yield opened
    opened.close()


@pytest.fixture
def rig(database, clock, tmp_path):
    with (
        frozen_market(clock) as simulator,
        Rig(database, clock, tmp_path, only("coingecko", "okx"), simulator=simulator) as rig,
    ):
        assert rig.run("daily").state is CycleState.OK
        assert rig.run().state is CycleState.OK
        yield rig


def bars_of_bitcoin(rig):
    return rig.rows(f"{BARS} WHERE {BTC} ORDER BY open_time")


def coverage_of_bitcoin(rig):
    return rig.rows(f"SELECT since, until, state FROM coverage JOIN instruments i USING (instrument_id) WHERE {BTC}")


def test_bars_that_are_gone_are_fetched_again_in_the_next_cycle(rig, clock):
    before = bars_of_bitcoin(rig)
    assert len(before) == 20
    lost = [row[0] for row in before[5:8]] + [before[12][0]]  # three bars and a single one
    rig.execute(
        "DELETE FROM candles c USING instruments i WHERE i.instrument_id = c.instrument_id "
        f"AND {BTC} AND open_time = ANY(:lost)",
        lost=lost,
    )
    CoverageStore(rig.database).scan(again=True)
    assert sorted((row[0], row[1]) for row in coverage_of_bitcoin(rig) if row[2] == "missing") == [
        (lost[0], lost[2] + MINUTE),
        (lost[3], lost[3] + MINUTE),
    ]
    report = rig.run()
    assert bars_of_bitcoin(rig) == before
    assert report.healed == 4
    assert coverage_of_bitcoin(rig) == [(before[0][0], before[-1][0] + MINUTE, "observed")]
    (line,) = [line for line in rig.log(report, "Collector") if "cycle_finished" in line]
    assert "healed=4" in line


def test_the_newest_bar_is_read_once_more_and_a_change_of_it_is_kept_as_a_revision(rig, clock):
    opened, *_, close, volume = bars_of_bitcoin(rig)[-1]
    rig.execute(
        "UPDATE candles c SET volume = volume + 1 FROM instruments i WHERE i.instrument_id = c.instrument_id "
        f"AND {BTC} AND open_time = :opened",
        opened=opened,
    )
    clock.advance(60)
    report = rig.run()
    assert report.revisions == 1
    ((old, new),) = rig.rows("SELECT old, new FROM revisions WHERE table_name = 'candles'")
    assert (Decimal(str(old["volume"])), Decimal(str(new["volume"]))) == (volume + 1, volume)
    assert bars_of_bitcoin(rig)[-2][4:] == (close, volume)


def test_a_second_reading_that_agrees_is_no_revision(rig, clock):
    clock.advance(60)
    report = rig.run()
    assert report.revisions == 0
    assert len(bars_of_bitcoin(rig)) == 21


def test_a_price_far_from_the_one_before_is_stored_and_doubted(database, clock, tmp_path):
    stand = Stand(bases=("BTC",))
    with Rig(database, clock, tmp_path, stands=(stand,), follower=Everything([stand], clock)) as rig:
        assert rig.run().suspects == 0
        clock.advance(180)
        stand.on_parse = lambda payload: [
            bar if place < 2 else replace(bar, high=Decimal(203), close=Decimal(202))
            for place, bar in enumerate(bars(payload))
        ]
        report = rig.run()
        stored = rig.rows("SELECT close FROM candles ORDER BY open_time DESC LIMIT 1")
        doubts = rig.rows("SELECT kind, value, reference FROM suspects")
    assert report.suspects == 1
    assert stored == [(Decimal(202),)]
    assert doubts == [("jump", Decimal(203), Decimal(101))]  # the highest price is the one that jumped


def test_a_hole_in_the_bars_of_an_aggregator_heals_although_its_calls_are_few(database, clock, tmp_path):
    keyless = {"sources": {"coingecko": {"limits": {"calls": {"capacity": 10, "window": "1m"}}}}}
    with (
        frozen_market(clock) as simulator,
        Rig(database, clock, tmp_path, only("coingecko"), keyless, simulator=simulator) as rig,
    ):
        for cadence in ("daily", "market", "hourly"):
            assert rig.run(cadence).state is CycleState.OK
        before = rig.rows("SELECT open_time, open, high, low, close FROM candles ORDER BY open_time")
        rig.execute("DELETE FROM candles WHERE open_time = :at", at=before[-5][0])
        CoverageStore(database).scan(again=True)
        clock.advance(120)
        assert rig.run().healed == 1
        assert rig.rows("SELECT open_time, open, high, low, close FROM candles ORDER BY open_time") == before


class Unreadable:
    """Holes that the database does not tell."""

    def jobs(self, *_, **__):
        raise StorageUnavailable("read windows: the server closed the connection")

    def adapt(self, batch):
        return batch


def test_an_unreadable_list_of_holes_costs_only_the_healing(database, clock, tmp_path):
    stand = Stand()
    follower = Everything([stand], clock)
    with Rig(database, clock, tmp_path, stands=(stand,), follower=follower, mender=Unreadable()) as rig:
        report = rig.run()
        stored = rig.rows("SELECT count(*) FROM candles")
    assert (report.state, stored) == (CycleState.OK, [(6,)])
    assert any("holes_unknown" in line for line in (tmp_path / report.folder / "Database.log").read_text().splitlines())


# --------------------------------------------------------------------------- other providers


class Outage:
    """Answers 503 in place of what is asked of one venue below a path."""

    def __init__(self, venue, path):
        self.venue, self.path = venue, path

    def before(self, venue, path, _request):
        broken = venue == self.venue and path.startswith(self.path)
        return Response(status=503, body=b"", headers={}) if broken else None

    def after(self, _venue, _path, _request, response):
        return response


@pytest.fixture
def two_venues(database, clock, tmp_path):
    with (
        frozen_market(clock) as simulator,
        Rig(database, clock, tmp_path, only("coingecko", "okx", "binance_futures"), simulator=simulator) as rig,
    ):
        assert rig.run("daily").state is CycleState.OK
        assert rig.run().state is CycleState.OK
        rig.simulator = simulator
        yield rig


def test_bars_that_failed_come_from_the_venue_that_trades_the_same_in_the_same_cycle(two_venues, clock):
    two_venues.simulator.interceptor = Outage("binance_futures", "/fapi/v1/klines")
    clock.advance(60)
    report = two_venues.run()
    assert report.state is CycleState.PARTIAL
    assert report.filled == {"okx": 3}  # the new bar of three perpetuals: what the venue itself gave stays its own
    newest = two_venues.rows(
        "SELECT i.venue, c.source, count(*) FROM candles c JOIN instruments i USING (instrument_id) "
        "WHERE c.open_time = (SELECT max(open_time) FROM candles) GROUP BY 1, 2 ORDER BY 1"
    )
    assert newest == [("binance_futures", "okx", 3), ("okx", "okx", 3)]
    states = two_venues.rows("SELECT DISTINCT state, source FROM coverage WHERE state <> 'observed'")
    assert states == [("filled", "okx")]
    (line,) = [line for line in two_venues.log(report, "Collector") if "cycle_finished" in line]
    assert 'filled="3 from okx"' in line
    parsers = {name: kind.parsers for name, kind in SOURCES.items()}
    assert replay(two_venues.database, report.cycle_id, parsers=parsers, after_parse=stand_in).differences == ()


def test_prices_that_coingecko_does_not_give_come_from_coincap_under_our_ids(database, clock, tmp_path):
    trees = (
        only("coingecko", "okx", "coincap"),
        {"universe": {"top": 12}},
        {"sources": {"coincap": {"api_key": "a-key"}}},
    )
    with frozen_market(clock) as simulator, Rig(database, clock, tmp_path, *trees, simulator=simulator) as rig:
        assert rig.run().state is CycleState.OK
        simulator.interceptor = Outage("coingecko", "/coins/markets")
        clock.advance(60)
        report = rig.run()
        assert report.filled == {"coincap": 12}
        named = {row[0] for row in rig.rows("SELECT asset_id FROM market_snapshots WHERE source = 'coincap'")}
        assert {"ripple", "binancecoin"} <= named
        assert not {"xrp", "binance-coin"} & named
        assert rig.rows("SELECT 1 FROM assets WHERE source = 'coincap'") == []
        parsers = {name: kind.parsers for name, kind in SOURCES.items()}
        found = replay(rig.database, report.cycle_id, parsers=parsers, after_parse=stand_in, skip=translated)
        assert found.differences == ()
        simulator.interceptor = Outage("coin", "/")
        simulator.interceptor.before = lambda venue, *_: (
            Response(status=503, body=b"", headers={}) if venue.startswith("coin") else None
        )
        clock.advance(60)
        assert set(rig.run().filled) == {"okx"}  # nobody but the venues is left
        simulator.interceptor = Outage("coingecko", "/coins/markets")
        simulator.interceptor.after = lambda venue, _path, _request, response: (
            replace(response, body=b'{"data":[],"timestamp":1767225600250}') if venue == "coincap" else response
        )
        clock.advance(60)
        assert set(rig.run().filled) == {"okx"}  # an answer without a single price is none


def test_when_the_credits_of_a_month_are_used_up_the_venues_prices_follow(database, clock, tmp_path):
    limits = {"credits": {"capacity": 11, "window": "31d"}}  # ten may be used, two at a time for four assets
    coincap = {"sources": {"coincap": {"api_key": "a-key", "limits": limits}}}
    trees = (only("coingecko", "okx", "coincap"), coincap)
    with frozen_market(clock) as simulator, Rig(database, clock, tmp_path, *trees, simulator=simulator) as rig:
        assert rig.run("daily").state is CycleState.OK
        assert rig.run().state is CycleState.OK
        simulator.interceptor = Outage("coingecko", "/coins/markets")
        filled = []
        for _ in range(6):
            clock.advance(60)
            filled.append(set(rig.run().filled))
    assert filled == [{"coincap"}] * 4 + [{"okx"}] * 2  # and one reading was scheduled


def test_prices_that_coingecko_does_not_give_come_from_the_venues_under_their_own_names(two_venues, clock):
    two_venues.simulator.interceptor = Outage("coingecko", "/coins/markets")
    clock.advance(60)
    report = two_venues.run()
    assert report.filled == {"binance_futures": 3}
    rows = two_venues.rows(
        "SELECT m.source, m.asset_id, m.price_usd = t.mark_price / i.asset_units OR m.price_usd = k.last_price, rank "
        "FROM market_snapshots m JOIN instruments i ON i.asset_id = m.asset_id AND i.venue = m.source AND i.followed "
        "JOIN LATERAL (SELECT mark_price FROM mark_prices p WHERE p.instrument_id = i.instrument_id "
        "ORDER BY observed_at DESC LIMIT 1) t ON true "
        "JOIN LATERAL (SELECT last_price FROM tickers p WHERE p.instrument_id = i.instrument_id "
        "ORDER BY observed_at DESC LIMIT 1) k ON true ORDER BY 2"
    )
    assert [(source, right, rank) for source, _, right, rank in rows] == [("binance_futures", True, None)] * 3
    parsers = {name: kind.parsers for name, kind in SOURCES.items()}
    assert replay(two_venues.database, report.cycle_id, parsers=parsers).differences == ()
