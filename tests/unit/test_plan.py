"""What is due in a cycle, and the jobs it becomes."""

from datetime import UTC, datetime, timedelta

from collector.plan import Known, Task, due_tasks, plan_jobs, plan_stage
from collector.records import Dataset, Instrument, Interval, Kind
from collector.sources.base import Shape

NOW = datetime(2026, 3, 11, 14, 37, 42, tzinfo=UTC)
BTC = Instrument(venue="okx", base="BTC", quote="USDT", kind=Kind.PERP, venue_symbol="BTC-USDT-SWAP")
ETH = Instrument(venue="okx", base="ETH", quote="USDT", kind=Kind.PERP, venue_symbol="ETH-USDT-SWAP")


def task(dataset, shape, cadence="market", **more):
    return Task(source="okx", dataset=dataset, shape=shape, cadence=cadence, **more)


def candles(*intervals, history=499):
    return task(Dataset.CANDLES, Shape.EACH, intervals=intervals, history=history)


def known(**more):
    return Known(now=NOW, instruments={"okx": (BTC, ETH)}, followed={"okx": (BTC,)}, **more)


def test_a_cycle_fetches_lists_then_prices_then_the_rest():
    tasks = [
        task(Dataset.ORDER_BOOKS, Shape.EACH),
        task(Dataset.INSTRUMENTS, Shape.WHOLE, cadence="daily"),
        task(Dataset.TICKERS, Shape.BULK),
        task(Dataset.FUNDING, Shape.EACH, cadence="hourly"),
    ]
    stages = due_tasks(tasks, "market", {})
    assert [[item.dataset for item in stage] for stage in stages] == [
        [Dataset.INSTRUMENTS],
        [Dataset.TICKERS],
        [Dataset.ORDER_BOOKS],
    ]


def test_a_list_that_was_fetched_waits_for_its_own_cadence():
    tasks = [task(Dataset.INSTRUMENTS, Shape.WHOLE, cadence="daily")]
    fetched = {("okx", Dataset.INSTRUMENTS): NOW - timedelta(days=30)}
    assert due_tasks(tasks, "market", fetched)[0] == ()
    assert due_tasks(tasks, "daily", fetched)[0] == tuple(tasks)


def test_a_new_series_asks_for_its_history_up_to_the_last_closed_bar():
    (job,) = plan_jobs(candles(Interval.H1, history=3), known())
    assert job.since == datetime(2026, 3, 11, 11, tzinfo=UTC)
    assert job.until == datetime(2026, 3, 11, 14, tzinfo=UTC)  # exclusive: the bar of 13:00 is the last
    assert job.interval is Interval.H1
    assert job.instruments == (BTC,)


def test_a_stored_series_goes_on_with_its_last_bar_read_once_more():
    last = {(BTC.id, Interval.M1): datetime(2026, 3, 11, 14, 33, tzinfo=UTC)}
    (job,) = plan_jobs(candles(Interval.M1), known(last_opens=last))
    assert (job.since, job.until) == (
        datetime(2026, 3, 11, 14, 33, tzinfo=UTC),
        datetime(2026, 3, 11, 14, 37, tzinfo=UTC),
    )


def test_a_series_that_holds_the_last_closed_bar_is_not_asked_for():
    last = {(BTC.id, Interval.M1): datetime(2026, 3, 11, 14, 36, tzinfo=UTC)}
    assert plan_jobs(candles(Interval.M1), known(last_opens=last)) == []


def test_a_bar_that_ended_a_second_ago_is_left_to_settle():
    moment = datetime(2026, 3, 11, 14, 37, 1, tzinfo=UTC)
    last = {(BTC.id, Interval.M1): datetime(2026, 3, 11, 14, 35, tzinfo=UTC)}
    assert plan_jobs(candles(Interval.M1), Known(now=moment, followed={"okx": (BTC,)}, last_opens=last)) == []


def test_bulk_datasets_name_every_instrument_in_one_job():
    (job,) = plan_jobs(task(Dataset.TICKERS, Shape.BULK), known())
    assert job.instruments == (BTC, ETH)


def test_bulk_datasets_wait_until_instruments_are_known():
    assert plan_jobs(task(Dataset.TICKERS, Shape.BULK), Known(now=NOW)) == []


def test_books_ask_for_the_configured_levels_of_followed_instruments():
    (job,) = plan_jobs(task(Dataset.ORDER_BOOKS, Shape.EACH, levels=20), known())
    assert (job.instruments, job.limit) == ((BTC,), 20)


def test_funding_goes_on_after_the_last_settlement_and_starts_with_the_lookback():
    funding = task(Dataset.FUNDING, Shape.EACH, lookback=timedelta(days=7))
    last = datetime(2026, 3, 11, 8, 0, 0, 7000, tzinfo=UTC)
    assert plan_jobs(funding, known(last_fundings={BTC.id: last}))[0].since == last
    assert plan_jobs(funding, known())[0].since == NOW - timedelta(days=7)


def test_the_assets_that_wait_longest_have_their_turn_and_rank_decides_among_the_new():
    details = task(Dataset.ASSET_DETAILS, Shape.EACH_ASSET, assets=2)
    turns = {("okx", Dataset.ASSET_DETAILS): {"a": NOW, "b": NOW - timedelta(hours=1)}}
    jobs = plan_jobs(details, known(assets=("a", "b", "c", "d"), asset_turns=turns))
    assert [job.assets for job in jobs] == [("c",), ("d",)]
    turns = {("okx", Dataset.ASSET_DETAILS): {"a": NOW, "b": NOW - timedelta(hours=1), "c": NOW, "d": NOW}}
    jobs = plan_jobs(details, known(assets=("a", "b", "c", "d"), asset_turns=turns))
    assert [job.assets for job in jobs] == [("b",), ("a",)]


def test_the_tasks_of_a_stage_take_turns_so_that_no_limit_waits_for_another():
    both = Known(now=NOW, followed={"okx": (BTC, ETH)})
    tasks = [task(Dataset.ORDER_BOOKS, Shape.EACH), candles(Interval.M1, Interval.H1)]
    jobs = [(job.dataset, job.subject, job.interval) for job in plan_stage(tasks, both)]
    assert jobs == [
        (Dataset.ORDER_BOOKS, BTC.id, None),
        (Dataset.CANDLES, BTC.id, Interval.M1),
        (Dataset.ORDER_BOOKS, ETH.id, None),
        (Dataset.CANDLES, BTC.id, Interval.H1),
        (Dataset.CANDLES, ETH.id, Interval.M1),
        (Dataset.CANDLES, ETH.id, Interval.H1),
    ]
