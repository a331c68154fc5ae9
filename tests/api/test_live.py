"""Providers asked for a client: within their limits, within the time, checked, and how they are said to be."""

import threading
from datetime import timedelta

import pytest

from collector import providers
from collector.api.live import SEATS, LiveProviders
from collector.clock import SystemClock
from collector.errors import AccessDenied, PayloadError, RateLimited, RequestRejected, VenueError, VenueUnreachable
from collector.records import Dataset, Instrument, InstrumentListing, Interval, Job, Kind
from collector.simulator import Fault, Faults
from tests.api.unified_stand import live_on
from tests.conftest import NOW
from tests.unit.cycle_rig import Stand, frozen_market, settings_of

REAL = SystemClock()
SOON = timedelta(seconds=2)
BTC = Instrument(venue="binance_futures", base="BTC", quote="USDT", kind=Kind.PERP, venue_symbol="BTCUSDT")
LISTING = Job(source="kraken", dataset=Dataset.INSTRUMENTS)


def hours(source="binance_futures", count=3, interval=Interval.H1):
    return Job(
        source=source,
        dataset=Dataset.CANDLES,
        instruments=(BTC,),
        interval=interval,
        since=NOW.replace(minute=0, second=0) - count * interval.width,
        until=NOW + timedelta(hours=1),
    )


def test_records_come_parsed_and_checked_and_without_the_running_bar(clock):
    with frozen_market(clock) as simulator, live_on(simulator, clock) as live:
        bars = live.ask(hours(), within=SOON)
    assert [bar.open_time.hour for bar in bars] == [11, 12, 13]
    assert all(bar.closed and bar.source == "binance_futures" for bar in bars)


def test_rows_that_cannot_be_believed_are_left_out(clock):
    faults = Faults([Fault("negative_prices", "binance_futures")])
    with frozen_market(clock, interceptor=faults) as simulator, live_on(simulator, clock) as live:
        assert live.ask(hours(), within=SOON) == ()


@pytest.mark.parametrize(
    ("job", "reason"),
    [
        (Job(source="nobody", dataset=Dataset.TICKERS), "is not enabled"),
        (Job(source="kraken", dataset=Dataset.SENTIMENT), "has no sentiment"),
        (hours("kraken", interval=Interval.W1), "has no 1w candles"),
    ],
)
def test_what_a_provider_does_not_have_is_refused_without_a_call(clock, job, reason):
    with frozen_market(clock) as simulator, live_on(simulator, clock, names=("kraken",)) as live:
        with pytest.raises(RequestRejected, match=reason):
            live.ask(job, within=SOON)
        assert not simulator.requests


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("forbidden", AccessDenied),
        ("geo_blocked", AccessDenied),
        ("error_500", VenueUnreachable),
        ("html", PayloadError),
        ("refused_for_ages", RateLimited),
    ],
)
def test_a_failure_is_an_error_of_ours(clock, kind, error):
    with (
        frozen_market(clock, interceptor=Faults([Fault(kind, "kraken")])) as simulator,
        live_on(simulator, clock, names=("kraken",)) as live,
        pytest.raises(error),
    ):
        live.ask(LISTING, within=SOON)


def test_a_silent_provider_costs_the_time_it_was_given(clock):
    with (
        frozen_market(clock, interceptor=Faults([Fault("silence", "kraken")])) as simulator,
        live_on(simulator, REAL, names=("kraken",)) as live,
    ):
        began = REAL.monotonic()
        with pytest.raises(VenueUnreachable, match=r"no complete answer .* within 0\."):
            live.ask(LISTING, within=timedelta(seconds=0.3))
        assert 0.25 < REAL.monotonic() - began < 0.6
        # The connection was cut, so that the thread is free again.
        assert live.health()["kraken"].latency_ms == pytest.approx(300, abs=150)


def test_a_refused_provider_is_not_asked_again_before_its_pause_is_over(clock):
    faults = Faults([Fault("refused_for_ages", "kraken")])
    with frozen_market(clock, interceptor=faults) as simulator, live_on(simulator, clock, names=("kraken",)) as live:
        for _ in range(3):
            with pytest.raises(RateLimited):
                live.ask(LISTING, within=SOON)
        assert simulator.requests["kraken", "/0/public/AssetPairs"] == 1
        health = live.health()["kraken"]
        assert health.status == "offline"  # for longer than five minutes
        assert health.retry_after > 300


def test_health_goes_from_offline_to_online_with_a_good_probe(clock):
    faults = Faults([Fault("geo_blocked", "kraken", count=1)])
    with frozen_market(clock, interceptor=faults) as simulator, live_on(simulator, clock, names=("kraken",)) as live:
        assert live.health()["kraken"].status == "online"
        with pytest.raises(AccessDenied):
            live.ask(LISTING, within=SOON)
        told = live.health()["kraken"]
        assert (told.status, told.retry_after) == ("offline", 3600)
        assert told.reason.startswith("access refused: ")
        clock.advance(3601)
        assert isinstance(live.ask(LISTING, within=SOON)[0], InstrumentListing)
        told = live.health()["kraken"]
        assert (told.status, told.reason, told.retry_after) == ("online", "", None)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("geo_blocked", "access was refused"), ("error_500", "no answer to the last calls")],
)
def test_once_its_back_off_is_over_a_provider_is_being_tried_again_before_anybody_asks(clock, kind, reason):
    faults = Faults([Fault(kind, "kraken")])
    with frozen_market(clock, interceptor=faults) as simulator, live_on(simulator, clock, names=("kraken",)) as live:
        for _ in range(6):
            with pytest.raises(VenueError):
                live.ask(LISTING, within=SOON)
        told = live.health()["kraken"]
        assert told.status == "offline"
        clock.advance(told.retry_after + 1)
        told = live.health()["kraken"]
        assert (told.status, told.retry_after) == ("degraded", None)
        assert told.reason.startswith(f"being tried again; {reason}")
        with pytest.raises(VenueError):
            live.ask(LISTING, within=SOON)
        assert live.health()["kraken"].status == "offline"


