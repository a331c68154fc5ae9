"""What is followed, kept in the database: matched by price, dropped when delisted, said once."""

from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import text

from collector.config import LogSettings, UniverseSettings
from collector.following import DatabaseFollower
from collector.log import set_up_logging, tear_down_logging
from collector.plan import Known, Task
from collector.records import Asset, Batch, Dataset, Interval, Job, MarketSnapshot, Ticker
from collector.sources.base import Shape
from collector.storage.reader import Reader
from collector.storage.writer import Writer
from tests.conftest import NOW
from tests.unit.cycle_rig import bars, listed, mark, perpetual

BTC, ETH, PEPE = (perpetual(base, "okx") for base in ("BTC", "ETH", "1000PEPE"))
COINS = {"bitcoin": ("BTC", 1, "70000"), "ethereum": ("ETH", 2, "3500"), "pepe": ("PEPE", 3, "0.00001")}
PRICES = {BTC: "70010", ETH: "3490", PEPE: "0.01002"}

CANDLES = Task(
    source="okx", dataset=Dataset.CANDLES, shape=Shape.EACH, cadence="market", intervals=(Interval.M1,), history=10
)
FUNDING = Task(source="okx", dataset=Dataset.FUNDING, shape=Shape.EACH, cadence="hourly")
TICKERS = Task(source="okx", dataset=Dataset.TICKERS, shape=Shape.BULK, cadence="market")
DETAILS = Task(source="coingecko", dataset=Dataset.ASSET_DETAILS, shape=Shape.EACH_ASSET, cadence="hourly")
ALL_TASKS = (CANDLES, FUNDING, TICKERS, DETAILS)


def turnover(instrument, price, volume, now):
    empty = dict.fromkeys(("bid_price", "bid_size", "ask_price", "ask_size", "open_24h", "high_24h", "low_24h"))
    return Ticker(
        source="okx",
        observed_at=now,
        received_at=now,
        instrument=instrument,
        last_price=Decimal(price),
        volume_24h=Decimal(volume),
        quote_volume_24h=None,
        change_24h_pct=None,
        **empty,
    )


class World:
    """A database with what providers said, and a follower on it."""

    def __init__(self, database, clock, folder, **settings):
        self.database, self.clock, self.folder = database, clock, folder
        self.reader, self.writer = Reader(database), Writer(database)
        self.settings = UniverseSettings(**{"top": 10, **settings})
        self.cycle = self.writer.begin_cycle("market", NOW, instance="test:1", folder="f", simulated=True)
        self.follower = self.new_follower()

    def new_follower(self, **settings):
        chosen = self.settings.model_copy(update=settings)
        return DatabaseFollower(chosen, self.reader, self.writer, self.clock)

    def store(self, records, dataset, source="okx"):
        job = Job(source=source, dataset=dataset)
        at = self.clock.now()
        self.writer.write(self.cycle, [Batch(job=job, records=tuple(records), started_at=at, finished_at=at)])

    def coins(self, coins=COINS):
        now = self.clock.now()
        stamp = {"source": "coingecko", "observed_at": now, "received_at": now}
        assets = [Asset(**stamp, asset_id=name, symbol=symbol, name=name) for name, (symbol, _, _) in coins.items()]
        ranks = [
            MarketSnapshot(
                **stamp, asset_id=name, rank=rank, price_usd=price and Decimal(price), market_cap_usd=Decimal(10**9)
            )
            for name, (_, rank, price) in coins.items()
            if rank is not None
        ]
        self.store(assets, Dataset.LISTING, "coingecko")
        self.store(ranks, Dataset.MARKETS, "coingecko")

    def instruments(self, *items, **changes):
        now = self.clock.now()
        self.store([listed(item, "okx", now, **changes) for item in items], Dataset.INSTRUMENTS)

    def prices(self, prices=None):
        now = self.clock.now()
        self.store([mark(item, price, "okx", now) for item, price in (prices or PRICES).items()], Dataset.MARK_PRICES)

    def usual(self):
        self.coins()
        self.instruments(BTC, ETH, PEPE)
        self.prices()
        self.follower.refresh()
        return self

    def stored(self):
        return {row.instrument.base: row for row in self.reader.load_instruments()}

    def followed(self):
        return [row.instrument.base for row in self.reader.load_instruments(followed=True)]

    def rows(self, query):
        with self.database.reading() as connection:
            return [tuple(row) for row in connection.execute(text(query))]

    def said(self, word):
        lines = (self.folder / "collector.log").read_text().splitlines()
        return [line for line in lines if word in line]


