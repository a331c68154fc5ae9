"""What waits on disk while the database is away: whole, in order, within its bound, whatever happens to the files."""

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from collector.records import Batch, Dataset, Job, Payload, Reject, RejectReason, Sentiment
from collector.spool import Spool, SpooledCycle
from tests.storage import samples

START = datetime(2026, 3, 11, 14, 37, 42, 123456, tzinfo=UTC)
ROOMY = 64 * 1024 * 1024


def cycle(minute=0, **changes):
    values = {"cadence": "market", "cycle_id": None, "folder": "f", "instance": "host:1", "simulated": True}
    return SpooledCycle(started_at=START + timedelta(minutes=minute), **{**values, **changes})


def tickers(count=1, price="100"):
    rows = [samples.ticker(at=samples.NOON + timedelta(seconds=n), last_price=price) for n in range(count)]
    return samples.batch(*rows, dataset=Dataset.TICKERS)


def held(spool):
    return [(found, batches) for _, found, batches in spool.waiting()]


def test_every_kind_of_row_comes_back_as_it_went(tmp_path):
    rows = [*samples.everything(), Sentiment(**samples.stamped(value=11, classification="Extreme Fear"))]
    kinds = {type(row) for row in rows}
    assert len(kinds) == 12
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


def test_what_is_larger_than_the_whole_bound_is_not_kept_and_says_so(tmp_path):
    assert Spool(tmp_path, 100).keep(cycle(), [tickers(500)]).batches == ()
    assert list(tmp_path.glob("*.spool")) == []


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
    file.write_bytes(file.read_bytes().replace(b"spool 1 ", b"spool 2 ", 1))
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