def test_a_provider_of_whose_limit_the_share_is_too_small_costs_itself_alone(clock):
    tree = {"sources": {"coincap": {"enabled": True, "api_key": "a-key"}}}
    with frozen_market(clock) as simulator:
        settings = settings_of(tree, addresses=simulator.base_urls)
        # 5 % of 600 credits a minute are 30; a page of 250 assets of 500 bytes costs 1 + 50
        source = providers.build_source("coincap", settings, clock, share=0.05)
        live = LiveProviders([(source.collector, source.venue)], clock)
        try:
            with pytest.raises(
                VenueError, match=r"smaller than one call; raise http\.reserve_pct .*weight 51.* allows 30"
            ):
                live.ask(Job(source="coincap", dataset=Dataset.MARKETS, limit=250), within=SOON)
            assert not simulator.requests
            assert live.health()["coincap"].status == "online"
        finally:
            live.close()
            providers.close_source(source)


@pytest.mark.parametrize("where", ["on_fetch", "on_parse"])
@pytest.mark.parametrize("defect", [ValueError("x"), KeyError("x"), TypeError("x"), ZeroDivisionError(), IndexError()])
def test_a_defect_of_a_source_is_an_error_of_that_provider(where, defect):
    def broken(_):
        raise defect

    stand = Stand("broken", datasets=(Dataset.INSTRUMENTS,))
    setattr(stand, where, broken)
    source = stand.source(REAL)
    live = LiveProviders([(source.collector, source.venue)], REAL)
    try:
        with pytest.raises(PayloadError, match=f"could not be read: a defect .{type(defect).__name__}"):
            live.ask(Job(source="broken", dataset=Dataset.INSTRUMENTS), within=SOON)
    finally:
        live.close()
        providers.close_source(source)


def test_a_call_that_was_held_back_says_nothing_of_latency(clock):
    with frozen_market(clock) as simulator, live_on(simulator, clock, names=("kraken",)) as live:
        live.venues["kraken"].quota.pause(NOW + timedelta(hours=1), "banned", banned=True)
        with pytest.raises(RateLimited):
            live.ask(LISTING, within=SOON)
        told = live.health()["kraken"]
        assert (told.latency_ms, told.last_check, told.status) == (None, None, "offline")


def test_a_provider_that_holds_all_its_threads_does_not_take_those_of_others():
    stuck, free = Stand("stuck", datasets=(Dataset.INSTRUMENTS,)), Stand("free", datasets=(Dataset.INSTRUMENTS,))
    gate = threading.Event()
    stuck.on_fetch = lambda _job: gate.wait(10)
    free.on_parse = lambda _payload: []
    sources = [stand.source(REAL) for stand in (stuck, free)]
    live = LiveProviders([(source.collector, source.venue) for source in sources], REAL)
    try:
        for _ in range(SEATS):
            with pytest.raises(VenueUnreachable, match="no answer within"):
                live.ask(Job(source="stuck", dataset=Dataset.INSTRUMENTS), within=timedelta(seconds=0.05))
        with pytest.raises(VenueUnreachable, match="4 calls to it are under way"):
            live.ask(Job(source="stuck", dataset=Dataset.INSTRUMENTS), within=timedelta(seconds=0.05))
        assert live.ask(Job(source="free", dataset=Dataset.INSTRUMENTS), within=SOON) == ()
    finally:
        gate.set()
        live.close()
        for source in sources:
            providers.close_source(source)


def test_what_other_processes_were_told_is_looked_at_before_a_call(clock):
    with frozen_market(clock) as simulator:
        source = providers.build_source("kraken", settings_of({}, addresses=simulator.base_urls), clock)
        until = NOW + timedelta(hours=1)
        live = LiveProviders(
            [(source.collector, source.venue)], clock, keep=lambda: source.venue.quota.pause(until, "told to others")
        )
        with pytest.raises(RateLimited, match="told to others"):
            live.ask(LISTING, within=SOON)
        assert not simulator.requests
        live.close()
        providers.close_source(source)


def test_a_slow_exchange_with_other_processes_holds_up_no_call(clock):
    gate = threading.Event()
    with frozen_market(clock) as simulator:
        source = providers.build_source("kraken", settings_of({}, addresses=simulator.base_urls), REAL)
        live = LiveProviders([(source.collector, source.venue)], REAL, keep=lambda: gate.wait(10))
        assert live.ask(LISTING, within=SOON)
        gate.set()
        live.close()
        providers.close_source(source)
