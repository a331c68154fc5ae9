"""A schedule is accepted only if it fits every limit, and a refusal names the limit, the need and what fits."""

from collections import deque
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector import cli, providers, wiring
from collector.clock import ManualClock, to_millis
from collector.config import Layer, cron_turns, load_settings
from collector.demo import demo_layer
from collector.errors import ConfigError
from collector.plan import Account, Shares, Task, Turns, prove, render_proof
from collector.records import Dataset, Instrument, Interval, Job, Kind
from collector.resilience.quota import Quota
from collector.simulator.limits import CoinGeckoLimits
from collector.sources import SOURCES
from collector.sources.base import Cost, Limit, Shape

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
NOTHING_KEPT = Shares(reserve=0.0, repeats=0.0, healing=0.0)
START = datetime(2026, 1, 1, tzinfo=UTC)


def task(dataset=Dataset.GLOBAL, shape=Shape.WHOLE, cadence="market", **more):
    return Task(source="coingecko", dataset=dataset, shape=shape, cadence=cadence, **more)


def account(*limits, calls=lambda _: [Cost(scope="calls")], instruments=2):
    return Account(
        source="coingecko", plan="demo", limits=limits, calls=calls, instruments=instruments, listed=instruments
    )


def limit(capacity, window, scope="calls"):
    return Limit(scope=scope, capacity=capacity, window=window)


def every(minutes, name="market", deadline=4 * MINUTE):
    return Turns.on_grid(name, minutes * MINUTE, deadline)


TWO_CALLS = (task(), task(Dataset.MARKETS, Shape.RANKED))


def test_a_month_of_credits_is_counted_and_the_nearest_interval_that_fits_is_named():
    # 2 calls every 5 minutes: 31 x 288 x 2 = 17 856. Every 9 minutes: 4 960 x 2 = 9 920; every 8: 5 580 x 2 = 11 160.
    proof = prove(TWO_CALLS, [every(5)], [account(limit(10_000, 31 * DAY))], assets=250, shares=NOTHING_KEPT)
    (violation,) = proof.violations
    assert violation.text.startswith("coingecko (demo): 17 856 of 10 000 calls in a 31-day month")
    assert violation.text.endswith("market: every 9 min fits")
    assert not proof.fits
    nine = prove(TWO_CALLS, [every(9)], [account(limit(10_000, 31 * DAY))], assets=250, shares=NOTHING_KEPT)
    assert nine.fits
    assert nine.lines[0].planned == 9_920


def test_repeats_healing_and_the_reserve_are_kept_out_of_the_schedule():
    # 10 000 less 10 % reserve is 9 000, less 10 % for healing 8 100; with 10 % repeats 7 363 calls may be planned.
    # Every 13 minutes: 3 434 x 2 = 6 868; every 12: 3 720 x 2 = 7 440.
    accounts = [account(limit(10_000, 31 * DAY))]
    assert prove(TWO_CALLS, [every(13)], accounts, assets=250).fits
    refused = prove(TWO_CALLS, [every(12)], accounts, assets=250)
    assert refused.violations[0].text.endswith("market: every 13 min fits")


def test_all_cadences_are_lengthened_when_one_alone_does_not_help():
    # 8 928 + 744 x 12 = 17 856 of 8 940: neither can do it alone; both twice as rare make 4 464 + 372 x 12 = 8 928.
    tasks = [task(), task(Dataset.ASSET_DETAILS, Shape.EACH_ASSET, cadence="hourly", assets=12)]
    turns = [every(5), every(60, "hourly", 10 * MINUTE)]
    proof = prove(tasks, turns, [account(limit(8_940, 31 * DAY))], assets=250, shares=NOTHING_KEPT)
    assert "17 856 of 8 940" in proof.violations[0].text
    assert proof.violations[0].text.endswith("market: every 10 min with hourly: every 2 h fits")


