"""The studies after a cycle: each by itself, what fails is told once an hour and costs nobody else."""

import logging
from datetime import timedelta

import pytest

from collector.clock import ManualClock
from collector.errors import StorageUnavailable
from collector.records import CycleReport, CycleState
from collector.studies.after_cycle import INSTALL, Planned, Studies
from tests.studies.market import START


class Pretended:
    """A study whose result is decided by the test: rows, or an error to raise."""

    def __init__(self, name, results):
        self.name, self.results, self.asked = name, results, []

    def make(self, now):
        self.asked.append(now)
        result = self.results.pop(0) if self.results else {}
        if isinstance(result, BaseException):
            raise result
        return result


def equity(name="p", **changes):
    values = {"portfolio": name, "day": START, "equity": 1.0, "bitcoin": None, "market": None}
    return {"paper_equity": [{**values, "turnover": None, "fees": 0.0, **changes}]}


def report(cadence="market", number=7):
    return CycleReport(
        cycle_id=number, cadence=cadence, state=CycleState.OK, started_at=START, finished_at=START, sources=()
    )


@pytest.fixture
def clock():
    return ManualClock(START)


@pytest.fixture
def told(caplog):
    caplog.set_level(logging.INFO)
    return lambda event: [record for record in caplog.records if record.getMessage().startswith(event)]


def studies(findings, clock, *made, cadence="market"):
    planned = [Planned(item.name, cadence, lambda item=item: item) for item in made]
    return Studies(planned, findings, clock)


def test_what_is_found_is_stored_under_the_number_of_its_cycle(findings, clock, market):
    one = Pretended("one", [equity()])
    assert studies(findings, clock, one).after_cycle(report()) == {"paper_equity": 1}
    assert one.asked == [START]
    assert market.rows("SELECT portfolio, cycle_id FROM paper_equity") == [("p", 7)]


DEFECTS = [
    ValueError("x"),
    KeyError("x"),
    TypeError("x"),
    ZeroDivisionError("x"),
    AttributeError("x"),
    AssertionError(),
    RuntimeError("x"),
    StorageUnavailable("gone"),
    ImportError(),
    ValueError(""),
    ValueError("two\nlines"),
]


@pytest.mark.parametrize("error", DEFECTS, ids=lambda error: type(error).__name__)
def test_a_study_that_raises_costs_itself_alone(findings, clock, market, error):
    bad, good = Pretended("bad", [error]), Pretended("good", [equity()])
    assert studies(findings, clock, bad, good).after_cycle(report()) == {"paper_equity": 1}


def test_rows_that_cannot_be_stored_cost_their_study_alone(findings, clock, market):
    bad, good = Pretended("bad", [{"nowhere": [{}]}]), Pretended("good", [equity()])
    assert studies(findings, clock, bad, good).after_cycle(report()) == {"paper_equity": 1}


def test_a_failing_study_is_told_once_an_hour(findings, clock, told):
    bad = Pretended("bad", [ValueError("wrong")] * 20)
    running = studies(findings, clock, bad)
    for _ in range(13):  # 0, 5, ... 60 minutes
        running.after_cycle(report())
        clock.advance(300)
    assert len(bad.asked) == 13
    assert len(told("study_failed")) == 2


def test_a_study_that_recovers_and_fails_again_is_told_again(findings, clock, told):
    bad = Pretended("bad", [ValueError("wrong"), {}, ValueError("wrong")])
    running = studies(findings, clock, bad)
    for _ in range(3):
        running.after_cycle(report())
    assert len(told("study_failed")) == 2


def test_two_failing_studies_are_both_told(findings, clock, told):
    studies(findings, clock, Pretended("one", [ValueError("x")]), Pretended("two", [ValueError("y")])).after_cycle(
        report()
    )
    assert len(told("study_failed")) == 2


def test_packages_that_are_missing_are_told_with_the_command_that_installs_them(findings, clock, caplog, capsys):
    def build():
        raise ModuleNotFoundError("No module named 'skfolio'")

    caplog.set_level(logging.INFO)
    running = Studies([Planned("portfolio", "market", build)], findings, clock)
    assert running.after_cycle(report()) == {}
    (record,) = [record for record in caplog.records if "study_needs_packages" in record.getMessage()]
    shown = f"{record.getMessage()} {record.__dict__}"
    assert INSTALL in shown
    assert "skfolio" in shown


def test_only_the_studies_of_the_cycles_cadence_run(findings, clock):
    fast, slow = Pretended("fast", []), Pretended("slow", [])
    planned = [Planned("fast", "market", lambda: fast), Planned("slow", "daily", lambda: slow)]
    running = Studies(planned, findings, clock)
    running.after_cycle(report("market"))
    assert (len(fast.asked), len(slow.asked)) == (1, 0)
    running.after_cycle(report("daily"))
    assert (len(fast.asked), len(slow.asked)) == (1, 1)


def test_a_study_is_built_at_its_first_turn_and_once(findings, clock):
    built = []

    def build():
        built.append("one")
        return Pretended("one", [])

    running = Studies([Planned("one", "daily", build)], findings, clock)
    running.after_cycle(report("market"))
    assert built == []
    running.after_cycle(report("daily"))
    running.after_cycle(report("daily"))
    assert built == ["one"]


def test_a_study_whose_rows_were_not_stored_begins_anew(findings, clock, market):
    """It remembers what it told; what could not be stored must be told again at the next cycle."""

    class Once:
        name = "once"

        def __init__(self):
            self.told = False

        def make(self, now):
            found = {} if self.told else (equity() if whole else {"paper_equity": [{"portfolio": "p"}]})
            self.told = True
            return found

    whole = False
    running = Studies([Planned("once", "market", Once)], findings, clock)
    assert running.after_cycle(report()) == {}
    whole = True
    assert running.after_cycle(report()) == {"paper_equity": 1}
    assert running.after_cycle(report()) == {}


def test_when_it_is_told_to_stop_no_further_study_begins(findings, clock):
    first, second = Pretended("first", [equity()]), Pretended("second", [equity("q")])
    running = studies(findings, clock, first, second)
    assert running.after_cycle(report(), stopping=lambda: bool(first.asked)) == {"paper_equity": 1}
    assert second.asked == []


def test_rows_of_one_table_from_two_studies_are_counted_together(findings, clock):
    one, two = Pretended("one", [equity("p")]), Pretended("two", [equity("q")])
    assert studies(findings, clock, one, two).after_cycle(report()) == {"paper_equity": 2}


def test_time_goes_on_between_studies(findings, clock):
    class Slow(Pretended):
        def make(self, now):
            clock.advance(60)
            return super().make(now)

    slow, after = Slow("slow", []), Pretended("after", [])
    studies(findings, clock, slow, after).after_cycle(report())
    assert after.asked == [START + timedelta(minutes=1)]
