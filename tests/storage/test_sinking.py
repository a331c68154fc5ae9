"""Places in the order of commits: none passes a row over, and those of another server count for nothing."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import create_engine, text

from collector.clock import SystemClock
from collector.errors import LockHeld
from collector.storage.database import Database
from collector.storage.outgoing.sink_rows import (
    DERIVED,
    RAW,
    ROUND,
    SENDABLE,
    Look,
    count_found,
    list_parts,
    load_found,
)
from collector.storage.outgoing.sinking import SinkStore, Watermark, distinct_errors
from tests.storage.samples import NOON, batch, candle, ticker

MARK = Watermark(target="p.d.okx_derived", source="okx", content=DERIVED)


@pytest.fixture
def store(database):
    return SinkStore(database, "bigquery")


def look(place, since=None, **changes):
    values = {"content": DERIVED, "sources": ("okx",), "until": place.xid, "since": since, **changes}
    return Look(**values)


def found(database, looked):
    rows = []
    for kind in SENDABLE[DERIVED]:
        for part in list_parts(database, looked, kind):
            rows += [(kind.table, row.version) for row in load_found(database, looked, kind, part)]
    return rows


def test_a_place_stands_before_every_transaction_that_is_under_way(database, store):
    with database.engine.connect() as slow:
        number = slow.execute(text("SELECT pg_current_xact_id()::text::bigint")).scalar()
        with database.transaction() as quick:
            assert quick.execute(text("SELECT pg_current_xact_id()::text::bigint")).scalar() > number
        assert store.place().xid == number
        slow.rollback()
    assert store.place().xid > number


def test_errors_that_differ_only_in_their_table_are_one_with_the_whole_text():
    refused = "HTTP 403 no access " + 300 * "x" + " the end"
    found = distinct_errors(
        {
            "okx_raw": f"look at okx_raw: {refused}",
            "okx_derived": f"look at okx_raw: {refused}",
            "kraken_raw": f"look at kraken_raw: {refused}",
            "kraken_derived": "merge _staging_kraken_derived_0123456789abcdef: too large",
            "coincap_derived": "merge _staging_coincap_derived_fedcba9876543210: too large",
            "coincap_raw": "",
        }
    )
    assert found == [
        (["okx_raw", "okx_derived", "kraken_raw"], f"look at okx_raw: {refused}"),
        (["kraken_derived", "coincap_derived"], "merge _staging_kraken_derived_0123456789abcdef: too large"),
    ]


def test_the_time_of_a_place_never_goes_back(store):
    ahead = store.place().at + timedelta(days=1)
    assert store.place(after=ahead).at == ahead + timedelta(microseconds=1)


def test_rows_carry_the_transaction_that_wrote_them_last(database, store, writer, cycle):
    before = store.place()
    writer.write(cycle, [batch(candle(), ticker())])
    between = store.place()
    writer.write(cycle, [batch(candle(trades=8))])
    after = store.place()
    assert count_found(database, look(after)) == {"okx": 2}
    assert count_found(database, look(after, since=before.xid)) == {"okx": 2}
    ((table, version),) = found(database, look(after, since=between.xid))
    assert table == "candles"
    assert between.xid <= version < after.xid
    assert found(database, look(after, since=after.xid)) == []


def test_a_recent_look_leaves_old_rows_out_and_a_full_one_leaves_out_what_it_saw(database, store, writer, cycle):
    first = store.place()
    now = database.clock.now()
    writer.write(cycle, [batch(ticker(at=now), ticker(at=now - timedelta(days=9)))])
    place, since = store.place(), now - timedelta(days=2)
    assert count_found(database, look(place, since=first.xid, recent=since)) == {"okx": 1}
    seen = look(place, since=first.xid, seen=(since, place.xid))
    assert count_found(database, seen) == {"okx": 1}
    assert count_found(database, replace(seen, seen=(since, first.xid))) == {"okx": 2}


def test_a_bar_is_as_recent_as_its_end(database, store, writer, cycle):
    writer.write(cycle, [batch(candle())])  # from 12:00 to 12:01
    place = store.place()
    end = NOON + timedelta(minutes=1)
    assert count_found(database, look(place, recent=end)) == {"okx": 1}
    assert count_found(database, look(place, recent=end + timedelta(microseconds=1))) == {}


def test_other_sources_and_other_contents_are_not_found(database, store, writer, cycle):
    writer.write(cycle, [batch(candle())])
    place = store.place()
    assert count_found(database, look(place, sources=("kraken",))) == {}
    assert count_found(database, look(place, content=RAW)) == {}


def test_watermarks_are_kept_to_the_letter(store):
    place = store.place()
    mark = replace(MARK, done={"candles_2026_01": 7}, rows_sent=3, error="no", failed_at=NOON).at_server(place)
    recent = mark.after_recent(place, NOON)
    assert store.load() == {}
    store.save([recent, replace(recent, target="p.d.okx_raw", content=RAW)])
    assert store.load() == {recent.target: recent, "p.d.okx_raw": replace(recent, target="p.d.okx_raw", content=RAW)}
    assert (recent.error, recent.failed_at, recent.recent_xid) == ("", None, place.xid)


@pytest.mark.parametrize(
    ("mark", "anew"),
    [
        (replace(MARK, full_xid=1), False),
        (replace(MARK, full_xid=None), False),
        (replace(MARK, server="another"), True),
        (replace(MARK, recent_xid=2**50), True),
        (replace(MARK, full_xid=1, done={"candles": 2**50}), True),
    ],
)
def test_what_another_server_numbered_is_sent_again(store, mark, anew):
    place = store.place()
    mark = replace(mark, server=mark.server or place.server)
    now = mark.at_server(place)
    assert (now.generation, now.server) == (int(anew), place.server)
    assert (now == mark) is not anew
    if anew:
        assert (now.recent_xid, now.full_xid, now.done) == (None, None, {})


def test_a_place_half_a_round_of_numbers_ago_counts_for_nothing(store):
    place = replace(store.place(), xid=ROUND)
    mark = replace(MARK, server=place.server, recent_xid=ROUND // 2)
    assert mark.at_server(place).recent_xid is None
    assert replace(mark, recent_xid=ROUND // 2 + 1).at_server(place).recent_xid == ROUND // 2 + 1


def test_a_full_look_puts_an_end_to_what_recent_ones_noted(store):
    place = store.place()
    mark = replace(MARK.after_recent(place, NOON), done={"candles_2026_01": 3}).after_full(place)
    assert (mark.recent_since, mark.done, mark.full_xid, mark.recent_xid) == (None, {}, place.xid, place.xid)


def test_two_recent_looks_count_as_seen_from_the_later_bound(store):
    place = store.place()
    mark = MARK.after_recent(place, NOON).after_recent(place, NOON - timedelta(days=1))
    assert mark.recent_since == NOON


def test_the_first_error_s_time_is_kept_until_it_is_over(store):
    mark = MARK.with_error("down", NOON).with_error("still down", NOON + timedelta(hours=1))
    assert (mark.error, mark.failed_at) == ("still down", NOON)


def test_the_lock_is_free_as_soon_as_it_is_let_go(database, store):
    for _ in range(5):
        with store.lock(), pytest.raises(LockHeld), SinkStore(database, "bigquery").lock():
            pass
    with store.lock(), SinkStore(database, "another").lock():
        pass


def test_a_user_without_rights_of_the_server_can_take_a_place(database):
    with create_engine(database.url, isolation_level="AUTOCOMMIT").connect() as owner:
        owner.execute(text("DROP ROLE IF EXISTS plain"))
        owner.execute(text("CREATE ROLE plain LOGIN"))
    plain = Database(database.url.set(username="plain").render_as_string(hide_password=False), clock=SystemClock())
    try:
        assert SinkStore(plain, "bigquery").place().server == SinkStore(database, "bigquery").place().server
    finally:
        plain.close()
        with create_engine(database.url, isolation_level="AUTOCOMMIT").connect() as owner:
            owner.execute(text("DROP ROLE plain"))


def test_a_month_is_held_until_all_of_its_rows_were_sent(database, store, writer, cycle):
    month = (NOON.year, NOON.month)
    writer.write(cycle, [batch(candle())])
    assert store.unsent_in("candles", month)  # nothing was ever sent
    mark = MARK.after_recent(store.place(), NOON)
    store.save([mark])
    assert store.unsent_in("candles", month)  # only what is recent was
    store.save([mark.after_full(store.place())])
    assert not store.unsent_in("candles", month)
    writer.write(cycle, [batch(candle(minute=1))])
    assert store.unsent_in("candles", month)
    assert not store.unsent_in("candles", (NOON.year - 1, NOON.month))