def test_the_message_names_what_is_held_back_and_the_parts_add_up_to_the_limit():
    # 10 000 less 500 is 9 500, less 950 is 8 550, a tenth of repeats on top of 7 772 makes 8 549.2.
    shares = Shares(reserve=0.05, repeats=0.1, healing=0.1)
    (violation,) = prove(TWO_CALLS, [every(5)], [account(limit(10_000, 31 * DAY))], assets=1, shares=shares).violations
    assert (
        "17 856 of 10 000 calls in a 31-day month, of which a schedule may plan 7 772 "
        "(held back: 500 in reserve, 950 for healing, 778 for repeats); market: every 12 min fits"
    ) in violation.text
    assert 500 + 950 + 778 + 7_772 == 10_000


def test_seconds_are_tried_before_minutes():
    # 60 books every 20 s are 180 a minute, of 160: every 25 s makes 144.
    books = task(Dataset.ORDER_BOOKS, Shape.EACH)
    proof = prove(
        [books], [every(1 / 3)], [account(limit(160, MINUTE), instruments=60)], assets=60, shares=NOTHING_KEPT
    )
    assert "180 of 160 calls in 1 min on average; market: every 25 s fits" in proof.violations[0].text


def test_an_absurd_schedule_is_answered_with_interval_and_deadline_at_once():
    # 750 calls, 20 a second: 37 whole seconds of waiting for the last ten.
    tight = account(limit(40, timedelta(seconds=2)), calls=lambda _: [Cost(scope="calls")] * 750)
    second = timedelta(seconds=1)
    (violation,) = prove(
        [task()], [Turns.on_grid("market", second, second)], [tight], assets=1, shares=NOTHING_KEPT
    ).violations
    assert "45 000 of 1 200 calls in 1 min on average, 40 in 2 s" in violation.text
    assert violation.text.endswith("market: every 40 s, deadline 40 s fits")


def test_several_broken_limits_of_one_scope_are_told_once_and_several_providers_get_one_schedule_for_all():
    twice = account(limit(1, timedelta(seconds=1)), limit(5, timedelta(seconds=6)), limit(40, MINUTE))
    other = Account(source="okx", plan="public", limits=[limit(1, MINUTE)], calls=twice.calls, instruments=1, listed=1)
    fast = [every(1 / 60, deadline=MINUTE)]
    tasks = [task(), Task(source="okx", dataset=Dataset.TICKERS, shape=Shape.WHOLE, cadence="market")]
    proof = prove(tasks, fast, [twice, other], assets=1)
    assert [violation.source for violation in proof.violations] == ["coingecko", "okx"]
    # One call a minute, of which 0.9 x 0.9 / 1.1 may be planned: every 2 minutes (every 80 s is not on the grid).
    assert proof.nearest == "market: every 2 min"
    rendered = render_proof(proof)
    assert [rendered.count(violation.text) for violation in proof.violations] == [1, 1]
    assert rendered.endswith("for all providers: market: every 2 min fits")


def test_what_becomes_due_within_a_day_must_fit_into_a_limit_of_a_day():
    # 300 calls once in three days are 100 a day on average, but all of them on one day.
    rare = account(limit(250, DAY), calls=lambda _: [Cost(scope="calls")] * 300)
    proof = prove([task()], [every(3 * 1440)], [rare], assets=1, shares=NOTHING_KEPT)
    assert "up to 300 calls become due in 1 d, in which 250 of 250 may be used" in proof.violations[0].text


def test_a_limit_that_no_interval_keeps_is_told_so():
    proof = prove(TWO_CALLS, [every(5)], [account(limit(1, 31 * DAY))], assets=1, shares=NOTHING_KEPT)
    assert "no interval up to 31 d fits: raise the limit" in proof.violations[0].text


