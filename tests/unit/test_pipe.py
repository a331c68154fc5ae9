"""The stream between two threads: bytes in order, a bounded lead, and both ways to end it early."""

import hashlib
import random
import threading

import pytest

from collector.storage.outgoing.pipe import Pipe
from tests.storage.embedded_processes import wait_until

MEGABYTE = 1 << 20


def test_what_is_written_is_read_in_order_however_it_is_cut():
    chance = random.Random(7)
    sent = chance.randbytes(5 * MEGABYTE + 17)
    pipe = Pipe(2 * MEGABYTE)

    def write():
        place = 0
        while place < len(sent):
            count = chance.choice((1, 100, 70_000, 3 * MEGABYTE))
            pipe.writer.write(sent[place : place + count])
            place += count
        pipe.writer.close()

    writer = threading.Thread(target=write)
    writer.start()
    received, sizes = hashlib.sha256(), random.Random(8)
    while part := pipe.reader.read(sizes.choice((3, 5_000, 2 * MEGABYTE))):
        received.update(part)
    writer.join(10)
    assert received.digest() == hashlib.sha256(sent).digest()
    assert pipe.reader.read(1) == b""


def test_an_empty_stream_ends():
    pipe = Pipe(MEGABYTE)
    pipe.writer.close()
    assert pipe.reader.peek(1) == b""
    assert pipe.reader.read() == b""


def test_the_writer_gets_no_further_ahead_than_the_limit_and_is_freed_by_a_reader_that_leaves():
    pipe = Pipe(4 * MEGABYTE)
    written, ended = [], []

    def write():
        try:
            while True:
                pipe.writer.write(b"x" * MEGABYTE)
                written.append(MEGABYTE)
        except BrokenPipeError:
            ended.append(True)

    writer = threading.Thread(target=write)
    writer.start()
    wait_until(lambda: len(written) >= 4, "the lead")
    writer.join(0.2)
    assert writer.is_alive()
    assert sum(written) <= 6 * MEGABYTE  # the limit, the part that waits and the one in the writer's buffer
    assert pipe.reader.read(3 * MEGABYTE) == b"x" * 3 * MEGABYTE
    wait_until(lambda: len(written) >= 7, "room again")
    pipe.reader.close()
    writer.join(10)
    assert ended
    with pytest.raises(BrokenPipeError):
        pipe.put(b"more")
