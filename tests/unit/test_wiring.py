"""What settings become: each mistake one line, keys where they belong, a collector lent whole."""

import logging
import threading
from datetime import timedelta

import pytest

from collector import demo, providers, wiring
from collector.clock import ManualClock, SystemClock
from collector.config import LogSettings
from collector.errors import ConfigError, LockHeld, RateLimited
from collector.log import set_up_logging, tear_down_logging
from collector.records import CycleReport, CycleState, Dataset, Job
from collector.simulator import Simulator
from collector.simulator.wire import json_response
from collector.sources import SOURCES
from collector.sources.base import Cost
from collector.storage.database import Database
from collector.storage.providers import ProviderStore
from collector.storage.reader import Reader
from collector.storage.writer import Writer
from tests.conftest import NOW
from tests.unit.cycle_rig import SMALL, frozen_market, only, settings_of

CANARY = "CG-canary-0123456789"


def source(name, **values):
    return {"sources": {name: values}}


def okx(dataset, **values):
    return source("okx", datasets={dataset: values})


def extra(function, **parameters):
    return {"indicators": {"extra": [{"function": function, "parameters": parameters}]}}


MISTAKES = {
    "unknown source": (source("krakken"), "sources.krakken", "no such source", "known are", "okx"),
    "unknown plan": (source("okx", plan="gold"), "sources.okx.plan", "'gold'", "use one of public"),
    "misspelt plan": (source("coingecko", plan="Demo"), "sources.coingecko.plan", "'Demo'", "public, demo, basic"),
    "key without plan": (
        source("coingecko", api_key=CANARY),
        "sources.coingecko.api_key",
        "'public' uses no key",
        "set sources.coingecko.plan to one of demo",
    ),
    "key where there is none": (source("okx", api_key=CANARY), "sources.okx.api_key", "'public'", "remove the key"),
    "plan without key": (
        source("coingecko", plan="pro"),
        "sources.coingecko.api_key",
        "'pro' needs a key",
        "COLLECTOR_SOURCES__COINGECKO__API_KEY",
    ),
    "plan with an empty key": (
        source("coingecko", plan="demo", api_key=""),
        "sources.coingecko.api_key",
        "'demo' needs a key",
        "COLLECTOR_SOURCES__COINGECKO__API_KEY",
    ),
    "key that cannot be sent": (
        source("coingecko", plan="demo", api_key=CANARY + "\u00e9"),
        "sources.coingecko.api_key",
        "holds a character",
        "copy the key again",
    ),
    "dataset of another source": (
        okx("listing", cadence="daily"),
        "sources.okx.datasets.listing",
        "does not give it",
        "it gives",
        "order_books",
    ),
    "book of an aggregator": (
        source("coingecko", datasets={"order_books": {"cadence": "market"}}),
        "sources.coingecko.datasets.order_books",
        "it gives",
        "markets",
    ),
    "candles without intervals": (
        okx("candles", intervals=[]),
        "sources.okx.datasets.candles.intervals",
        "is empty",
        "as [1m, 1h]",
    ),
    "intervals where there are none": (
        okx("tickers", intervals=["1m"]),
        "sources.okx.datasets.tickers.intervals",
        "only candles have intervals",
        "remove 1m",
    ),
    "candles of an interval that the source has not": (
        source("coingecko", datasets={"candles": {"intervals": ["1m"]}}),
        "sources.coingecko.datasets.candles.intervals",
        "no 1m candles",
        "it has 4h",
    ),
    "unknown scope": (
        source("okx", limits={"book": {"capacity": 40, "window": "2s"}}),
        "sources.okx.limits.book",
        "no such metered scope",
        "books",
    ),
    "scope of another source": (
        source("binance_futures", limits={"calls": {"capacity": 40, "window": "2s"}}),
        "sources.binance_futures.limits.calls",
        "use one of",
        "weight",
    ),
    "unknown indicator": (extra("CCX"), "indicators.extra", "CCX", "did you mean CCI"),
    "unknown parameter": (extra("CCI", timeperoid=5), "indicators.extra", "'timeperoid'", "did you mean timeperiod"),
    "parameter out of range": (extra("CCI", timeperiod=-5), "indicators.extra", "timeperiod=-5", "refuses"),
    "parameter that is no whole number": (extra("CCI", timeperiod=5.5), "indicators.extra", "5.5", "whole number"),
    "indicator that has no place": (extra("OBV"), "indicators.extra", "OBV", "remove it"),
    "nothing enabled": (only(), "sources", "nothing is enabled", "set enabled: true"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_with_key_value_and_remedy_before_anything_starts(mistake, tmp_path):
    tree, *words = MISTAKES[mistake]
    settings = settings_of({"data_dir": str(tmp_path / "data")}, tree)
    with pytest.raises(ConfigError) as caught, wiring.open_collecting(settings, print):
        pytest.fail("it started")
    text = str(caught.value)
    assert text.startswith(words[0])
    for word in words:
        assert word in text
    assert "\n" not in text
    assert CANARY not in text
    assert not (tmp_path / "data").exists()  # no database was made for settings that cannot be used


def test_an_unknown_cadence_is_named_with_the_known_ones(tmp_path):
    settings = settings_of({"data_dir": str(tmp_path / "data")})
    with pytest.raises(ConfigError, match="--cadence: 'weekly' is no cadence; use one of market, hourly, daily"):
        wiring.run_once(settings, "weekly")
    assert not (tmp_path / "data").exists()


def test_a_look_at_an_unknown_source_names_the_known_ones():
    with (
        pytest.raises(ConfigError, match=r"sources\.bitfinex: no such source; known are"),
        wiring.one_source(settings_of(), "bitfinex"),
    ):
        pytest.fail("it was lent")


def test_the_same_mistakes_in_what_is_switched_off_stop_nobody():
    tree = {"sources": {"krakken": {"enabled": False}, "okx": {"datasets": {"listing": {"enabled": False}}}}}
    tasks = providers.build_tasks(settings_of(only(*SOURCES), tree))
    assert {task.source for task in tasks} == set(SOURCES)


def test_every_registered_source_has_a_task_and_a_log_of_its_own():
    names = {task.source for task in providers.build_tasks(settings_of(only(*SOURCES)))}
    assert names == set(SOURCES)
    assert set(providers.SERVICES) == set(SOURCES)


def test_limits_of_the_settings_replace_the_documented_ones_of_their_scope_alone(clock):
    tree = source("okx", limits={"books": {"capacity": 10, "window": "2s"}})
    built = providers.build_source("okx", settings_of(tree, {"http": {"reserve_pct": 0}}), clock)
    uses = {use.scope: use.capacity for use in built.venue.quota.state().uses}
    providers.close_source(built)
    assert uses["books"] == 10
    assert uses["candles"] == 40


# --------------------------------------------------------------------------- keys


class Spy:
    """Notes the headers and the target of every request."""

    def __init__(self):
        self.seen = []

    def before(self, venue, path, request):
        self.seen.append((venue, path, dict(request.headers), dict(request.query)))

    def after(self, venue, path, request, response):
        return response


@pytest.fixture(scope="module")
def spied():
    spy = Spy()
    with frozen_market(ManualClock(NOW), interceptor=spy) as simulator:
        yield simulator, spy


@pytest.mark.parametrize(
    ("plan", "key", "root", "header"),
    [
        ("public", None, "coingecko", None),
        ("demo", "CG-demo-canary", "coingecko", "x-cg-demo-api-key"),
        ("basic", "CG-pro-canary", "coingecko_pro", "x-cg-pro-api-key"),
        ("pro", "CG-pro-canary", "coingecko_pro", "x-cg-pro-api-key"),
    ],
)
def test_a_key_travels_in_the_header_of_its_plan_and_never_in_an_address_or_a_log(
    spied, clock, tmp_path, plan, key, root, header
):
    simulator, spy = spied
    spy.seen.clear()
    set_up_logging(LogSettings(directory=tmp_path, level="DEBUG"), console=None)
    settings = settings_of(source("coingecko", plan=plan, api_key=key, base_url=simulator.base_urls[root]))
    built = providers.build_source("coingecko", settings, clock)
    try:
        (answer,) = built.collector.fetch(Job(source="coingecko", dataset=Dataset.GLOBAL))
    finally:
        providers.close_source(built)
        tear_down_logging()
    assert answer.status == 200
    ((venue, path, headers, query),) = spy.seen
    assert (venue, path) == (root, "/global")
    assert {name: value for name, value in headers.items() if name.startswith("x-cg-")} == (
        {header: key} if key else {}
    )
    assert query == {}
    log = (tmp_path / "collector.log").read_text()
    assert "call_answered" in log
    assert "canary" not in log
    assert "canary" not in repr(settings)


def test_a_key_that_is_sent_behind_a_word_gets_it(spied, clock):
    simulator, spy = spied
    spy.seen.clear()
    settings = settings_of(source("coincap", api_key=CANARY), addresses=simulator.base_urls)
    built = providers.build_source("coincap", settings, clock)
    try:
        (answer,) = built.collector.fetch(Job(source="coincap", dataset=Dataset.MARKETS, limit=3))
    finally:
        providers.close_source(built)
    assert answer.status == 200
    ((venue, path, headers, query),) = spy.seen
    assert (venue, path, query) == ("coincap", "/assets", {"limit": "3", "offset": "0"})
    assert headers["authorization"] == f"Bearer {CANARY}"


@pytest.mark.parametrize(
    ("plan", "key", "root"),
    [
        ("public", None, "https://api.coingecko.com/api/v3"),
        ("demo", CANARY, "https://api.coingecko.com/api/v3"),
        ("pro", CANARY, "https://pro-api.coingecko.com/api/v3"),
    ],
)
def test_without_an_address_the_plan_decides_on_the_root(clock, plan, key, root):
    built = providers.build_source("coingecko", settings_of(source("coingecko", plan=plan, api_key=key)), clock)
    providers.close_source(built)
    assert built.venue.base_url == root


def test_every_source_goes_to_the_address_of_the_settings(clock):
    addresses = {name: f"http://127.0.0.1:9/{name}" for name in SOURCES}
    settings = settings_of(source("coincap", api_key=CANARY), addresses=addresses)
    for name in SOURCES:
        built = providers.build_source(name, settings, clock)
        providers.close_source(built)
        assert built.venue.base_url == addresses[name]


# --------------------------------------------------------------------------- a collector, lent whole


@pytest.fixture(scope="module")
def live():
    """A simulated market on the machine's clock."""
    with Simulator(seed=7, assets=45, limits=False) as running:
        yield running


@pytest.fixture
def settings(live, migrated_url, tmp_path):
    return small_settings(live, migrated_url, tmp_path)


def small_settings(simulator, url, folder):
    trees = (SMALL, only("okx"), {"database": {"url": url}, "data_dir": str(folder), "simulated": True})
    return settings_of(*trees, addresses=simulator.base_urls, logs=folder / "logs")


def test_one_cycle_from_settings_and_an_empty_database_alone(live, database_url, tmp_path):
    settings, said = small_settings(live, database_url, tmp_path), []
    with wiring.open_collecting(settings, said.append) as collecting:
        report = collecting.runner.run("market")
        cycles = collecting.reader.recent_cycles()
    assert report.state is CycleState.OK
    assert report.simulated
    assert [cycle.state for cycle in cycles] == [CycleState.OK]
    assert cycles[0].simulated
    assert said[0].startswith("database: postgresql://")
    assert any(line.startswith("database: applied ") for line in said)


def test_a_second_collector_is_refused_with_one_line_that_names_the_first(settings):
    with wiring.open_collecting(settings, lambda _: None):
        with pytest.raises(LockHeld) as caught, wiring.open_collecting(settings, lambda _: None):
            pytest.fail("two collectors at once")
        assert "\n" not in str(caught.value)
        assert "collector pid=" in str(caught.value)
    with wiring.open_collecting(settings, lambda _: None):
        pass  # the lock went with the first


def test_a_look_by_hand_obeys_what_the_collector_was_told(settings, migrated_url):
    database = Database(migrated_url, clock=SystemClock())
    store = ProviderStore(database)
    store.save_state("okx", SystemClock().now() + timedelta(hours=1), "HTTP 418: banned", banned=True)
    with wiring.one_source(settings, "okx") as collector, pytest.raises(RateLimited, match="HTTP 418: banned"):
        list(collector.fetch(Job(source="okx", dataset=Dataset.TICKERS)))
    database.close()


def test_a_look_by_hand_needs_no_database_where_there_is_none(tmp_path, live):
    settings = settings_of(addresses=live.base_urls).model_copy(update={"data_dir": tmp_path / "none"})
    with wiring.one_source(settings, "okx") as collector:
        assert list(collector.fetch(Job(source="okx", dataset=Dataset.TICKERS)))
    assert not (tmp_path / "none").exists()


def test_what_a_dead_process_left_running_is_abandoned_and_its_pause_obeyed(settings, migrated_url):
    before = Database(migrated_url, clock=SystemClock())
    writer, now = Writer(before), SystemClock().now()
    writer.begin_cycle("market", now, instance="dead:1", folder="f", simulated=True)
    ProviderStore(before).save_state("okx", now + timedelta(hours=1), "too many requests", banned=True)
    with wiring.open_collecting(settings, lambda _: None) as collecting:
        states = [cycle.state for cycle in collecting.reader.recent_cycles()]
        venue = collecting.runner._sources["okx"].venue
        with pytest.raises(RateLimited, match="too many requests"):
            venue.quota.acquire(Cost(scope="books"), venue._clock.monotonic() + 1)
    before.close()
    assert states == [CycleState.ABANDONED]


def test_a_ban_outlives_the_process_that_met_it(settings, live):
    class Ban:
        def before(self, venue, path, request):
            return json_response({"code": "50011", "msg": "Too Many Requests"}, 429, {"Retry-After": "900"})

        def after(self, venue, path, request, response):
            return response

    live.interceptor = Ban()
    try:
        with wiring.open_collecting(settings, lambda _: None) as collecting:
            report = collecting.runner.run("market")
    finally:
        live.interceptor = None
    assert report.state is CycleState.FAILED
    asked = sum(live.requests.values())
    with wiring.open_collecting(settings, lambda _: None) as collecting:
        report = collecting.runner.run("market")
    assert report.state is CycleState.FAILED
    assert sum(live.requests.values()) == asked  # not one request before the time is over


def test_a_stop_reaches_every_wait_of_a_lent_collector(settings):
    with wiring.open_collecting(settings, lambda _: None) as collecting:
        venue = collecting.runner._sources["okx"].venue
        waiting, ended = threading.Event(), threading.Event()

        def wait():
            clock = venue._clock
            venue.quota.pause(clock.now() + timedelta(minutes=5), "a pause")
            waiting.set()
            with pytest.raises(RateLimited, match="collector stops"):
                venue.quota.acquire(Cost(scope="books"), clock.monotonic() + 1000)
            ended.set()

        thread = threading.Thread(target=wait)
        thread.start()
        assert waiting.wait(5)
        collecting.runner.stop()
        assert ended.wait(5)
        thread.join()


def test_closing_leaves_no_thread_and_no_log_handler(settings):
    def alive():  # the watch over calls' deadlines is one per process and stays
        return {thread for thread in threading.enumerate() if thread.name != "http-deadlines"}

    before = alive(), len(logging.getLogger("collector").handlers)
    with wiring.open_collecting(settings, lambda _: None) as collecting:
        collecting.runner.run("market")
    assert (alive(), len(logging.getLogger("collector").handlers)) == before


# --------------------------------------------------------------------------- what runs at once


def test_the_first_cadence_and_those_whose_turn_was_missed_are_overdue(database):
    now, writer = SystemClock().now(), Writer(database)
    ages = {"market": timedelta(seconds=1), "hourly": timedelta(minutes=59), "daily": timedelta(days=2)}
    for cadence, age in ages.items():
        cycle = writer.begin_cycle(cadence, now - age, instance="a:1", folder="f", simulated=False)
        finish(writer, cycle, cadence, now - age)
    assert wiring._overdue(settings_of(), Reader(database)) == ["market", "daily"]


def test_before_any_cycle_everything_is_overdue(database):
    assert wiring._overdue(settings_of(), Reader(database)) == ["market", "hourly", "daily"]


def finish(writer, cycle, cadence, at):
    writer.finish_cycle(
        CycleReport(cycle_id=cycle, cadence=cadence, state=CycleState.OK, started_at=at, finished_at=at, sources=())
    )


# --------------------------------------------------------------------------- small print


def test_the_database_is_described_without_its_password():
    tree = {"database": {"url": "postgresql://me:canary@db.example:5432/market"}}
    settings = settings_of(tree)
    database = Database(settings.database.url.get_secret_value(), clock=SystemClock())
    assert wiring.describe_database(settings, database) == "postgresql://me:***@db.example:5432/market"


def test_the_demo_has_settings_of_its_own_whatever_the_user_set():
    mine = {
        "database": {"url": "postgresql://prod/market"},
        "sources": {"coingecko": {"plan": "pro", "api_key": CANARY}},
    }
    settings = settings_of(mine, demo.demo_layer().tree)
    assert settings.simulated
    assert settings.database.url.get_secret_value() == ""
    apart = demo.apart(settings)
    assert apart.data_dir == settings.data_dir / "demo"
    assert apart.logs.directory == settings.logs.directory / "demo"
    assert settings.sources["coingecko"].plan == "public"
    assert settings.sources["coingecko"].api_key is None


def test_only_sources_are_sent_to_the_simulator():
    addresses = {"okx": "http://127.0.0.1:9/okx", "coingecko_pro": "http://127.0.0.1:9/pro"}
    assert demo.addresses_layer(addresses).tree == {"sources": {"okx": {"base_url": "http://127.0.0.1:9/okx"}}}