@settings(max_examples=40, deadline=None)
@given(
    every_s=st.sampled_from([1, 5, 20, 60, 300, 900, 3600]),
    capacity=st.integers(1, 3_000),
    window_s=st.sampled_from([2, 60, 300, 31 * 86_400]),
    calls=st.integers(1, 60),
)
def test_the_named_interval_fits_and_the_next_shorter_one_of_the_grid_does_not(every_s, capacity, window_s, calls):
    only = [account(limit(capacity, timedelta(seconds=window_s)), calls=lambda _: [Cost(scope="calls")] * calls)]

    refused = prove([task()], [Turns.on_grid("market", timedelta(seconds=every_s), 31 * DAY)], only, assets=1)
    if refused.fits:
        return
    # By hand: seconds to 5, fives, minutes, quarters, hours, days.
    grid = [1, 2, 3, 4, *range(5, 60, 5), *(60 * n for n in range(1, 60)), *(900 * n for n in range(4, 12))]
    grid += [*(3600 * n for n in range(3, 24)), *(86_400 * n for n in range(1, 32))]
    longer = [timedelta(seconds=value) for value in grid if value > every_s]
    first = next((value for value in longer if fits_by_hand(value, calls, capacity, window_s)), None)
    text = refused.violations[0].text
    assert (f"market: every {told(first)} fits" in text) if first else ("no interval up to 31 d fits" in text)


