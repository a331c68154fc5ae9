"""Cycles while the database is away: what cannot be asked for again waits on disk and returns with its cycle."""

from datetime import timedelta
from decimal import Decimal
from itertools import pairwise

import pytest

from collector.errors import StorageUnavailable
from collector.records import CycleState, Dataset, GlobalMarket
from collector.sources.base import Shape
from collector.storage.writer import Writer
from tests.unit.cycle_rig import Everything, Rig, Stand, frozen_market, only
from tests.unit.test_cycle_stored import DISK_FULL, REFUSE, Outsider

MINUTE_S = 60


@pytest.fixture
def outsider(database):
    session = Outsider(database, "postgres")
    yield session
    session.allow()
    session.connection.close()


class Pulse(Stand):
    """A provider of bars and of one market snapshot per call, whose cap is the count of calls so far."""

    def __init__(self):
        super().__init__(bases=("BTC",), datasets=(Dataset.GLOBAL, Dataset.CANDLES))
        self.calls = 0

    def _parse(self, payload):
        if payload.job.dataset is not Dataset.GLOBAL:
            return super()._parse(payload)
        self.calls += 1
        return [
            GlobalMarket(
                source=self.name,
                observed_at=payload.received_at,
                received_at=payload.received_at,
                market_cap_usd=Decimal(self.calls),
                volume_24h_usd=Decimal(1),
                btc_dominance_pct=None,
                eth_dominance_pct=None,
                market_cap_change_24h_pct=None,
                active_assets=None,
                markets=None,
            )
        ]


@pytest.fixture
def pulse():
    stand = Pulse()
    assert stand.shapes[Dataset.GLOBAL] is Shape.WHOLE
    return stand


def rig_of(pulse, database, clock, folder, **more):
    return Rig(database, clock, folder, stands=(pulse,), follower=Everything([pulse], clock), **more)


def caps(rig):
    found = rig.rows("SELECT market_cap_usd, observed_at, cycle_id FROM global_snapshots ORDER BY observed_at")
    return [int(cap) for cap, *_ in found]


def test_snapshots_of_sixty_cycles_without_a_database_are_all_there_when_it_is_back(
    pulse, database, clock, tmp_path, outsider
):
    with rig_of(pulse, database, clock, tmp_path) as rig:
        assert rig.run().state is CycleState.OK
        outsider.cut(allow=False)
        for _ in range(60):
            clock.advance(MINUTE_S)
            report = rig.run()
            assert (report.cycle_id, report.state, report.spooled) == (0, CycleState.PARTIAL, 1)
        outsider.allow()
        clock.advance(MINUTE_S)
        report = rig.run()
        assert report.state is CycleState.OK
        assert caps(rig) == list(range(1, 63))
        assert list((tmp_path / "spool").iterdir()) == []
        started = rig.rows("SELECT started_at, state, rows_written FROM cycles ORDER BY started_at")
        assert [state for _, state, _ in started] == ["ok", *["partial"] * 60, "ok"]
        assert {later[0] - sooner[0] for sooner, later in pairwise(started)} == {timedelta(minutes=1)}
        assert [rows for *_, rows in started[1:-1]] == [1] * 60
        told = rig.rows(
            "SELECT count(*) FROM global_snapshots g JOIN cycles c USING (cycle_id) WHERE g.observed_at = c.started_at"
        )
        assert told == [(62,)]


def test_bars_that_came_meanwhile_are_fetched_when_the_database_is_back(pulse, database, clock, tmp_path, outsider):
    with rig_of(pulse, database, clock, tmp_path) as rig:
        rig.run()
        outsider.cut(allow=False)
        clock.advance(MINUTE_S)
        rig.run()
        assert [job.dataset for job in pulse.fetched[-1:]] == [Dataset.GLOBAL]  # bars can be asked for later
        outsider.allow()
        clock.advance(MINUTE_S)
        rig.run()
        assert rig.rows("SELECT count(*), max(open_time) - min(open_time) FROM candles") == [(5, timedelta(minutes=4))]


class Unheard(Writer):
    """A writer whose first answers get lost after the database has committed, as when the server dies just then."""

    def __init__(self, database, lost):
        super().__init__(database)
        self.lost = lost

    def write(self, cycle_id, batches):
        results = super().write(cycle_id, batches)
        if self.lost:
            self.lost -= 1
            raise StorageUnavailable("write: server closed the connection unexpectedly")
        return results


@pytest.mark.parametrize("lost", [1, 4], ids=["and repeated", "and given up"])
def test_rows_whose_commit_was_not_heard_of_are_counted_by_their_cycle(pulse, database, clock, tmp_path, lost):
    with rig_of(pulse, database, clock, tmp_path, writer=Unheard(database, lost)) as rig:
        rig.run()
        clock.advance(MINUTE_S)
        rig.run()
        counted = rig.rows(
            "SELECT c.state, c.rows_written, sum(j.rows_written)::int FROM cycles c JOIN jobs j USING (cycle_id) "
            "GROUP BY c.cycle_id ORDER BY c.cycle_id"
        )
        assert [state for state, *_ in counted] == ["ok" if lost == 1 else "partial", "ok"]
        assert all(told == held > 0 for _, told, held in counted)
        assert caps(rig) == [1, 2]


class UnheardEnd(Writer):
    """A writer of whose first end of a cycle nobody hears, however often it is repeated."""

    lost = 4

    def finish_cycle(self, report, *, unheard=False):
        super().finish_cycle(report, unheard=unheard)
        if self.lost:
            self.lost -= 1
            raise StorageUnavailable("finish a cycle: server closed the connection unexpectedly")


