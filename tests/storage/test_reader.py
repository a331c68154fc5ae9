"""What comes out: the newest of each, windows as arrays, and nothing for what is not there."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np

from collector.records import CycleReport, CycleState, Dataset, FundingRate, IndicatorBlock, Interval, Job
from collector.storage import timeseries
from collector.storage.stored import LatestMarket, LatestPrice
from collector.storage.writer import InstrumentStanding
from tests.storage.samples import (
    BTC,
    NOON,
    RECEIVED,
    asset,
    batch,
    book,
    candle,
    listing,
    mark,
    perp,
    snapshot,
    stamped,
    ticker,
)

ETH = perp("ETH")
HOUR = timedelta(hours=1)


def test_instruments_come_back_with_everything_known_of_them(writer, cycle, reader):
    listed = batch(listing(), listing(ETH), dataset=Dataset.INSTRUMENTS)
    writer.write(cycle, [listed, batch(candle(instrument=perp("Z")))])
    standing = InstrumentStanding(
        instrument=ETH.id, asset_id="x", asset_units=Decimal(1), match_state="matched", match_detail="", followed=True
    )
    doubtful = InstrumentStanding(
        instrument=BTC.id, asset_id=None, asset_units=None, match_state="ambiguous", match_detail="two", followed=False
    )
    writer.save_universe("coingecko", [], [standing, doubtful])
    everything = reader.load_instruments()
    assert [(row.instrument, row.tradable, row.source) for row in everything] == [
        (BTC, True, "okx"),
        (ETH, True, "okx"),
        (perp("Z"), None, None),
    ]
    assert everything[0].tick_size == Decimal("0.1")
    assert [row.instrument for row in reader.load_instruments(venue="okx", followed=True)] == [ETH]
    assert reader.load_instruments(venue="kraken") == []
    assert [row.instrument for row in reader.load_instruments(source="okx", followed=False)] == [BTC]
    assert [(row.instrument, row.match_detail) for row in reader.unmatched_instruments()] == [(BTC, "two")]


def test_the_last_candles_and_spans_of_each_series(writer, cycle, reader):
    old = datetime(2025, 3, 1, tzinfo=UTC)
    writer.write(cycle, [batch(candle(0), candle(7), candle(open_time=old), candle(3, instrument=ETH))])
    writer.write(cycle, [batch(candle(9, interval=Interval.M5))])
    ids = [BTC.id, ETH.id, "okx:NONE-USDT:perp"]
    seven, three = NOON + timedelta(minutes=7), NOON + timedelta(minutes=3)
    assert reader.last_candle_opens(Interval.M1, ids) == {BTC.id: seven, ETH.id: three}
    assert reader.bar_spans(ids, Interval.M1) == {BTC.id: (old, seven), ETH.id: (three, three)}
    assert reader.bar_spans([], Interval.M1) == {}


def test_candle_windows_are_arrays_in_order_of_time(writer, cycle, reader):
    january, february = datetime(2026, 1, 31, 23, 59, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
    writer.write(
        cycle,
        [
            batch(
                candle(open_time=february, volume=None, close=Decimal("100.123456789012345678")),
                candle(open_time=january),
                candle(open_time=february + timedelta(minutes=1)),
                candle(open_time=february, interval=Interval.M5),
                candle(instrument=ETH),
            )
        ],
    )
    end = february + timedelta(minutes=1)
    found = reader.load_candle_windows(
        {BTC.id: (NOON, end), ETH.id: (NOON, NOON + HOUR), "okx:NONE-USDT:perp": (NOON, end)}, Interval.M1
    )
    assert set(found) == {BTC.id, ETH.id}
    window = found[BTC.id]
    assert {name: values.dtype for name, values in window.items()} == {
        "open_time": np.int64,
        **dict.fromkeys(("open", "high", "low", "close", "volume"), np.float64),
    }
    assert window["open_time"].tolist() == [int(january.timestamp()), int(february.timestamp())]
    assert window["close"].tolist() == [100.0, 100.12345678901235]
    assert window["low"].tolist() == [99.25, 99.25]
    assert window["volume"][0] == 12.5
    assert np.isnan(window["volume"][1])
    assert found[ETH.id]["open"].tolist() == [100.5]


def test_more_series_than_one_query_takes_and_none_at_all(writer, cycle, reader):
    series = [perp(f"C{number}") for number in range(70)]
    writer.write(cycle, [batch(*(candle(number, instrument=item) for item in series for number in range(2)))])
    requests = {item.id: (NOON, NOON + HOUR) for item in series}
    found = reader.load_candle_windows(requests, Interval.M1)
    assert {name: len(window["open"]) for name, window in found.items()} == dict.fromkeys(requests, 2)
    assert reader.load_candle_windows({}, Interval.M1) == {}
    assert reader.load_candle_windows(requests, Interval.W1) == {}


def test_obv_anchors_are_the_newest_row_before_the_given_time(writer, cycle, reader):
    times = tuple(NOON + number * HOUR for number in range(3))
    values = {"obv": [1.0, float("nan"), 3.0]}
    writer.write_indicators(
        cycle,
        [
            IndicatorBlock(
                instrument=BTC, interval=Interval.H1, open_times=times, columns=values, extra={}, warm=(True,) * 3
            )
        ],
    )
    assert reader.obv_anchors({BTC.id: times[2] + HOUR}, Interval.H1) == {BTC.id: (times[2], 3.0)}
    assert reader.obv_anchors({BTC.id: times[2], ETH.id: times[2]}, Interval.H1) == {BTC.id: (times[1], None)}
    assert reader.obv_anchors({BTC.id: times[0]}, Interval.H1) == {}
    assert reader.obv_anchors({}, Interval.H1) == {}


def test_the_last_settled_funding_of_each_instrument(writer, cycle, reader):
    rates = [
        FundingRate(**stamped(), instrument=BTC, funding_time=NOON + hours * HOUR, rate=Decimal(0), mark_price=None)
        for hours in (0, 16, 8)
    ]
    writer.write(cycle, [batch(*rates)])
    assert reader.last_funding_times([BTC.id, ETH.id]) == {BTC.id: NOON + 16 * HOUR}


def test_job_times_count_only_what_ended_well(writer, cycle, reader):
    def job(asset_id, finished_at, **changes):
        work = Job(source="coingecko", dataset=Dataset.ASSET_DETAILS, assets=(asset_id,), limit=finished_at.minute)
        return batch(job=work, finished_at=finished_at, **changes)

    early, late = NOON + timedelta(minutes=1), NOON + timedelta(minutes=2)
    writer.write(cycle, [job("bitcoin", early), job("ether", late), job("bitcoin", NOON + HOUR, state="failed")])
    assert reader.last_job_times() == {("coingecko", Dataset.ASSET_DETAILS): late}
    assert reader.last_asset_times("coingecko", Dataset.ASSET_DETAILS) == {"bitcoin": early, "ether": late}
    assert reader.last_asset_times("coingecko", Dataset.MARKET_HISTORY) == {}


def test_the_latest_price_is_the_newer_of_ticker_and_mark_price(writer, cycle, reader):
    writer.write(
        cycle,
        [
            batch(
                ticker(last_price="1", at=NOON),
                ticker(last_price="2", at=NOON + HOUR),
                mark("3", at=NOON + 2 * HOUR),
                ticker(instrument=ETH, last_price="4", at=NOON + HOUR),
                mark("5", at=NOON, instrument=ETH),
            )
        ],
    )
    eth = LatestPrice(price=Decimal(4), observed_at=NOON + HOUR)
    assert reader.latest_prices() == {
        BTC.id: LatestPrice(price=Decimal(3), observed_at=NOON + 2 * HOUR),
        ETH.id: eth,
    }
    assert reader.latest_prices([ETH.id]) == {ETH.id: eth}
    assert set(reader.latest_prices(since=NOON + 2 * HOUR)) == {BTC.id}  # an old price says nothing about today


def test_the_latest_turnover_is_in_the_quote_and_of_the_newest_ticker(writer, cycle, reader):
    sol, ada, dot = perp("SOL"), perp("ADA"), perp("DOT")
    said, volume = {"quote_volume_24h": Decimal("5000.5")}, {"volume_24h": Decimal(30)}
    writer.write(
        cycle,
        [
            batch(
                ticker(at=NOON, quote_volume_24h=Decimal(9)),
                ticker(at=NOON + HOUR, **said, **volume),
                ticker(instrument=ETH, last_price="2.5", at=NOON + HOUR, **volume),
                ticker(instrument=sol, at=NOON + HOUR, quote_volume_24h=Decimal(0)),
                ticker(instrument=ada, at=NOON, **said),
                ticker(instrument=ada, at=NOON + HOUR),  # the newest says nothing
                ticker(instrument=dot, at=NOON, **said),
            )
        ],
    )
    recent = {BTC.id: Decimal("5000.5"), ETH.id: Decimal(75), sol.id: Decimal(0)}
    assert reader.latest_turnovers() == {**recent, dot.id: Decimal("5000.5")}
    assert reader.latest_turnovers(since=NOON + HOUR) == recent


def test_the_latest_market_of_each_asset_with_its_name_where_listed(writer, cycle, reader):
    newer = snapshot(price="5", at=NOON + HOUR, rank=2)
    writer.write(cycle, [batch(snapshot(), newer, snapshot("odd", None)), batch(asset())])
    assert reader.latest_markets("coingecko") == {
        "bitcoin": LatestMarket(symbol="BTC", name="Bitcoin", price_usd=Decimal(5), rank=2, observed_at=NOON + HOUR),
        "odd": LatestMarket(symbol=None, name=None, price_usd=None, rank=None, observed_at=NOON),
    }
    assert set(reader.latest_markets("coingecko", since=NOON + HOUR)) == {"bitcoin"}
    assert reader.latest_markets("coincap") == {}


def test_a_newer_point_of_an_asset_s_past_does_not_take_its_rank(writer, cycle, reader):
    """Histories come with the price of now, and say no rank: the asset would no longer be followed."""
    ranked, past = snapshot(price="5", rank=2), snapshot(price="6", at=NOON + HOUR, rank=None)
    writer.write(cycle, [batch(ranked, past), batch(asset())])
    assert reader.latest_markets("coingecko")["bitcoin"].rank == 2
    assert reader.latest_markets("coingecko")["bitcoin"].price_usd == Decimal(5)  # of the same look
    assert reader.latest_markets("coingecko", since=NOON + HOUR)["bitcoin"].rank is None  # nothing ranked is that new


def test_status_tells_cycles_and_sources(writer, cycle, reader):
    failed = batch(source="coingecko", state="failed", error="no answer")
    writer.write(cycle, [batch(candle(), finished_at=NOON), failed])
    second = writer.begin_cycle("slow", NOON, instance="t", folder="g", simulated=False)
    writer.write(second, [batch(candle(), ticker(), finished_at=RECEIVED), batch(source="binance", state="skipped")])
    writer.finish_cycle(
        CycleReport(
            cycle_id=second, cadence="slow", state=CycleState.OK, started_at=NOON, finished_at=RECEIVED, sources=()
        )
    )
    newest, oldest = reader.recent_cycles()
    assert (newest.cycle_id, newest.state, newest.report["cadence"]) == (second, CycleState.OK, "slow")
    assert (oldest.state, oldest.finished_at, oldest.report) == (CycleState.RUNNING, None, None)
    assert [item.cycle_id for item in reader.recent_cycles(1)] == [second]
    assert reader.last_cycle_starts() == {"slow": NOON}
    summaries = {item.source: item for item in reader.source_summaries()}
    assert (summaries["okx"].jobs_ok, summaries["okx"].rows_written, summaries["okx"].rows_unchanged) == (2, 2, 1)
    assert (summaries["okx"].last_ok_at, summaries["okx"].last_error) == (RECEIVED, None)
    assert (summaries["coingecko"].jobs_failed, summaries["coingecko"].last_error) == (1, "no answer")
    recent = {item.source: item for item in reader.source_summaries(since=NOON)}
    assert (recent["okx"].rows_written, recent["coingecko"].jobs_failed, recent["binance"].jobs_skipped) == (1, 0, 1)


def test_the_cause_of_an_outage_is_told_and_not_that_later_jobs_were_held_back(writer, cycle, reader):
    def failed(limit, error, minute, source="okx"):
        job = Job(source=source, dataset=Dataset.TICKERS, limit=limit)
        return batch(job=job, state="failed", error=error, finished_at=NOON + timedelta(minutes=minute))

    writer.write(
        cycle,
        [
            failed(1, "HTTP 500: the provider fails", 1),
            failed(2, "cannot resolve www.okx.com", 2),
            failed(3, "not tried: no answer before; next probe in 30 s", 3),
            failed(4, "not sent: the time for calls is over", 4),
            failed(1, "not tried: no answer before; next probe in 30 s", 1, "binance"),
            failed(2, "not sent: the time for calls is over", 2, "binance"),
        ],
    )
    told = {item.source: (item.last_error, item.last_error_at) for item in reader.source_summaries()}
    assert told["okx"] == ("cannot resolve www.okx.com", NOON + timedelta(minutes=2))
    assert told["binance"] == ("not sent: the time for calls is over", NOON + timedelta(minutes=2))


def test_several_threads_may_read_at_once(writer, cycle, reader):
    writer.write(cycle, [batch(candle())])
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(reader.last_candle_opens(Interval.M1, [BTC.id]))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [{BTC.id: NOON}] * 4


# --------------------------------------------------------------------------- views for people


def test_views_show_names_levels_and_the_newest_rows(writer, cycle, rows):
    writer.write(
        cycle,
        [
            batch(asset()),
            batch(
                candle(),
                snapshot(),
                snapshot(price="7", at=NOON + HOUR),
                ticker(),
                ticker(last_price="8", at=NOON + HOUR),
                book((("99", "1"), ("98", "2")), (("101", "3"),)),
            ),
        ],
    )
    assert rows("SELECT instrument, interval, open_time, close FROM v_candles") == [(BTC.id, "1m", NOON, 100)]
    assert rows("SELECT symbol, name, price_usd FROM v_market_snapshots ORDER BY observed_at") == [
        ("BTC", "Bitcoin", 100000),
        ("BTC", "Bitcoin", 7),
    ]
    assert rows("SELECT asset_id, price_usd FROM latest_market_snapshots") == [("bitcoin", 7)]
    assert rows("SELECT instrument, last_price FROM latest_tickers") == [(BTC.id, 8)]
    assert rows("SELECT instrument, side, level, price, size FROM order_book_levels ORDER BY side, level") == [
        (BTC.id, "ask", 1, 101, 3),
        (BTC.id, "bid", 1, 99, 1),
        (BTC.id, "bid", 2, 98, 2),
    ]


# --------------------------------------------------------------------------- partitions


def test_partitions_are_made_ahead_once(writer, database, rows):
    december = datetime(2056, 12, 31, 23, 59, tzinfo=UTC)
    assert writer.ensure_ahead(december, months=2) == 3 * len(timeseries.PARTITIONED)
    assert writer.ensure_ahead(december, months=2) == 0
    with database.reading() as connection:
        assert timeseries.months_stored(connection, "candles") >= {(2056, 12), (2057, 1), (2057, 2)}
    assert rows("SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname = 'candles_2056_12'") == [
        ("FOR VALUES FROM ('2056-12-01 00:00:00+00') TO ('2057-01-01 00:00:00+00')",)
    ]


def test_two_programs_may_make_the_same_partition_at_once(database):
    made = []

    def make():
        with database.transaction() as connection:
            made.append(timeseries.ensure_partitions(connection, "candles", [(2066, 1), (2066, 2)]))

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [[], [], [], [(2066, 1), (2066, 2)]]


def test_a_partition_can_be_made_while_a_reader_and_a_writer_are_at_work(database):
    with database.transaction() as busy:
        busy.exec_driver_sql("SELECT count(*) FROM candles")
        busy.exec_driver_sql("LOCK TABLE candles IN ROW EXCLUSIVE MODE")
        with database.transaction() as connection:
            assert timeseries.ensure_partitions(connection, "candles", [(2076, 1)]) == [(2076, 1)]


def test_old_months_can_be_dropped_whole(writer, cycle, database, rows):
    writer.write(cycle, [batch(candle(), candle(open_time=datetime(2025, 12, 31, 23, 59, tzinfo=UTC)))])
    with database.transaction() as connection:
        dropped = timeseries.drop_before(connection, "candles", datetime(2026, 1, 15, tzinfo=UTC))
    assert dropped[-1] == "candles_2025_12"
    assert rows("SELECT open_time FROM candles") == [(NOON,)]


def test_what_came_since_indicators_were_last_complete_is_named(writer, reader, clock):
    wanted, other = perp("W"), perp("W", "binance_futures")
    writer.write(writer.begin_cycle("market", NOON, instance="a:1", folder="", simulated=True), [batch(candle(0))])
    writer.abandon_running(NOON)
    done = writer.begin_cycle("market", NOON, instance="a:1", folder="", simulated=True)
    job = Job(source="okx", dataset=Dataset.CANDLES, instruments=(BTC,), interval=Interval.M1)
    writer.write(done, [batch(candle(1), job=replace(job, since=NOON, until=NOON + HOUR))])
    writer.finish_cycle(
        CycleReport(
            cycle_id=done,
            cadence="market",
            state=CycleState.PARTIAL,  # a source failed, but what came is computed
            started_at=NOON,
            finished_at=NOON,
            sources=(),
        )
    )
    assert reader.uncomputed_spans() == {}
    died = writer.begin_cycle("market", NOON, instance="a:1", folder="", simulated=True)
    stood_in = replace(job, source="binance_futures", instruments=(other,), stands_for=wanted)
    writer.write(
        died,
        [
            batch(candle(2), job=replace(job, since=NOON, until=NOON + HOUR)),
            batch(candle(3, instrument=wanted), job=replace(stood_in, since=NOON, until=NOON + 2 * HOUR)),
            batch(job=replace(job, since=NOON, until=NOON + 9 * HOUR)),  # brought nothing
        ],
    )
    minute = Interval.M1.width
    assert reader.uncomputed_spans() == {
        (BTC, Interval.M1): [(NOON, NOON + HOUR - minute)],
        (wanted, Interval.M1): [(NOON, NOON + 2 * HOUR - minute)],
    }
