"""What the tests of the studies share: a real database, a market to fill it, a clock that the test owns."""

import pytest

from collector.clock import ManualClock
from collector.storage.database import Database
from collector.storage.findings import Findings
from collector.storage.past import Past
from tests.studies.market import START, Market


@pytest.fixture
def database(emptied):
    return emptied


@pytest.fixture
def market(database):
    return Market(database)


@pytest.fixture
def past(database):
    return Past(database)


@pytest.fixture
def findings(database):
    return Findings(database)


@pytest.fixture
def clocked(database):
    """A second Database on the same tables whose clock stands still: what it writes was detected at its time."""
    clock = ManualClock(START)
    opened = Database(database.url.render_as_string(hide_password=False), clock=clock)
    yield opened, clock
    opened.close()


@pytest.fixture
def when(clocked):
    """A market whose writes happen at a moment of the test's choice."""
    opened, clock = clocked

    def at(moment):
        clock.advance((moment - clock.now()).total_seconds())
        return market

    market = Market(opened)
    return at
