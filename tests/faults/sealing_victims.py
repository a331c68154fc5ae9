"""Makes processes that seal, thin and restore until they are killed: one for each line of standard input.

Each is a fork of this one, which has everything imported and nothing open, so that it is at work within milliseconds.
"""

import os
import random
import sys
from pathlib import Path

import pandas as pd

from tests.faults.test_kill_sealing import NOW, retention_on


def work(url: str, folder: Path, seed: int) -> None:
    """Do everything that retention does, in random order, for ever."""
    chance = random.Random(seed)
    retention = retention_on(url, folder)
    while True:
        retention.turn(NOW)
        left = [month for month in retention.months() if month.file]
        for month in chance.sample(left, min(2, len(left))):
            retention.restore(month.dataset, month.month)
        for month in retention.months():
            if month.state == "restored" and chance.random() < 0.7:
                retention.seal(month.dataset, month.month)


def main(url: str, folder: str) -> None:
    """Fork a victim for each line, which is its seed; print its number, then wait for its end."""
    assert pd.Timestamp  # reading Parquet imports pandas when it is first needed: for a second
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            work(url, Path(folder), int(line))
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()
        _, status = os.waitpid(pid, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
