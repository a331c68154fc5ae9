"""What waits on disk while the database is away: whole, in order, within its bound, whatever happens to the files."""

import contextlib
import functools
import json
import logging
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import types
import typing
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from collector import records
from collector.clock import SystemClock
from collector.records import (
    AssetDetails,
    Batch,
    Dataset,
    Job,
    Kind,
    OrderBook,
    Payload,
    Record,
    Reject,
    RejectReason,
    Sentiment,
)
from collector.spool import ASKED_AGAIN, Spool, SpooledCycle
from tests.storage import samples

KINDS = [kind for kind in vars(records).values() if isinstance(kind, type) and Record in kind.__mro__[1:]]
START = datetime(2026, 3, 11, 14, 37, 42, 123456, tzinfo=UTC)
ROOMY = 64 * 1024 * 1024


def cycle(minute=0, **changes):
    values = {"cadence": "market", "cycle_id": None, "folder": "f", "instance": "host:1", "simulated": True}
    return SpooledCycle(started_at=START + timedelta(minutes=minute), **{**values, **changes})


def tickers(count=1, price="100"):
    rows = [samples.ticker(at=samples.NOON + timedelta(seconds=n), last_price=price) for n in range(count)]
    return samples.batch(*rows, dataset=Dataset.TICKERS)


@pytest.fixture
def told():
    """Events that the spool logged."""
    events = []
    handler = logging.Handler()
    handler.emit = lambda record: events.append(record.getMessage())
    logger = logging.getLogger("collector.Database")
    logger.addHandler(handler)
    yield events
    logger.removeHandler(handler)


@contextlib.contextmanager
def limited(kind, most):
    """Let the kernel refuse this process more than so much of something."""
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(kind, before)


def held(spool):
    return [(found, batches) for _, found, batches in spool.waiting()]


def test_every_kind_of_row_comes_back_as_it_went(tmp_path):
    mood = Sentiment(**samples.stamped(value=11, classification="Extreme Fear"))
    rows = [*samples.everything(), samples.asset(), samples.listing(), mood]
    assert {type(row) for row in rows} == set(KINDS)
    batches = [samples.batch(row, dataset=Dataset.TICKERS) for row in rows]
    Spool(tmp_path, ROOMY).keep(cycle(), batches)
    assert held(Spool(tmp_path, ROOMY)) == [(cycle(), batches)]


def test_numbers_keep_every_digit_and_times_every_microsecond(tmp_path):
    price = Decimal("0.000000000000000000123456789012345678901234567890")
    row = samples.ticker(last_price=price, at=START)
    Spool(tmp_path, ROOMY).keep(cycle(), [samples.batch(row, dataset=Dataset.TICKERS)])
    ((_, (batch,)),) = held(Spool(tmp_path, ROOMY))
    (back,) = batch.records
    assert back.last_price.as_tuple() == price.as_tuple()
    assert back.observed_at == START


def test_a_batch_comes_back_with_its_answers_rejects_and_times(tmp_path):
    job = Job(source="okx", dataset=Dataset.TICKERS, instruments=(samples.BTC,), limit=3)
    batch = Batch(
        job=job,
        records=(samples.ticker(), samples.mark(), samples.ticker(at=samples.RECEIVED)),
        rejects=(Reject(job=job, row='{"a": "\\n"}', reason=RejectReason.NO_PRICE, detail="a\nb"),),
        payloads=(Payload(job=job, status=200, body=bytes(range(256)), received_at=START),),
        state="failed",
        error="page 2: cut",
        started_at=START,
        finished_at=START + timedelta(seconds=1),
    )
    Spool(tmp_path, ROOMY).keep(cycle(cycle_id=17), [batch])
    assert held(Spool(tmp_path, ROOMY)) == [(cycle(cycle_id=17), [batch])]


def test_what_can_be_asked_for_again_is_not_kept(tmp_path):
    spool = Spool(tmp_path, ROOMY)
    bars = samples.batch(samples.candle(), dataset=Dataset.CANDLES)
    empty = replace(tickers(), records=())
    kept = spool.keep(cycle(), [bars, tickers(), empty])
    assert kept.batches == (tickers(),)
    assert spool.keep(cycle(), [bars, empty]).batches == ()
    assert spool.pending() == 1


