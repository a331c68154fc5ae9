"""The process that makes the studies: told of cycles through a pipe, it makes those of the newest of each cadence."""

import io
import os
import threading

import pytest

from collector.analyst import follow, line_of


class Recorder:
    """Stands where the studies are; the first call waits until it may go on."""

    def __init__(self):
        self.made = []
        self.begun, self.go_on = threading.Event(), threading.Event()

    def after_cycle(self, ended):
        self.made.append((ended.cadence, ended.cycle_id))
        self.begun.set()
        assert self.go_on.wait(10)


@pytest.fixture
def studies():
    return Recorder()


def test_each_cycle_is_made_in_turn_until_the_pipe_closes(studies):
    studies.go_on.set()
    follow(studies, io.StringIO(f"{line_of('market', 7)}\n{line_of('hourly', None)}\n"))
    assert studies.made == [("market", 7), ("hourly", None)]


def test_of_cycles_told_while_it_was_busy_the_newest_of_each_cadence_is_made(studies):
    reading, writing = os.pipe()
    with os.fdopen(reading) as told, os.fdopen(writing, "w") as tell:
        worker = threading.Thread(target=follow, args=(studies, told))
        worker.start()
        print(line_of("market", 1), file=tell, flush=True)
        assert studies.begun.wait(10)
        for cadence, number in (("market", 2), ("hourly", 3), ("market", 4)):
            print(line_of(cadence, number), file=tell, flush=True)
        tell.close()
        studies.go_on.set()
        worker.join(10)
    assert studies.made[0] == ("market", 1)
    assert set(studies.made) >= {("market", 1), ("hourly", 3), ("market", 4)}


@pytest.mark.parametrize(
    "line", ["", "{", "[]", '{"cadence": "market"}', '{"cadence": "market", "cycle_id": 1, "x": 2}']
)
def test_a_line_that_was_cut_off_is_passed_over(studies, line):
    studies.go_on.set()
    follow(studies, io.StringIO(f"{line}\n{line_of('market', 7)}\n"))
    assert studies.made == [("market", 7)]