def test_an_end_that_was_recorded_without_our_hearing_of_it_stays(pulse, database, clock, tmp_path):
    with rig_of(pulse, database, clock, tmp_path, writer=UnheardEnd(database)) as rig:
        rig.run()
        clock.advance(MINUTE_S)
        rig.run()
        assert rig.rows("SELECT state FROM cycles ORDER BY cycle_id") == [("ok",), ("ok",)]


def test_an_outage_from_the_start_is_an_error_for_nothing_is_known_yet(pulse, database, clock, tmp_path, outsider):
    with rig_of(pulse, database, clock, tmp_path) as rig:
        outsider.cut(allow=False)
        with pytest.raises(StorageUnavailable):
            rig.run()


def test_what_was_spooled_by_a_process_that_died_returns_once_in_the_next(pulse, database, clock, tmp_path, outsider):
    with rig_of(pulse, database, clock, tmp_path) as rig:
        rig.run()
        outsider.cut(allow=False)
        clock.advance(MINUTE_S)
        rig.run()
    outsider.allow()
    clock.advance(MINUTE_S)
    (file,) = (tmp_path / "spool").iterdir()
    content = file.read_bytes()
    with rig_of(pulse, database, clock, tmp_path) as rig:
        rig.run()
        file.write_bytes(content)  # as if the process had died after the commit and before it deleted the file
        clock.advance(MINUTE_S)
        rig.run()
        assert caps(rig) == [1, 2, 3, 4]
        states = [state for (state,) in rig.rows("SELECT state FROM cycles ORDER BY started_at")]
    assert states == ["ok", "partial", "ok", "ok"]


def test_what_does_not_fit_the_spool_is_dropped_oldest_first_and_the_ledger_says_so(
    pulse, database, clock, tmp_path, outsider
):
    with rig_of(pulse, database, clock, tmp_path) as rig:
        rig.run()
        outsider.cut(allow=False)
        clock.advance(MINUTE_S)
        rig.run()
        size = sum(file.stat().st_size for file in (tmp_path / "spool").iterdir())
        rig.runner._outage._spool._cap = int(size * 2.5)
        for _ in range(3):
            clock.advance(MINUTE_S)
            rig.run()
        outsider.allow()
        clock.advance(MINUTE_S)
        rig.run()
        assert caps(rig) == [1, 4, 5, 6]
        states = rig.rows(
            "SELECT state, rows_written, report -> 'sources' -> 0 -> 'errors' ->> 0 FROM cycles ORDER BY started_at"
        )
    dropped = "dropped: the spool was full before the database was back"
    assert [(state, rows) for state, rows, _ in states[1:5]] == [("failed", 0)] * 2 + [("partial", 1)] * 2
    assert [error for *_, error in states[1:3]] == [dropped] * 2


def test_a_disk_that_fills_in_the_middle_of_a_cycle_costs_only_what_can_be_asked_for_again(
    pulse, database, clock, tmp_path
):
    with rig_of(pulse, database, clock, tmp_path) as rig:
        refuse = REFUSE.format(code=DISK_FULL, low=1).replace("ON candles", "ON global_snapshots")
        rig.execute(refuse.replace("NEW.low = 1", "NEW.market_cap_usd < 3"))
        report = rig.run()
        assert (report.state, report.spooled) == (CycleState.PARTIAL, 1)
        rig.execute("DROP TRIGGER refuse ON global_snapshots")
        clock.advance(MINUTE_S)
        assert rig.run().state is CycleState.OK
        assert caps(rig) == [1, 2]
        cycles = rig.rows("SELECT cycle_id FROM global_snapshots ORDER BY observed_at")
        counted = rig.rows("SELECT rows_written FROM cycles WHERE cycle_id = 1")
    assert cycles == [(1,), (2,)]
    assert counted == [(1,)], "the snapshot, when there was room for it"


@pytest.mark.parametrize("known", [True, False])
def test_prices_in_other_ids_cost_the_others_nothing_while_the_database_is_away(
    database, clock, tmp_path, outsider, known
):
    coincap = {"enabled": True, "api_key": "a-key", "datasets": {"markets": {"cadence": "market"}}}
    tree = {"sources": {"coincap": coincap}, "universe": {"top": 10}}
    with (
        frozen_market(clock) as simulator,
        Rig(database, clock, tmp_path, only("coingecko"), tree, simulator=simulator) as rig,
    ):
        assert rig.run("daily").state is CycleState.OK
        for _ in range(2):  # the second time all prices are known, whoever answers first
            assert rig.run().state is CycleState.OK
            clock.advance(MINUTE_S)
        if not known:
            rig.runner._mender._ours = ()  # as in a process that has read none yet
        outsider.cut(allow=False)
        report = rig.run()
        assert report.spooled == (3 if known else 2)  # the market, its coins, and CoinCap's coins in our ids
        outsider.allow()
        clock.advance(MINUTE_S)
        assert rig.run().state is CycleState.OK
        stored = rig.rows(
            "SELECT asset_id FROM market_snapshots JOIN cycles USING (cycle_id) "
            "WHERE source = 'coincap' AND started_at = :at ORDER BY rank",
            at=report.started_at,
        )
    ids = [name for (name,) in stored]
    assert len(ids) == (10 if known else 0)
    assert ("ripple" in ids) == known
    assert "xrp" not in ids