def test_files_return_in_the_order_of_their_cycles_and_groups(tmp_path):
    spool = Spool(tmp_path, ROOMY)
    for minute in (0, 0, 1, 2):
        spool.keep(cycle(minute), [tickers(minute + 1)])
    spool.keep(cycle(1), [tickers(9)])
    found = [(at.started_at.minute, len(batch.records)) for at, (batch,) in held(spool)]
    assert found == [(37, 1), (37, 1), (38, 2), (38, 9), (39, 3)]


def test_a_file_is_forgotten_only_when_told(tmp_path):
    spool = Spool(tmp_path, ROOMY)
    spool.keep(cycle(0), [tickers(1)])
    spool.keep(cycle(1), [tickers(2)])
    first, *_ = [file for file, *_ in spool.waiting()]
    assert spool.pending() == 2
    spool.done(first)
    assert [len(batch.records) for _, (batch,) in held(spool)] == [2]
    spool.done(first)  # once more, as after a crash, is nothing


def test_the_oldest_make_room_and_are_counted(tmp_path):
    spool = Spool(tmp_path, ROOMY)
    spool.keep(cycle(0), [tickers(3)])
    size = sum(file.stat().st_size for file in tmp_path.iterdir())
    small = Spool(tmp_path, int(size * 2.5))
    small.keep(cycle(1), [tickers(3)])
    kept = small.keep(cycle(2), [tickers(3)])
    assert (kept.dropped_files, kept.dropped_rows) == (1, 3)
    assert len(kept.batches) == 1
    assert [at.started_at.minute for at, _ in held(small)] == [38, 39]


def test_the_bound_is_kept_to_the_byte(tmp_path):
    roomy = Spool(tmp_path / "roomy", ROOMY)
    for minute in (0, 1, 2):
        roomy.keep(cycle(minute), [tickers(minute + 1)])
    _, second, third = (file.stat().st_size for file in sorted((tmp_path / "roomy").iterdir()))
    for cap, left in ((second + third, [38, 39]), (second + third - 1, [39])):
        spool = Spool(tmp_path / str(cap), cap)
        for minute in (0, 1, 2):
            spool.keep(cycle(minute), [tickers(minute + 1)])
        assert [at.started_at.minute for at, _ in held(spool)] == left


def test_what_is_larger_than_the_whole_bound_is_not_kept_and_says_so(tmp_path):
    spool = Spool(tmp_path, 1000)
    assert len(spool.keep(cycle(), [tickers(1)]).batches) == 1
    many = tickers(100)
    noise = Payload(job=many.job, status=200, body=os.urandom(2000), received_at=START)
    kept = spool.keep(cycle(1), [replace(many, payloads=(noise,))])
    assert (kept.batches, kept.dropped_files, kept.dropped_rows) == ((), 0, 0)
    assert [len(batch.records) for _, (batch,) in held(spool)] == [1]  # nothing went to make room in vain


def test_a_file_cut_anywhere_or_changed_anywhere_is_moved_aside_and_the_others_return(tmp_path):
    spool = Spool(tmp_path, ROOMY)
    spool.keep(cycle(0), [tickers(1)])
    (good,) = tmp_path.iterdir()
    content = good.read_bytes()
    spool.keep(cycle(1), [tickers(2)])
    for length in range(len(content)):
        good.write_bytes(content[:length])
        assert [len(batch.records) for _, (batch,) in held(spool)] == [2], length
        good.with_suffix(".corrupt").rename(good)
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 0x55
        good.write_bytes(changed)
        rows = [len(batch.records) for _, (batch,) in held(spool)]
        assert rows in ([2], [1, 2]), place  # a changed blank of the header does no harm
        if rows == [2]:
            good.with_suffix(".corrupt").rename(good)


def test_what_a_crash_left_half_written_is_no_file_and_goes_at_the_next_start(tmp_path):
    Spool(tmp_path, ROOMY).keep(cycle(), [tickers()])
    (whole,) = tmp_path.iterdir()
    half = whole.with_suffix(".tmp")
    half.write_bytes(whole.read_bytes()[:40])
    again = Spool(tmp_path, ROOMY)
    assert again.pending() == 1
    assert not half.exists()


def test_a_disk_that_takes_nothing_costs_the_rows_and_raises_nothing(tmp_path):
    nowhere = tmp_path / "file"
    nowhere.write_text("in the way")
    spool = Spool(nowhere / "spool", ROOMY)
    assert spool.keep(cycle(), [tickers()]).batches == ()
    assert spool.pending() == 0
    assert held(spool) == []


