"""kill -9 at 50 random moments while rows are sent to BigQuery: none is lost, none is doubled, none is old."""

import multiprocessing
import random
import sys
from datetime import timedelta

import pytest

from collector.clock import SystemClock
from collector.records import Dataset, Job, Payload
from collector.storage.writer import Writer
from tests.faults.bigquery_sender import send
from tests.sinks.bigquery.server import BigQueryServer
from tests.sinks.bigquery.truth import differences
from tests.storage.samples import NOON, batch, candle, perp, ticker

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]
KILLS = 50
SEED = random.SystemRandom().randrange(2**32)
CLOCK = SystemClock()
COINS = [perp(base) for base in ("BTC", "ETH", "SOL", "XRP")]
FAULTS = [
    ("any", "slow"),
    ("jobs.insert.load", "lost"),
    ("jobs.insert.query", "lost"),
    ("jobs.get", 503),
    ("jobs.insert.load", "fails:backendError"),
    ("tables.insert", "cut"),
]


def store(writer, chance, number):
    """Store new rows and change old ones, in cycles new and old."""
    start = NOON + timedelta(minutes=number)
    cycle = writer.begin_cycle("market", start, instance="test:1", folder=f"f{number}", simulated=True)
    minutes = [number, *(chance.randrange(number + 1) for _ in range(3))]
    bars = {
        (minute, coin.id): candle(minute, coin, trades=chance.randrange(10**6)) for minute in minutes for coin in COINS
    }
    seen = [ticker(coin, last_price=str(chance.randrange(1, 10**6)), at=start) for coin in COINS]
    job = Job(source="okx", dataset=Dataset.CANDLES)
    body = Payload(job=job, status=200, body=str(number).encode(), received_at=start)
    writer.write(chance.randrange(1, cycle + 1), [batch(*bars.values(), *seen, dataset=Dataset.TICKERS)])
    writer.write(cycle, [batch(job=job, payloads=(body,))])


@pytest.fixture
def starter():
    """Start senders as processes of their own; what they import is loaded once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.faults.bigquery_sender"])

    def start(*arguments):
        process = context.Process(target=send, args=arguments, daemon=True)
        process.start()
        return process

    return start


def test_fifty_kills_of_the_sender_lose_and_double_nothing(database, starter, capsys):
    writer, chance = Writer(database), random.Random(SEED)
    url = database.url.render_as_string(hide_password=False)
    hit, longest = 0, 0.3
    with BigQueryServer() as server:
        for number in range(KILLS):
            store(writer, chance, number)
            server.faults = chance.sample(FAULTS, 1) if chance.random() < 0.5 else []
            began = CLOCK.monotonic()
            sender = starter(url, server.address, chance.choice((5, 20, 1000)))
            sender.join(chance.uniform(0.0, longest))
            if sender.is_alive():
                sender.kill()
                hit += 1
            sender.join()
            assert sender.exitcode in {0, -9}, f"seed {SEED}, kill {number}"
            longest = (
                min(1.0, max(longest, 1.5 * (CLOCK.monotonic() - began))) if sender.exitcode == 0 else longest * 1.05
            )
        server.faults = []
        last = starter(url, server.address, 1000)
        last.join(60)
        assert last.exitcode == 0, f"seed {SEED}"
        assert differences(database, server) == {}, f"seed {SEED}"
        jobs, again = len(server.warehouse.executed), starter(url, server.address, 1000)
        again.join(60)
        assert len(server.warehouse.executed) == jobs, f"seed {SEED}: something was sent although nothing was new"
    assert hit >= KILLS // 2, f"only {hit} kills met a sender"
    with capsys.disabled():
        sys.stdout.write(f"\nseed {SEED}: {hit} of {KILLS} kills met a sender; {jobs} jobs\n")