@pytest.fixture
def world(database, clock, tmp_path):
    set_up_logging(LogSettings(directory=tmp_path), console=None)
    yield World(database, clock, tmp_path)
    tear_down_logging()


def test_an_empty_database_gives_an_empty_known(world):
    known = world.follower.known(ALL_TASKS, NOW)
    assert known == Known(
        now=NOW,
        instruments={"okx": []},
        followed={"okx": []},
        assets=[],
        last_opens={},
        last_fundings={},
        asset_turns={("coingecko", Dataset.ASSET_DETAILS): {}},
    )
    assert world.follower.last_ok() == {}


def test_nothing_is_read_for_tasks_that_need_nothing(world):
    whole = Task(source="coingecko", dataset=Dataset.LISTING, shape=Shape.WHOLE, cadence="daily")
    known = world.usual().follower.known((whole,), NOW)
    assert known == Known(now=NOW, assets=["bitcoin", "ethereum", "pepe"])


def test_choosing_from_an_empty_database_is_no_error(world):
    world.follower.refresh()
    assert world.followed() == []
    assert world.said("universe_changed") == []


def test_instruments_are_matched_by_price_and_followed(world):
    world.usual()
    stored = world.stored()
    assert world.followed() == ["1000PEPE", "BTC", "ETH"]
    assert (stored["BTC"].asset_id, stored["BTC"].asset_units) == ("bitcoin", 1)
    assert (stored["1000PEPE"].asset_id, stored["1000PEPE"].asset_units) == ("pepe", 1000)
    assert {row.match_state for row in stored.values()} == {"matched"}
    known = world.follower.known(ALL_TASKS, NOW)
    assert known.assets == ["bitcoin", "ethereum", "pepe"]  # by rank
    assert known.followed["okx"] == known.instruments["okx"] == [PEPE, BTC, ETH]


def test_an_instrument_whose_price_fits_no_coin_is_listed_and_not_followed(world):
    world.coins()
    world.instruments(BTC, ETH)
    world.prices({BTC: "70010", ETH: "12"})  # another coin of the same ticker symbol
    world.follower.refresh()
    assert world.followed() == ["BTC"]
    (unmatched,) = world.reader.unmatched_instruments()
    assert unmatched.instrument == ETH
    assert "ethereum" in unmatched.match_detail


def test_an_instrument_without_a_price_yet_is_not_guessed(world):
    world.coins()
    world.instruments(BTC)
    world.follower.refresh()
    assert world.followed() == []
    assert world.stored()["BTC"].match_detail.startswith("no price yet")


def test_only_the_top_assets_are_followed_beside_included_ones(world):
    world.usual()
    world.new_follower(top=1, include=("pepe",)).refresh()
    assert world.followed() == ["1000PEPE", "BTC"]


def test_without_a_fresh_ranking_what_was_followed_goes_on(world):
    world.usual()
    world.clock.advance(49 * 3600)
    world.prices({BTC: "99999", ETH: "1", PEPE: "1"})  # no price to compare with: no verdict is changed
    world.follower.refresh()
    assert world.followed() == ["1000PEPE", "BTC", "ETH"]
    assert world.stored()["BTC"].asset_id == "bitcoin"
    assert world.follower.known(ALL_TASKS, world.clock.now()).assets == ["bitcoin", "ethereum", "pepe"]
    (line,) = world.said("universe_note")
    assert "no ranking of assets is known" in line


def test_a_venue_is_collected_by_turnover_until_a_first_ranking_comes(world):
    world.instruments(BTC, ETH, PEPE)
    now = world.clock.now()
    traded = [turnover(BTC, "70000", "10", now), turnover(ETH, "3500", "1000", now), turnover(PEPE, "0.01", "5", now)]
    world.store(traded, Dataset.TICKERS)
    world.new_follower(top=2).refresh()
    assert world.followed() == ["BTC", "ETH"]  # 700 000 and 3 500 000 of quote a day against 0.05
    assert world.stored()["BTC"].asset_id is None
    world.coins()
    world.prices()
    world.follower.refresh()
    assert world.followed() == ["1000PEPE", "BTC", "ETH"]
    assert world.stored()["BTC"].asset_id == "bitcoin"