def test_a_newer_programs_file_is_kept_aside_and_not_lost(tmp_path):
    spool = Spool(tmp_path, ROOMY)
    spool.keep(cycle(), [tickers()])
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes().replace(b"spool 2 ", b"spool 3 ", 1))
    assert held(spool) == []
    assert file.with_suffix(".corrupt").exists()


def test_every_field_of_a_batch_is_carried():
    assert {field.name for field in fields(Batch)} == {
        "job",
        "records",
        "rejects",
        "payloads",
        "state",
        "error",
        "started_at",
        "finished_at",
    }, "a new field has to be written to the spool as well"


# --------------------------------------------------------------------------- the disk


def test_a_disk_that_fills_up_in_mid_file_costs_that_file_and_leaves_no_half_of_it(tmp_path, told):
    spool = Spool(tmp_path, ROOMY)
    spool.keep(cycle(0), [tickers(1)])
    before = sorted(tmp_path.iterdir())
    with limited(resource.RLIMIT_FSIZE, 100):
        for minute in (1, 2, 3):
            assert spool.keep(cycle(minute), [tickers(50)]).batches == ()
            assert sorted(tmp_path.iterdir()) == before
    assert told == ["spool_unwritable"]  # once
    assert len(spool.keep(cycle(4), [tickers(2)]).batches) == 1
    assert told == ["spool_unwritable", "spool_is_back"]
    assert [len(batch.records) for _, (batch,) in held(spool)] == [1, 2]


def test_what_went_to_make_room_is_counted_even_when_the_disk_then_refuses(tmp_path):
    Spool(tmp_path, ROOMY).keep(cycle(0), [tickers(3)])
    (file,) = tmp_path.iterdir()
    spool = Spool(tmp_path, file.stat().st_size + 100)
    with limited(resource.RLIMIT_FSIZE, 100):
        kept = spool.keep(cycle(1), [tickers(3)])
    assert (kept.batches, kept.dropped_files, kept.dropped_rows) == ((), 1, 3)


def test_a_file_that_cannot_be_read_now_stays_and_returns_later(tmp_path, told):
    spool = Spool(tmp_path, ROOMY)
    spool.keep(cycle(0), [tickers(1)])
    spool.keep(cycle(1), [tickers(2)])
    first = min(tmp_path.iterdir())
    content = first.read_bytes()
    first.unlink()
    first.mkdir()  # whoever opens it gets an error of the operating system
    assert [len(batch.records) for _, (batch,) in held(spool)] == [2]
    assert told == ["spool_file_unreadable"]
    first.rmdir()
    first.write_bytes(content)
    assert [len(batch.records) for _, (batch,) in held(spool)] == [1, 2]


def test_too_many_open_files_cost_no_file(tmp_path, told):
    spool = Spool(tmp_path, ROOMY)
    spool.keep(cycle(), [tickers(1)])
    (file,) = tmp_path.iterdir()
    with limited(resource.RLIMIT_NOFILE, 0):
        assert held(spool) == []
        assert spool.keep(cycle(1), [tickers(1)]).batches == ()
        spool.done(tmp_path / "other.spool")
    assert "spool_unreadable" in told
    assert [at.started_at.minute for at, _ in held(spool)] == [37]
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_that_is_taken_away_costs_what_was_in_it(tmp_path):
    spool = Spool(tmp_path / "spool", ROOMY)
    spool.keep(cycle(0), [tickers(1)])
    ((file, *_),) = spool.waiting()
    shutil.rmtree(tmp_path / "spool")
    spool.done(file)
    spool.refused(file)
    assert held(spool) == []
    assert len(spool.keep(cycle(1), [tickers(1)]).batches) == 1
    assert len(held(spool)) == 1


def test_what_cannot_be_tidied_up_at_the_start_stops_nothing(tmp_path, told):
    (tmp_path / "old.tmp").mkdir()
    spool = Spool(tmp_path, ROOMY)
    assert told == ["spool_unwritable"]
    assert len(spool.keep(cycle(), [tickers()]).batches) == 1