def fits_by_hand(every, calls, capacity, window_s):
    """Work out by hand whether so many calls fit on average: a tenth each for reserve, healing and repeats."""
    usable = max(1, capacity * 9 // 10) * 0.9 / 1.1 * (31 * 86_400 / window_s)
    return -(-31 * DAY // every) * calls <= usable


def told(value):
    seconds = int(value.total_seconds())
    size, unit = next(
        (size, unit) for size, unit in ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s")) if seconds % size == 0
    )
    return f"{seconds // size} {unit}"


def test_a_call_heavier_than_a_window_is_refused_before_it_can_fail():
    heavy = account(limit(30, MINUTE, "weight"), calls=lambda _: [Cost(scope="weight", weight=40)])
    proof = prove([task()], [every(5)], [heavy], assets=1)
    assert "one call for global weighs 40, but of weight only 27 of 30 may be used in 1 min" in proof.violations[0].text


def test_a_cycle_that_cannot_end_before_its_deadline_is_refused():
    # 60 books, 10 calls a minute: ten leave at once, the last ten after five more windows.
    books = task(Dataset.ORDER_BOOKS, Shape.EACH)
    tight = account(limit(10, MINUTE), instruments=60)
    proof = prove([books], [every(30)], [tight], assets=60, shares=NOTHING_KEPT)
    assert proof.lines[0].times["market"] == 5 * MINUTE
    assert "takes 5 min, longer than its deadline of 4 min; market: deadline 5 min fits" in proof.violations[0].text
    assert proof.violations[0].text.endswith("or following 50 assets instead of 60 fits")  # five windows of ten
    assert prove([books], [every(30, deadline=5 * MINUTE)], [tight], assets=60, shares=NOTHING_KEPT).fits


def test_cycles_that_share_a_window_wait_for_each_other():
    # 6 calls each, 10 a minute: due together, the second has 4 at once and 2 when the first minute is over. Either can
    # be the second.
    tasks = [task(Dataset.ORDER_BOOKS, Shape.EACH), task(Dataset.OPEN_INTEREST, Shape.EACH, cadence="hourly")]
    turns = [every(5), every(60, "hourly")]
    shared = account(limit(10, MINUTE), instruments=6)
    line = prove(tasks, turns, [shared], assets=6, shares=NOTHING_KEPT).lines[0]
    assert line.times == {"market": MINUTE, "hourly": MINUTE}


def test_a_fast_cadence_that_uses_little_of_its_window_waits_for_nothing():
    line = prove([task()], [every(1 / 30)], [account(limit(40, MINUTE))], assets=1, shares=NOTHING_KEPT).lines[0]
    assert line.times == {"market": timedelta(0)}  # 30 calls a minute


def test_long_bars_are_asked_for_when_they_close_and_not_every_cycle():
    candles = task(Dataset.CANDLES, Shape.EACH, intervals=(Interval.M1, Interval.H1, Interval.D1))
    line = prove([candles], [every(5)], [account(limit(1000, MINUTE))], assets=2, shares=NOTHING_KEPT).lines[0]
    assert line.cycles == {"market": 6}  # all three at once, two instruments
    assert line.planned == 2 * (8_928 + 745 + 32)  # an interval can close once more than the month holds of it


def test_a_cron_line_is_counted_by_its_turns():
    assert cron_turns("20 0 * * *") == (DAY, 31)
    assert cron_turns("*/5 * * * *") == (5 * MINUTE, 8_928)
    assert cron_turns("0 9 * * mon") == (7 * DAY, 5)
    assert cron_turns("0 0,6 * * *") == (6 * HOUR, 62)


def test_the_shipped_schedule_and_the_demo_s_fit():
    shipped, _ = load_settings(environment={})
    assert providers.build_proof(shipped).fits
    demo, _ = load_settings(environment={}, overrides=[demo_layer()])
    assert providers.build_proof(demo).fits
    assert "binance_futures  public  2 400 weight / 1 min" in render_proof(providers.build_proof(shipped))


def test_an_impossible_schedule_is_refused_before_anything_starts():
    tree = {"sources": {"coingecko": {"plan": "demo", "api_key": "made-up"}}}
    impossible, _ = load_settings(environment={}, overrides=[Layer("test", tree)])
    with pytest.raises(ConfigError, match="28 303 of 10 000 calls in a 31-day month") as refused:
        wiring.check_settings(impossible)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("words", [["plan"], ["plan", "--json"], ["run"], ["once"]])
def test_each_command_says_once_that_the_schedule_does_not_fit(words, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("COLLECTOR_CADENCES__MARKET__EVERY", "20s")
    monkeypatch.setenv("COLLECTOR_LOGS__DIRECTORY", str(tmp_path / "logs"))
    monkeypatch.setenv("COLLECTOR_DATA_DIR", str(tmp_path / "data"))
    assert cli.main(words) == 2
    out, err = capsys.readouterr()
    logged = "".join(file.read_text() for file in (tmp_path / "logs").rglob("*.log"))
    assert (out + err + logged).count("2 655 of 2 400 weight in 1 min on average") == 1
    assert (out + err).count("market: every 30 s fits") == 1
    assert (err == "") == (words[0] == "plan")  # its report is the answer, not a complaint
    assert not (tmp_path / "data").exists()


# --------------------------------------------------------------------------- the proof against a simulated month


def run_a_month(minutes, calls, capacity_minute, deadline):
    """Run a month of cycles through the real quota; return calls made, refusals, and the longest cycle."""
    clock = ManualClock(START)
    quota = Quota([limit(capacity_minute, MINUTE)], clock=clock, reserve=0.1)
    judge = CoinGeckoLimits(capacity_minute, capacity_minute, capacity_minute)
    refused, longest, made = 0, timedelta(0), 0
    for turn in range(-(-31 * 24 * 60 // minutes)):
        due = START + turn * minutes * MINUTE
        if due > clock.now():
            clock.advance((due - clock.now()).total_seconds())
        started = clock.now()
        for _ in range(calls):
            quota.acquire(Cost(scope="calls"), float("inf"))
            refused += judge.refuse("public", "me", to_millis(clock.now())) is not None
            made += 1
        longest = max(longest, clock.now() - started)
        if longest > deadline:
            break
    return made, refused, longest


@settings(max_examples=25, deadline=None)
@given(
    minutes=st.sampled_from([15, 20, 30, 45, 60, 120]),
    calls=st.integers(1, 40),
    capacity_minute=st.integers(2, 40),
    capacity_month=st.integers(500, 60_000),
    deadline=st.integers(1, 10),
)
def test_an_accepted_schedule_stays_within_every_limit_for_a_month_and_a_refused_one_exceeds_one(
    minutes, calls, capacity_minute, capacity_month, deadline
):
    accounts = [
        account(
            limit(capacity_minute, MINUTE),
            limit(capacity_month, 31 * DAY),
            calls=lambda _: [Cost(scope="calls")] * calls,
        )
    ]
    proof = prove([task()], [every(minutes, deadline=deadline * MINUTE)], accounts, assets=1)
    made, refused, longest = run_a_month(minutes, calls, capacity_minute, deadline * MINUTE)
    assert refused == 0
    if proof.fits:
        assert longest <= deadline * MINUTE
        assert made * 1.1 <= int(capacity_month * 0.9) * 0.9
    else:
        allowed = max(1, int(capacity_minute * 0.9 + 1e-9))
        late = -(-calls // allowed) - 1 > deadline
        assert late or made * 1.1 > int(capacity_month * 0.9) * 0.9 or calls * 1.1 > allowed * minutes * 0.9


# --------------------------------------------------------------------------- what sources say of their calls

BTC = Instrument(venue="v", base="BTC", quote="USDT", kind=Kind.PERP, venue_symbol="BTCUSDT")
NOW = datetime(2026, 3, 11, 14, 37, tzinfo=UTC)


def weights(source, dataset, **more):
    job = Job(source=source, dataset=dataset, **more)
    return [(cost.scope, cost.weight) for cost in SOURCES[source].calls(job)]


def bars(source, count):
    window = {"since": NOW - count * MINUTE, "until": NOW}
    return weights(source, Dataset.CANDLES, instruments=(BTC,), interval=Interval.M1, **window)


def test_binance_pages_cost_the_least_weight_for_their_rows():
    assert bars("binance_futures", 3) == [("weight", 1)]  # up to 99 bars weigh 1
    assert bars("binance_futures", 100) == [("weight", 2)]
    assert bars("binance_futures", 499) == [("weight", 2)]
    assert bars("binance_futures", 1000) == [("weight", 2), ("weight", 2), ("weight", 1)]  # one page of 1000 weighs 5
    assert weights("binance_futures", Dataset.ORDER_BOOKS, instruments=(BTC,), limit=100) == [("weight", 5)]
    assert weights("binance_futures", Dataset.TICKERS, instruments=(BTC, BTC)) == [("weight", 40)]


def test_coingecko_ranks_250_assets_a_call():
    assert weights("coingecko", Dataset.MARKETS, limit=250) == [("calls", 1)]
    assert weights("coingecko", Dataset.MARKETS, limit=251) == [("calls", 1)] * 2


def test_okx_reads_recent_bars_first_and_old_ones_from_the_history():
    assert bars("okx", 300) == [("candles", 1)]
    assert {scope for scope, _ in bars("okx", 1200)} == {"candles", "history_candles"}
    assert [scope for scope, _ in bars("okx", 3000)].count(
        "history_candles"
    ) == 6  # 1 560 older bars, and an empty page


def test_every_dataset_of_every_source_tells_its_calls_in_scopes_that_have_a_limit():
    for name, source in SOURCES.items():
        limited = {item.scope for plan in source.plans.values() for item in plan.limits}
        for dataset in source.shapes:
            interval = source.intervals[0] if dataset is Dataset.CANDLES else None
            costs = source.calls(
                Job(source=name, dataset=dataset, instruments=(BTC,), assets=("bitcoin",), interval=interval)
            )
            assert costs, (name, dataset)
            assert {cost.scope for cost in costs} <= limited, (name, dataset)


def test_the_window_of_a_provider_is_never_passed_by_paced_bursts():
    clock = ManualClock(START)
    quota = Quota([limit(20, 2 * timedelta(seconds=1))], clock=clock, reserve=0.1)
    sent = deque()
    for _ in range(200):
        quota.acquire(Cost(scope="calls"), float("inf"))
        sent.append(clock.now())
        assert sum(clock.now() - moment < timedelta(seconds=2) for moment in sent) <= 20