def test_a_delisted_instrument_is_kept_and_not_followed_any_more(world):
    world.usual()
    world.clock.advance(3600)
    world.instruments(BTC, PEPE)  # ETH is gone from the list
    world.follower.refresh()
    gone = world.stored()["ETH"]
    assert gone.gone_at is not None
    assert not gone.followed
    assert (gone.asset_id, gone.match_state) == ("ethereum", "matched")
    assert world.followed() == ["1000PEPE", "BTC"]
    known = world.follower.known(ALL_TASKS, NOW)
    assert ETH not in known.instruments["okx"]
    assert ETH not in known.followed["okx"]
    assert world.rows("SELECT count(*) FROM mark_prices") == [(3,)]


def test_a_delisted_instrument_that_comes_back_is_followed_again(world):
    world.usual()
    world.clock.advance(3600)
    world.instruments(BTC, PEPE)
    world.follower.refresh()
    world.clock.advance(3600)
    world.instruments(BTC, ETH, PEPE)
    world.follower.refresh()
    assert world.followed() == ["1000PEPE", "BTC", "ETH"]


def test_an_instrument_that_does_not_trade_now_is_not_followed_and_stops_nobody_else(world):
    world.usual()
    world.clock.advance(3600)
    now = world.clock.now()
    halted = listed(ETH, "okx", now, status="suspend", tradable=False)
    world.store([halted, listed(BTC, "okx", now), listed(PEPE, "okx", now)], Dataset.INSTRUMENTS)
    world.follower.refresh()
    assert world.followed() == ["1000PEPE", "BTC"]
    assert world.follower.known((TICKERS,), now).instruments["okx"] == [PEPE, BTC]


def test_a_renamed_coin_is_recorded_and_stays_matched(world):
    world.usual()
    world.clock.advance(3600)
    world.coins({**COINS, "ethereum": ("ETHX", 2, "3500")})
    world.prices()
    world.follower.refresh()
    assert "ETH" in world.followed()
    changes = world.reader.listing_changes()
    assert any((item.subject, item.old, item.new) == ("ethereum", "ETH", "ETHX") for item in changes)


def test_a_coin_that_left_the_listing_takes_its_instrument_with_it_only(world):
    world.usual()
    world.clock.advance(3600)
    world.coins({name: coin for name, coin in COINS.items() if name != "ethereum"})
    world.prices()
    world.follower.refresh()
    assert world.followed() == ["1000PEPE", "BTC"]
    assert "not listed any more" in world.stored()["ETH"].match_detail


def test_a_note_is_said_once_until_it_changes(world):
    world.coins()
    world.instruments(BTC)
    world.prices({BTC: "70010"})
    follower = world.new_follower(include=("nothing-of-that-name",))
    for _ in range(3):
        follower.refresh()
    (line,) = world.said("universe_note")
    assert "nothing-of-that-name" in line


def test_a_universe_that_stays_is_not_written_or_said_again(world):
    world.usual()
    world.follower.refresh()
    assert len(world.said("universe_changed")) == 1


def test_the_newest_bars_payments_and_turns_are_known(world):
    world.usual()
    job = Job(
        source="okx",
        dataset=Dataset.CANDLES,
        instruments=(BTC,),
        interval=Interval.M1,
        since=NOW.replace(minute=30, second=0),
        until=NOW.replace(minute=37, second=0),
    )
    payload = type("Answer", (), {"job": job, "received_at": NOW})
    world.store(list(bars(payload)), Dataset.CANDLES)
    turn = Job(source="coingecko", dataset=Dataset.ASSET_DETAILS, assets=("bitcoin",))
    world.writer.write(world.cycle, [Batch(job=turn, started_at=NOW, finished_at=NOW)])
    known = world.follower.known(ALL_TASKS, NOW)
    assert known.last_opens == {(BTC.id, Interval.M1): NOW.replace(minute=36, second=0)}
    assert known.asset_turns == {("coingecko", Dataset.ASSET_DETAILS): {"bitcoin": NOW}}
    assert world.follower.last_ok()["coingecko", Dataset.LISTING] == NOW - timedelta(0)