def test_a_file_of_somebody_else_is_moved_aside_or_makes_room_and_stops_nothing(tmp_path):
    Spool(tmp_path, ROOMY).keep(cycle(), [tickers(1)])
    (file,) = tmp_path.iterdir()
    size = file.stat().st_size
    (tmp_path / "0 notes.spool").write_bytes(b"x" * 50)
    kept = Spool(tmp_path, 2 * size + 40).keep(cycle(1), [tickers(1)])
    assert (len(kept.batches), kept.dropped_files, kept.dropped_rows) == (1, 1, 0)
    (tmp_path / "0 notes.spool").write_bytes(b"spool two words\n")
    assert len(held(Spool(tmp_path, ROOMY))) == 2
    assert (tmp_path / "0 notes.corrupt").exists()


def test_files_that_were_moved_aside_count_and_go_before_what_waits(tmp_path, told):
    roomy = Spool(tmp_path, ROOMY)
    for minute in (0, 1, 2):
        roomy.keep(cycle(minute), [tickers(3)])
    first, second, _ = sorted(tmp_path.iterdir())
    size = max(file.stat().st_size for file in tmp_path.iterdir())
    roomy.refused(second)
    first.write_bytes(first.read_bytes()[:-1])
    assert [at.started_at.minute for at, _ in held(roomy)] == [39]
    small = Spool(tmp_path, 2 * size + 20)
    kept = small.keep(cycle(3), [tickers(3)])
    assert (len(kept.batches), kept.dropped_files) == (1, 0)
    assert [at.started_at.minute for at, _ in held(small)] == [39, 40]
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 2 * size + 20
    assert told == ["spool_file_damaged"]


def test_a_file_appears_whole_by_its_name_and_never_by_being_written_under_it(tmp_path):
    """The interpreter tells what it asks of the operating system."""
    asked, listening = [], True

    def hear(event, arguments):
        if listening and event in ("open", "os.rename"):
            asked.append((event, *(Path(str(item)).suffix for item in arguments[:2] if str(item).startswith("/"))))

    sys.addaudithook(hear)  # for good: afterwards it is deaf
    Spool(tmp_path, ROOMY).keep(cycle(), [tickers()])
    listening = False
    assert asked == [("open", ".tmp"), ("os.rename", ".tmp", ".spool"), ("open", "")]  # the last is the folder's flush


def _keep_without_end(folder, acknowledged):
    spool = Spool(folder, ROOMY)
    for count in range(1, 10_000):
        spool.keep(cycle(count), [tickers(count % 7 + 1)])
        os.write(acknowledged, b".")


@pytest.mark.parametrize("acks", range(1, 21))
def test_what_was_kept_before_a_kill_is_there_and_nothing_else_but_the_file_under_way(tmp_path, acks):
    heard, acknowledged = os.pipe()
    child = multiprocessing.get_context("fork").Process(target=_keep_without_end, args=(tmp_path, acknowledged))
    child.start()
    os.close(acknowledged)
    got = b""
    while len(got) < acks:
        got += os.read(heard, 64)
    os.kill(child.pid, signal.SIGKILL)  # in the middle of the next one
    child.join()
    while more := os.read(heard, 64):
        got += more
    os.close(heard)
    again = Spool(tmp_path, ROOMY)
    counts = [len(batch.records) for _, (batch,) in held(again)]
    assert len(counts) in (len(got), len(got) + 1)
    assert counts == [count % 7 + 1 for count in range(1, len(counts) + 1)]
    assert {file.suffix for file in tmp_path.iterdir()} == {".spool"}


# --------------------------------------------------------------------------- the content


def written(folder, version, *lines):
    body = zlib.compress("\n".join(lines).encode())
    header = f"spool {version} {len(body)} {zlib.crc32(body):08x}\n".encode()
    (folder / "20260311T143742.123456_market_1_000001_1.spool").write_bytes(header + body)


def test_a_checksum_that_does_not_fit_is_enough(tmp_path):
    Spool(tmp_path, ROOMY).keep(cycle(), [tickers()])
    (file,) = tmp_path.iterdir()
    header, body = file.read_bytes().split(b"\n", 1)
    wrong = f"{zlib.crc32(body) ^ 1:08x}".encode()
    file.write_bytes(header[:-8] + wrong + b"\n" + body)
    assert held(Spool(tmp_path, ROOMY)) == []


