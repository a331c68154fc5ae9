"""kill -9 at random moments of sealing, thinning and restoring, while rows arrive: hot plus cold stays the truth."""

import os
import random
import signal
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from sqlalchemy import text

from collector.clock import ManualClock, SystemClock
from collector.config.retention import RetentionSettings
from collector.errors import StorageUnavailable
from collector.records import Interval
from collector.retention.turn import Retention
from collector.storage.database import Database
from collector.storage.writer import Writer
from tests.storage.samples import BTC, batch, candle, perp, ticker

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]
ROOT = Path(__file__).parents[2]
KILLS = 50
SEED = random.SystemRandom().randrange(2**32)
NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
MONTHS = (datetime(2026, 1, 31, 18, tzinfo=UTC), datetime(2026, 2, 3, tzinfo=UTC))
KEPT = ("1h",)
MINUTE = timedelta(minutes=1)
ETH = perp("ETH")
SYSTEM = SystemClock()


def retention_on(url, folder):
    """Retention with everything on, for a process of its own."""
    settings = RetentionSettings(
        datasets={name: {"age": "60d", "then": "seal"} for name in ("candles", "tickers")},
        keep_intervals=KEPT,
        thin_tickers=("7d/1m", "30d/10m"),
    )
    return Retention(settings, folder, Database(url, clock=SYSTEM), ManualClock(NOW))


class Truth:
    """What was written, as it has to be found again."""

    def __init__(self, url):
        self.database = Database(url, clock=SYSTEM, application_name="truth")
        self.writer = Writer(self.database)
        self.cycle = self.writer.begin_cycle("market", NOW, instance="test:1", folder="", simulated=True)
        self.bars = {}
        self.tickers = set()

    def write(self, *records):
        for _ in range(5):
            try:
                self.writer.write(self.cycle, [batch(*records)])
                break
            except StorageUnavailable:  # the partition is locked by a killed process that the server still works for
                SYSTEM.sleep(0.2)
        else:
            raise AssertionError("nothing could be written")
        for record in records:
            if hasattr(record, "close"):
                self.bars[record.instrument.id, str(record.interval), record.open_time] = record.close

    def bar(self, opened, close, instrument=BTC, interval=Interval.M1):
        ends = opened + interval.width
        high = max(close, Decimal(101))
        return candle(
            instrument=instrument,
            interval=interval,
            open_time=opened,
            observed_at=ends,
            received_at=ends,
            close=close,
            high=high,
            low=min(close, Decimal(99)),
        )

    def fill(self):
        for start in MONTHS:
            for instrument in (BTC, ETH):
                self.write(*(self.bar(start + n * MINUTE, Decimal(100) + n % 7, instrument) for n in range(1200)))
            self.write(*(self.bar(start + n * Interval.H1.width, Decimal(100), interval=Interval.H1) for n in range(6)))
            moments = [start + n * timedelta(seconds=20) for n in range(1200)]
            self.write(*(ticker(at=at) for at in moments))
            last = {}
            for at in moments:
                last[at - timedelta(minutes=at.minute % 10, seconds=at.second)] = at
            self.tickers |= set(last.values())

    def late_row(self, chance):
        start = chance.choice(MONTHS)
        close = Decimal(chance.randrange(100, 200))
        self.write(self.bar(start + chance.randrange(1500) * MINUTE, close, chance.choice((BTC, ETH))))

    def rows(self, query):
        with self.database.reading() as connection:
            return connection.execute(text(query)).all()

    def quiet(self):
        """Wait until the server has noticed that the victim is gone."""
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        for _ in range(500):
            if not self.rows(f"{query} AND application_name LIKE 'collector %'")[0][0]:
                return
            SYSTEM.sleep(0.02)
        raise AssertionError("a killed process' session does not end")

    def found(self, folder):
        """Return the bars and the tickers of database and files together, by the rule of reading."""
        bars, tickers = {}, set()
        for dataset, file in self.rows("SELECT dataset, file FROM cold_months WHERE file <> ''"):
            for row in pq.read_table(folder / file).to_pylist():
                if dataset == "candles":
                    bars[row["instrument"], row["interval"], row["open_time"]] = row["close"]
                else:
                    tickers.add(row["observed_at"])
        bars |= {
            (row.instrument, row.interval, row.open_time): row.close
            for row in self.rows("SELECT i.instrument, c.* FROM candles c JOIN instruments i USING (instrument_id)")
        }
        return bars, tickers | {row[0] for row in self.rows("SELECT observed_at FROM tickers")}


@contextmanager
def victims(url, folder):
    """Lend what makes one process after the other, by a seed, and kills it when the block ends."""
    command = [sys.executable, "-m", "tests.faults.sealing_victims", url, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as mother:

        @contextmanager
        def victim(seed):
            mother.stdin.write(f"{seed}\n")
            mother.stdin.flush()
            pid = int(mother.stdout.readline())
            try:
                yield
            finally:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
                assert int(mother.stdout.readline()) == -signal.SIGKILL, "it ended by itself"

        yield victim
        mother.stdin.close()


def test_fifty_kills_of_sealing_thinning_and_restoring_lose_and_double_nothing(migrated_url, tmp_path, capsys):
    folder, chance = tmp_path / "cold", random.Random(SEED)
    truth = Truth(migrated_url)
    truth.fill()
    states = {}
    with victims(migrated_url, folder) as victim:
        for number in range(KILLS):
            until = SYSTEM.monotonic() + chance.uniform(0.02, chance.choice((0.3, 0.6, 1.2)))
            with victim(chance.randrange(2**32)):
                while SYSTEM.monotonic() < until:
                    truth.late_row(chance)
                    SYSTEM.sleep(chance.uniform(0.0, 0.1))
            truth.quiet()
            for (state,) in truth.rows("SELECT state FROM cold_months"):
                states[state] = states.get(state, 0) + 1
            bars, tickers = truth.found(folder)
            assert bars == truth.bars, f"seed {SEED}, kill {number}"
            assert tickers >= truth.tickers, f"seed {SEED}, kill {number}"
    retention = retention_on(migrated_url, folder)
    finish(retention, truth, folder)
    with capsys.disabled():
        sys.stdout.write(f"\nseed {SEED}: {KILLS} kills, {len(truth.bars)} bars; met states {states}\n")


def named(folder):
    """The files that the ledger may name; what was set aside for restored backups is not among them."""
    return [path for path in folder.rglob("*") if path.is_file() and folder / "replaced" not in path.parents]


def finish(retention, truth, folder):
    """Everything sealed holds the truth, and so does everything restored."""
    retention.turn(NOW)
    for month in retention.months():
        if month.state == "restored":
            retention.seal(month.dataset, month.month)
    retention.turn(NOW)
    assert truth.found(folder) == (truth.bars, truth.tickers), f"seed {SEED}"
    assert {row[0] for row in truth.rows("SELECT DISTINCT interval FROM candles")} == set(KEPT)
    left = {path.relative_to(folder).as_posix() for path in named(folder)}
    assert left == {row[0] for row in truth.rows("SELECT file FROM cold_months")}, f"seed {SEED}"
    before = truth.rows("SELECT * FROM cold_months ORDER BY dataset, month")
    assert retention.turn(NOW)[0].months == 0
    assert truth.rows("SELECT * FROM cold_months ORDER BY dataset, month") == before
    for month in retention.months():
        retention.restore(month.dataset, month.month)
    assert truth.found(folder) == (truth.bars, truth.tickers), f"seed {SEED}"
    assert named(folder) == []
