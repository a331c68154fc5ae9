"""Writing market data: exactly what was given, once, all of it or nothing, and a refused row alone."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from collector.errors import StorageUnavailable
from collector.records import Dataset, Interval, Job, Payload, Record, Reject, RejectReason
from collector.storage import transaction
from collector.storage.models import TABLES
from collector.storage.writer import Writer
from tests.storage.samples import (
    BTC,
    NOON,
    RECEIVED,
    asset,
    batch,
    book,
    candle,
    everything,
    listing,
    mark,
    perp,
    snapshot,
    stamped,
    ticker,
)


def test_every_kind_of_record_comes_back_as_it_was_given(writer, cycle, rows):
    (result,) = writer.write(cycle, [batch(*everything())])
    assert sum(result.written.values()) == len(everything())
    assert rows(
        "SELECT open, high, low, close, volume, quote_volume, trades, taker_buy_volume, source FROM candles"
    ) == [(Decimal("100.5"), 101, Decimal("99.25"), 100, Decimal("12.5"), Decimal("1251.25"), 7, None, "okx")]
    assert rows("SELECT open_time, observed_at, received_at, cycle_id FROM candles") == [
        (NOON, NOON + timedelta(minutes=1), RECEIVED, cycle)
    ]
    assert rows("SELECT name, categories, platforms, hashing_algorithm, homepage FROM asset_details") == [
        (
            'Bit\tcoin \\N "quoted" {1,2}\n',
            ['a "b", {c}', "d\\e", "NULL", ""],
            {"ethereum": "0x\\1", "tab\t": '"'},
            None,
            "",
        )
    ]
    assert rows("SELECT market_cap_usd, volume_24h_usd, btc_dominance_pct, markets FROM global_snapshots") == [
        (Decimal(3100000000000), 0, Decimal("57.123456789"), None)
    ]
    assert rows("SELECT rate, funding_time FROM funding_forecasts") == [
        (Decimal("-0.0000125"), NOON + timedelta(hours=4))
    ]
    assert rows("SELECT rate, mark_price, rate_type FROM funding_rates") == [(Decimal("0.0001"), None, "regular")]
    assert rows("SELECT interval_hours, rate_cap, rate_floor FROM funding_terms") == [
        (8, Decimal("0.0075"), Decimal("-0.0075"))
    ]
    assert rows("SELECT open_interest, contracts, value_usd FROM open_interest") == [
        (Decimal("30123.4567"), Decimal("3012345.67"), None)
    ]
    assert rows("SELECT last_price, volume_24h, bid_price FROM tickers") == [(100, 0, None)]
    assert rows("SELECT price_usd, ath_usd, ath_at, rank, atl_usd FROM market_snapshots") == [
        (100000, 126080, NOON - timedelta(days=90), 1, None)
    ]
    assert rows("SELECT mark_price, index_price FROM mark_prices") == [(100, None)]


def test_writing_the_same_batch_again_changes_nothing(writer, cycle, rows):
    given_batch = batch(*everything())
    writer.write(cycle, [given_batch])
    tables = [table.name for table in TABLES.values()]
    before = [rows(f"SELECT xmin, * FROM {table}") for table in tables]
    (again,) = writer.write(cycle, [given_batch])
    assert [rows(f"SELECT xmin, * FROM {table}") for table in tables] == before
    assert again.written == {}
    assert again.unchanged == len(everything())


def test_a_changed_value_is_updated_and_says_which_cycle_did_it(writer, cycle, rows):
    writer.write(cycle, [batch(candle(), candle(minute=1))])
    second = writer.begin_cycle("market", NOON, instance="test:1", folder="g", simulated=True)
    later = RECEIVED + timedelta(minutes=5)
    changed = candle(minute=1, close=Decimal("100.75"), received_at=later)
    (result,) = writer.write(second, [batch(candle(received_at=later), changed)])
    assert result.written == {"candles": 1}
    assert result.unchanged == 1
    assert rows("SELECT close, cycle_id, received_at FROM candles ORDER BY open_time") == [
        (100, cycle, RECEIVED),
        (Decimal("100.75"), second, later),
    ]


def test_a_value_that_becomes_unknown_is_a_change(writer, cycle, rows):
    writer.write(cycle, [batch(candle())])
    (result,) = writer.write(cycle, [batch(candle(volume=None))])
    assert result.written == {"candles": 1}
    assert rows("SELECT volume FROM candles") == [(None,)]


def test_of_two_rows_with_one_key_the_one_received_last_wins(writer, cycle, rows):
    newer = candle(close=Decimal("100.9"), received_at=RECEIVED + timedelta(seconds=1))
    (result,) = writer.write(cycle, [batch(candle(), newer, candle(close=Decimal("100.1")))])
    assert rows("SELECT close FROM candles") == [(Decimal("100.9"),)]
    assert result.written == {"candles": 1}
    assert result.unchanged == 2


def test_of_two_rows_received_together_the_later_one_wins(writer, cycle, rows):
    writer.write(
        cycle, [batch(candle(close=Decimal("100.1"))), batch(candle(close=Decimal("100.2")), dataset=Dataset.TICKERS)]
    )
    assert rows("SELECT close FROM candles") == [(Decimal("100.2"),)]


def test_a_forming_candle_is_not_stored(writer, cycle, rows):
    (result,) = writer.write(cycle, [batch(candle(), candle(minute=1, closed=False))])
    assert rows("SELECT open_time FROM candles") == [(NOON,)]
    assert (result.written, result.unchanged) == ({"candles": 1}, 0)


def test_zero_volume_is_not_treated_as_missing(writer, cycle, rows):
    writer.write(cycle, [batch(candle(volume=Decimal(0), trades=0))])
    assert rows("SELECT volume, trades FROM candles") == [(0, 0)]


def test_numbers_keep_every_digit(writer, cycle, rows):
    price = Decimal("0.000000000000123456789012345678901234567890")
    tiny = candle(open=price, high=price, low=price, close=price, volume=Decimal("1E+30"))
    writer.write(cycle, [batch(tiny)])
    assert rows("SELECT close::text, volume FROM candles") == [
        ("0.000000000000123456789012345678901234567890", Decimal(10) ** 30)
    ]


def test_each_batch_is_told_its_own_numbers_when_they_share_a_statement(writer, cycle):
    writer.write(cycle, [batch(*(candle(minute) for minute in range(3)))])
    eth = perp("ETH")
    first = batch(*(candle(minute) for minute in range(5)), dataset=Dataset.CANDLES)
    second = batch(*(candle(minute, instrument=eth) for minute in range(4)), ticker(), dataset=Dataset.TICKERS)
    third = batch(dataset=Dataset.ORDER_BOOKS)
    results = writer.write(cycle, [first, second, third])
    assert [dict(result.written) for result in results] == [{"candles": 2}, {"candles": 4, "tickers": 1}, {}]
    assert [result.unchanged for result in results] == [3, 0, 0]


def test_months_without_a_partition_get_one(writer, cycle, rows):
    odd = [
        datetime(2017, 8, 1, tzinfo=UTC),
        datetime(2017, 7, 31, 23, 59, tzinfo=UTC),
        datetime(2031, 12, 31, tzinfo=UTC),
    ]
    writer.write(cycle, [batch(*(candle(open_time=moment) for moment in odd))])
    assert rows("SELECT tableoid::regclass::text, count(*) FROM candles GROUP BY 1 ORDER BY 1") == [
        ("candles_2017_07", 1),
        ("candles_2017_08", 1),
        ("candles_2031_12", 1),
    ]


def test_a_partition_dropped_behind_our_back_is_made_again(writer, cycle, database, rows):
    writer.write(cycle, [batch(candle())])
    with database.transaction() as connection:
        connection.execute(text("DROP TABLE candles_2026_01"))
    (result,) = writer.write(cycle, [batch(candle(), candle(minute=1))])
    assert result.written == {"candles": 2}
    assert result.rejects == ()


# --------------------------------------------------------------------------- refused rows


def test_a_poison_row_is_rejected_alone(writer, cycle, rows):
    bad = candle(minute=5, high=Decimal(1))
    good = [candle(minute) for minute in range(20) if minute != 5]
    first, second = writer.write(cycle, [batch(*good[:7], bad, *good[7:]), batch(ticker(), dataset=Dataset.TICKERS)])
    assert first.written == {"candles": 19}
    assert second.written == {"tickers": 1}
    (reject,) = first.rejects
    assert reject.reason is RejectReason.REFUSED_BY_DATABASE
    assert "ck_candles_high" in reject.detail
    assert rows("SELECT count(*) FROM candles") == [(19,)]
    assert rows("SELECT source, dataset, reason, row LIKE '%12, 5%' FROM rejects") == [
        ("okx", "candles", "refused_by_database", True)
    ]
    assert rows("SELECT dataset, rows_written, rejects FROM jobs ORDER BY 1") == [("candles", 19, 1), ("tickers", 1, 0)]


@pytest.mark.parametrize(
    "changes",
    [
        {"high": Decimal("100.4")},  # below the open
        {"low": Decimal("100.1")},  # above the close
        {"low": Decimal(0)},
        {"low": Decimal(-1)},
        {"volume": Decimal(-1)},
        {"trades": -1},
        {"open": Decimal("NaN")},
        {"high": Decimal("NaN")},
        {"low": Decimal("NaN")},
        {"close": Decimal("NaN")},
        {"volume": Decimal("NaN")},
        {"high": Decimal("Infinity")},
        {"quote_volume": Decimal("Infinity")},
        {"source": "nul\x00"},
        {"source": "lone \ud800 surrogate"},
        {"trades": 2**63},
    ],
)
def test_an_unbelievable_candle_is_refused(standing, changes):
    alone = perp(f"ALONE{standing.number()}")
    (result,) = standing.write(batch(candle(1, instrument=alone, **changes), candle(instrument=alone)))
    assert len(result.rejects) == 1
    assert standing.rows("SELECT open_time FROM v_candles WHERE instrument = :id", id=alone.id) == [(NOON,)]


@pytest.mark.parametrize(
    "record",
    [
        ticker(last_price="0"),
        ticker(last_price="NaN"),
        mark("-1"),
        snapshot(price="-1"),
        snapshot(change_24h_pct=Decimal("NaN")),
        snapshot(asset_id="".join(str(number) for number in range(20_000))),  # too long for an index entry
        book(bids=(("0", "1"),)),
        book(asks=(("101", "-1"),)),
        candle(instrument=perp(base="N\x00L")),
        candle(instrument=perp(base="ZERO", size="0")),
    ],
)
def test_an_impossible_value_is_refused_and_its_neighbours_are_not(standing, record):
    later = NOON + timedelta(hours=standing.number())
    (result,) = standing.write(batch(record, ticker(at=later), mark(at=later), snapshot(at=later)))
    assert [reject.reason for reject in result.rejects] == [RejectReason.REFUSED_BY_DATABASE]
    assert result.written == {"tickers": 1, "mark_prices": 1, "market_snapshots": 1}


def test_newest_wins_even_when_a_poison_row_forces_a_bisection(writer, cycle, rows):
    newer = candle(close=Decimal("100.9"), received_at=RECEIVED + timedelta(seconds=1))
    writer.write(cycle, [batch(newer, candle(minute=1, low=Decimal(0)), candle(minute=2), candle())])
    assert rows("SELECT close FROM candles ORDER BY open_time") == [(Decimal("100.9"),), (100,)]


# --------------------------------------------------------------------------- all or nothing


def test_a_connection_killed_in_the_middle_leaves_nothing(writer, cycle, database, rows, monkeypatch):
    original = transaction.Transaction.store

    def store_then_lose_the_connection(self, batches, groups):
        outcome = original(self, batches, groups)
        with database.engine.connect() as other:
            pid = self._connection.connection.driver_connection.info.backend_pid
            other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
        return outcome

    monkeypatch.setattr(transaction.Transaction, "store", store_then_lose_the_connection)
    with pytest.raises(StorageUnavailable):
        writer.write(cycle, [batch(*everything())])
    monkeypatch.undo()
    for table in ("candles", "tickers", "jobs", "instruments"):
        assert rows(f"SELECT count(*) FROM {table}") == [(0,)]
    (result,) = writer.write(cycle, [batch(*everything())])
    assert sum(result.written.values()) == len(everything())


def test_a_defect_in_one_batch_leaves_nothing_of_the_others(writer, cycle, rows):
    class Unheard(Record):
        """A record that no table was made for."""

    with pytest.raises(TypeError, match="Unheard"):
        writer.write(cycle, [batch(candle()), batch(Unheard(**stamped()))])
    assert rows("SELECT count(*) FROM candles") == [(0,)]


def test_a_server_that_is_gone_is_unavailable_and_the_writer_recovers(writer, cycle, database, rows):
    writer.write(cycle, [batch(candle())])
    other = psycopg2.connect(database.url.set(drivername="postgresql").render_as_string(hide_password=False))
    with other.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    other.close()
    (result,) = writer.write(cycle, [batch(candle(minute=1))])  # the pool notices before it lends
    assert result.written == {"candles": 1}


# --------------------------------------------------------------------------- the ledger


def test_a_failed_job_is_recorded_with_its_error(writer, cycle, rows):
    job = Job(
        source="okx",
        dataset=Dataset.CANDLES,
        instruments=(BTC,),
        interval=Interval.H1,
        since=NOON,
        until=NOON + timedelta(hours=2),
        limit=100,
    )
    writer.write(cycle, [batch(job=job, state="failed", error="no \x00 answer")])
    assert rows(
        "SELECT cycle_id, source, dataset, subject, instruments, assets, interval, since, until, row_limit, state, "
        "error, started_at, finished_at FROM jobs"
    ) == [
        (
            cycle,
            "okx",
            "candles",
            BTC.id,
            [BTC.id],
            [],
            "1h",
            NOON,
            NOON + timedelta(hours=2),
            100,
            "failed",
            "no \ufffd answer",
            NOON,
            RECEIVED,
        )
    ]


def test_writing_a_batch_again_replaces_its_ledger_entries(writer, cycle, rows):
    job = Job(source="okx", dataset=Dataset.CANDLES, instruments=(BTC,))
    reject = Reject(job=job, row="{}", reason=RejectReason.NO_PRICE, detail="px is empty")
    payload = Payload(job=job, status=200, body=b'{"a": 1}' * 100, received_at=RECEIVED)
    given_batch = batch(candle(), job=job, rejects=(reject, reject), payloads=(payload,))
    writer.write(cycle, [given_batch])
    writer.write(cycle, [given_batch])
    assert rows("SELECT state, rows_written, rows_unchanged, rejects FROM jobs") == [("ok", 1, 1, 2)]
    assert rows("SELECT seq, reason, detail, row FROM rejects ORDER BY seq") == [
        (1, "no_price", "px is empty", "{}"),
        (2, "no_price", "px is empty", "{}"),
    ]
    assert rows("SELECT count(*) FROM raw_payloads") == [(1,)]


def test_raw_answers_come_back_byte_for_byte(writer, cycle, rows, reader):
    job = Job(source="okx", dataset=Dataset.CANDLES, instruments=(BTC,), interval=Interval.M1, since=NOON)
    bodies = [b"", b"\x00\xff\\\t\n", b'{"data": []}' * 5000]
    payloads = tuple(Payload(job=job, status=200, body=body, received_at=RECEIVED) for body in bodies)
    writer.write(cycle, [batch(candle(), job=job, payloads=payloads)])
    assert list(reader.load_payloads(cycle)) == list(payloads)
    ((stored,),) = rows("SELECT sum(length(body))::integer FROM raw_payloads")
    assert stored < len(bodies[2]) / 5


def test_old_raw_answers_are_pruned_and_new_ones_stay(writer, cycle, rows):
    moments = [NOON - timedelta(days=days) for days in (70, 40, 20, 1)]
    for days, moment in enumerate(moments):
        job = Job(source="okx", dataset=Dataset.CANDLES, limit=days)
        payload = Payload(job=job, status=200, body=b"{}", received_at=moment)
        writer.write(cycle, [batch(job=job, payloads=(payload,))])
    assert writer.prune_payloads(NOON - timedelta(days=30)) == 2
    assert rows("SELECT received_at FROM raw_payloads ORDER BY 1") == [(moments[2],), (moments[3],)]
    job = Job(source="okx", dataset=Dataset.CANDLES, limit=99)
    writer.write(cycle, [batch(job=job, payloads=(Payload(job=job, status=200, body=b"", received_at=moments[0]),))])
    assert rows("SELECT count(*) FROM raw_payloads") == [(3,)]


def test_old_jobs_are_pruned_with_their_rejects_and_their_cycle_stays(writer, cycle, rows):
    job = Job(source="okx", dataset=Dataset.CANDLES)
    reject = Reject(job=job, row="{}", reason=RejectReason.NO_PRICE, detail="px is empty")
    writer.write(cycle, [batch(job=job, rejects=(reject,))])
    ((started,),) = rows("SELECT started_at FROM cycles")
    assert writer.prune_ledger(started) == 0
    assert writer.prune_ledger(started + timedelta(seconds=1)) == 1
    assert rows("SELECT count(*) FROM rejects") == [(0,)]
    assert rows("SELECT count(*) FROM cycles") == [(1,)]


def test_nothing_to_write_is_no_transaction(writer, cycle):
    assert writer.write(cycle, []) == []


def test_a_listing_and_prices_of_a_new_instrument_may_come_in_one_write(writer, cycle, rows):
    writer.write(cycle, [batch(candle(), ticker()), batch(listing(), dataset=Dataset.INSTRUMENTS), batch(asset())])
    assert rows("SELECT instrument, status, contract_size FROM instruments") == [
        ("okx:BTC-USDT:perp", "live", Decimal("0.01"))
    ]


# --------------------------------------------------------------------------- order books


def test_measures_of_a_book_are_worked_out_from_its_levels(writer, cycle, rows):
    # mid 100; 10 bps = 0.1, 50 bps = 0.5, 100 bps = 1
    bids = (("99.95", "2"), ("99.9", "3"), ("99.5", "5"), ("99.49", "7"))
    asks = (("100.05", "1"), ("100.2", "4"), ("101", "6"), ("102", "100"))
    writer.write(cycle, [batch(book(bids, asks))])
    assert rows("SELECT best_bid, best_ask, spread_bps, imbalance, reach_bid_bps, reach_ask_bps FROM order_books") == [
        (Decimal("99.95"), Decimal("100.05"), 10.0, (17 - 111) / 128, 51.0, 200.0)
    ]
    assert rows(
        "SELECT depth_bid_10bps, depth_ask_10bps, depth_bid_50bps, depth_ask_50bps, depth_bid_100bps, depth_ask_100bps "
        "FROM order_books"
    ) == [(5, 1, 10, 5, 17, 11)]
    assert rows("SELECT bid_prices, ask_sizes, last_update_id FROM order_books") == [
        ([Decimal("99.95"), Decimal("99.9"), Decimal("99.5"), Decimal("99.49")], [1, 4, 6, 100], 5)
    ]


def test_a_book_with_an_empty_side_has_no_measures_but_its_best_price(writer, cycle, rows):
    writer.write(cycle, [batch(book(bids=()))])
    assert rows("SELECT bid_prices, best_bid, best_ask, spread_bps, imbalance, depth_ask_100bps FROM order_books") == [
        ([], None, 101, None, None, None)
    ]


# --------------------------------------------------------------------------- write twice = write once


@st.composite
def candle_lists(draw):
    minutes = draw(st.lists(st.integers(0, 6), max_size=12))
    prices = st.decimals("1", "200", places=3)
    made = []
    for minute in minutes:
        opened, closed = draw(prices), draw(prices)
        made.append(
            candle(
                minute,
                instrument=draw(st.sampled_from([BTC, perp("ETH")])),
                open=opened,
                close=closed,
                high=max(opened, closed),
                low=min(opened, closed),
                received_at=RECEIVED + timedelta(seconds=draw(st.integers(0, 3))),
            )
        )
    return made


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(candles=candle_lists(), cut=st.integers(0, 12))
def test_writing_twice_equals_writing_once(database, candles, cut):
    writer = Writer(database)
    cycle = writer.begin_cycle("market", NOON, instance="t", folder="f", simulated=True)
    with database.transaction() as connection:
        connection.execute(text("TRUNCATE candles"))
    given_batches = [batch(*candles[:cut]), batch(*candles[cut:], dataset=Dataset.TICKERS)]
    first = writer.write(cycle, given_batches)
    expected = {}
    for item in candles:  # the rule, said again in the plainest way
        held = expected.get(item.key)
        if held is None or item.received_at >= held.received_at:
            expected[item.key] = item
    query = text("SELECT instrument, interval, open_time, open, close FROM v_candles")
    for _ in range(2):
        with database.reading() as connection:
            stored = {(row[0], row[1], row[2]): (row[3], row[4]) for row in connection.execute(query)}
        assert stored == {(c.instrument.id, "1m", c.open_time): (c.open, c.close) for c in expected.values()}
        again = writer.write(cycle, given_batches)
    assert sum(sum(result.written.values()) for result in first) == len(expected)
    assert all(result.written == {} for result in again)