CYCLE_LINE = (
    '{"cadence":"market","started_at":"2026-03-11T14:37:42.123456Z","cycle_id":null,"folder":"f",'
    '"instance":"host:1","simulated":true}'
)
HEAD_LINE = (
    '{"job":{"source":"okx","dataset":"order_books","instruments":[],"assets":["a"],"interval":null,"since":null,'
    '"until":null,"limit":5,"stands_for":null},"state":"ok","error":"","started_at":"2026-03-11T14:37:42.123456Z",'
    '"finished_at":null,"payloads":[{"status":200,"body":%s,"received_at":"2026-03-11T14:37:42.123456Z"}],'
    '"rejects":[],"kinds":["%s"]}'
)
ROWS_LINE = (
    '[{"source":"okx","observed_at":"2026-01-31T12:00:00Z","received_at":"2026-01-31T12:00:02Z","instrument":{"venue":'
    '"okx","base":"BTC","quote":"USDT","kind":"perp","venue_symbol":"BTC-USDT-SWAP","contract_size":"0.010"},'
    '"last_update_id":7,"bids":[["99.50","1E+3"]],"asks":[]}]'
)


@pytest.mark.parametrize(
    ("version", "body", "expected"),
    [(1, '"AP97fQ=="', b"\x00\xff{}"), (2, '"{\\"a\\":\\"é\\"}","text":true', '{"a":"é"}'.encode())],
)
def test_a_file_says_what_its_text_says(tmp_path, version, body, expected):
    written(tmp_path, version, CYCLE_LINE, HEAD_LINE % (body, "OrderBook"), ROWS_LINE)
    ((found, (batch,)),) = held(Spool(tmp_path, ROOMY))
    job = Job(source="okx", dataset=Dataset.ORDER_BOOKS, assets=("a",), limit=5)
    book = samples.book(bids=(("99.50", "1E+3"),), asks=())
    instrument = replace(book.instrument, contract_size=Decimal("0.010"))
    assert found == cycle()
    assert batch == Batch(
        job=job,
        records=(replace(book, instrument=instrument, last_update_id=7),),
        payloads=(Payload(job=job, status=200, body=expected, received_at=START),),
        started_at=START,
    )
    assert [str(number) for number in (*batch.records[0].bids[0], batch.records[0].instrument.contract_size)] == [
        "99.50",
        "1E+3",
        "0.010",
    ]


@pytest.mark.parametrize(
    "lines",
    [
        (CYCLE_LINE, HEAD_LINE % ('""', "Horoscope"), ROWS_LINE),  # a kind of a later program
        (CYCLE_LINE, HEAD_LINE % ('""', "Job"), ROWS_LINE),
        (CYCLE_LINE, HEAD_LINE % ('""', "Ticker"), ROWS_LINE),
        (CYCLE_LINE, HEAD_LINE % ('""', "OrderBook")),
        (CYCLE_LINE, HEAD_LINE % ('"%"', "OrderBook"), ROWS_LINE),
        (CYCLE_LINE, HEAD_LINE % ('""', "OrderBook"), ROWS_LINE.replace("12:00:00Z", "12:00:00+01:00")),
        (CYCLE_LINE, HEAD_LINE % ('""', "OrderBook"), ROWS_LINE.replace('"99.50"', '"much"')),
        (CYCLE_LINE, "[]"),
        ("{}",),
        ("",),
    ],
)
def test_a_whole_file_that_makes_no_sense_is_moved_aside(tmp_path, told, lines):
    written(tmp_path, 2, *lines)
    assert held(Spool(tmp_path, ROOMY)) == []
    assert [file.suffix for file in tmp_path.iterdir()] == [".corrupt"]
    assert told == ["spool_file_damaged"]


@functools.cache
def anything(hint):
    """Return a strategy for a type hint of the records; texts hold any code point, lone surrogates too."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        return st.one_of(*map(anything, inner))
    if origin in (tuple, Sequence):
        many = origin is Sequence or ... in inner
        return st.lists(anything(inner[0]), max_size=3).map(tuple) if many else st.tuples(*map(anything, inner))
    if origin is Mapping:
        return st.dictionaries(*map(anything, inner), max_size=3)
    if is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        return st.builds(hint, **{field.name: anything(hints[field.name]) for field in fields(hint)})
    if issubclass(hint, Enum):
        return st.sampled_from(hint)
    return PLAIN[hint]


PLAIN = {
    str: st.text(st.characters(exclude_categories=()), max_size=8),
    int: st.integers(),
    bool: st.booleans(),
    bytes: st.binary(max_size=20) | st.text(max_size=8).map(str.encode),
    types.NoneType: st.none(),
    Decimal: st.decimals(allow_nan=False),
    datetime: st.datetimes(timezones=st.just(UTC)),
}


def exact(value):
    """Return a value as plain parts in which 1.0 and 1.00 differ, as do a word and its enum."""
    if is_dataclass(value):
        return type(value), [(field.name, exact(getattr(value, field.name))) for field in fields(value)]
    if isinstance(value, tuple):
        return [exact(item) for item in value]
    if isinstance(value, Decimal):
        return value.as_tuple()
    return type(value), value.isoformat() if isinstance(value, datetime) else value


@st.composite
def batches_of(draw, kind):
    batch = draw(anything(Batch))
    job = replace(batch.job, dataset=draw(st.sampled_from(sorted(set(Dataset) - ASKED_AGAIN))))
    return replace(
        batch,
        job=job,
        records=tuple(draw(st.lists(anything(kind), min_size=1, max_size=3))),
        rejects=tuple(replace(item, job=job) for item in batch.rejects),
        payloads=tuple(replace(item, job=job) for item in batch.payloads),
    )


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_whatever_a_row_of_any_kind_holds_comes_back_to_the_last_digit(kind):
    @settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(batch=batches_of(kind), at=anything(SpooledCycle))
    def holds(batch, at):
        at = replace(at, cadence="market")  # a part of the file's name; the configuration takes plain words only
        with tempfile.TemporaryDirectory() as folder:
            assert Spool(Path(folder), ROOMY).keep(at, [batch]).batches == (batch,)
            ((found, (back,)),) = held(Spool(Path(folder), ROOMY))
            assert exact(found) == exact(at)
            assert exact(back) == exact(batch)

    holds()


@pytest.mark.parametrize("text", ["\ud800", chr(0xFFFD), "a\udfffb"])
def test_half_a_character_in_the_key_of_a_mapping_comes_back(tmp_path, text):
    (details,) = [row for row in samples.everything() if isinstance(row, AssetDetails)]
    odd = replace(details, name=text, platforms={text: "0x1", "solana": text})
    Spool(tmp_path, ROOMY).keep(cycle(), [samples.batch(odd, dataset=Dataset.TICKERS)])
    ((found, (batch,)),) = held(Spool(tmp_path, ROOMY))
    assert found == cycle()
    assert batch.records == (odd,)


def test_a_number_that_is_none_comes_back_too(tmp_path):
    """One is refused where rows are checked; here it must not cost the rows beside it."""
    odd = samples.ticker(last_price="NaN", bid_price=Decimal("-Infinity"))
    Spool(tmp_path, ROOMY).keep(cycle(), [samples.batch(odd, samples.ticker(), dataset=Dataset.TICKERS)])
    ((_, (batch,)),) = held(Spool(tmp_path, ROOMY))
    assert [str(row.last_price) for row in batch.records] == ["NaN", "100"]


def deep_book(number):
    """Return a batch of one book of 100 levels a side with its answer, no two alike."""
    instrument = replace(samples.BTC, base=f"C{number}", kind=Kind.PERP)
    bids, asks = (
        tuple(
            (Decimal(6_000_000 + number * 977 + side * step) / 100, Decimal((step * 7919 + number) % 99_991) / 1000)
            for step in range(1, 101)
        )
        for side in (-1, 1)
    )
    job = Job(source="okx", dataset=Dataset.ORDER_BOOKS, instruments=(instrument,), limit=100)
    told = {"bids": [[str(price), str(size)] for price, size in bids], "asks": [[str(p), str(s)] for p, s in asks]}
    answer = Payload(job=job, status=200, body=json.dumps(told).encode(), received_at=START)
    row = OrderBook(**samples.stamped(), instrument=instrument, last_update_id=number, bids=bids, asks=asks)
    return Batch(job=job, records=(row,), payloads=(answer,))


def test_a_cycle_of_600_deep_books_goes_to_disk_in_less_than_a_second_and_returns_in_less_than_another(tmp_path):
    books, clock = [deep_book(number) for number in range(600)], SystemClock()
    took = []
    for attempt in "abc":  # what else the machine does is not measured: the best of three
        spool, begun = Spool(tmp_path / attempt, ROOMY), clock.monotonic()
        for first in range(0, 600, 64):
            spool.keep(cycle(), books[first : first + 64])
        kept = clock.monotonic()
        back = [batch for _, batches in held(spool) for batch in batches]
        took.append((kept - begun, clock.monotonic() - kept))
        assert back == books
    assert [min(times) < 1 for times in zip(*took, strict=True)] == [True, True], took
    assert sum(file.stat().st_size for file in (tmp_path / "a").iterdir()) < 5_000_000


# --------------------------------------------------------------------------- all of it at once

CAP = 2500  # room for about four files


class SpoolModel(RuleBasedStateMachine):
    """Against a list: what waits in order of moment and group, with sizes, and what was moved aside."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.spool = Spool(self.folder, CAP)
        self.life, self.group = 0, 0
        self.waits = []  # (minute, life, group, rows, bytes), sorted
        self.aside = {".corrupt": [], ".refused": []}  # the same

    def teardown(self):
        shutil.rmtree(self.folder)

    def paths(self, suffix=".spool"):
        return sorted(self.folder.glob(f"*{suffix}"))

    @rule(minute=st.integers(0, 9), rows=st.integers(1, 5))
    def keep(self, minute, rows):
        before = set(self.folder.iterdir())
        noise = Payload(job=Job(source="okx", dataset=Dataset.TICKERS), status=200, body=bytes(9), received_at=START)
        at = cycle(minute, folder=f"{minute} {self.life} {self.group}")
        at = replace(at, started_at=at.started_at + timedelta(microseconds=self.life))
        kept = self.spool.keep(at, [replace(tickers(rows), payloads=(noise,))])
        (new,) = set(self.folder.iterdir()) - before
        size = new.stat().st_size
        dropped = []
        queues = (self.aside[".corrupt"], self.aside[".refused"], self.waits)
        for queue in queues:
            while queue and sum(item[-1] for part in queues for item in part) + size > CAP:
                gone = queue.pop(0)
                dropped += [gone] if queue is self.waits else []
        assert len(kept.batches) == 1
        assert (kept.dropped_files, kept.dropped_rows) == (len(dropped), sum(item[3] for item in dropped))
        self.waits = sorted([*self.waits, (minute, self.life, self.group, rows, size)])
        self.group += 1

    @precondition(lambda self: self.waits)
    @rule()
    def the_oldest_is_stored(self):
        file, at, (batch,) = next(self.spool.waiting())
        minute, life, group, rows, _ = self.waits.pop(0)
        assert (at.folder, len(batch.records)) == (f"{minute} {life} {group}", rows)
        self.spool.done(file)

    @precondition(lambda self: self.waits)
    @rule()
    def the_oldest_is_refused(self):
        self.spool.refused(next(self.spool.waiting())[0])
        self.aside[".refused"] = sorted([*self.aside[".refused"], self.waits.pop(0)])

    @precondition(lambda self: self.waits)
    @rule(which=st.integers(0, 99), length=st.integers(0, 400))
    def one_is_cut(self, which, length):
        place = which % len(self.waits)
        file = self.paths()[place]
        content = file.read_bytes()[:-1][:length]
        file.write_bytes(content)
        list(self.spool.waiting())
        item = (*self.waits.pop(place)[:-1], len(content))
        self.aside[".corrupt"] = sorted([*self.aside[".corrupt"], item])

    @rule(length=st.none() | st.integers(0, 400))
    def the_process_dies(self, length):
        if length is not None:  # while it writes
            (self.folder / "20260311T143742.123456_market_1_000001_1.tmp").write_bytes(bytes(length))
        self.spool = Spool(self.folder, CAP)
        self.life += 1

    @invariant()
    def everything_agrees(self):
        found = [(at.folder, len(batch.records)) for at, (batch,) in held(self.spool)]
        assert found == [(f"{minute} {life} {group}", rows) for minute, life, group, rows, _ in self.waits]
        assert self.spool.pending() == len(self.waits)
        for suffix, items in self.aside.items():
            assert [file.stat().st_size for file in self.paths(suffix)] == [item[-1] for item in items]
        assert sum(file.stat().st_size for file in self.folder.iterdir()) <= CAP
        assert self.paths(".tmp") == []


TestSpoolModel = SpoolModel.TestCase
TestSpoolModel.settings = settings(
    max_examples=30, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
