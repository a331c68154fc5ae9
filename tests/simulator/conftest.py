"""A simulator that stands still, its truth, and a connection to it, for every test of what goes over the wire."""

from collections.abc import Iterator

import pytest

from collector.simulator import Market, Simulator
from tests.simulator.client import Client, frozen


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    """Lend the file's simulator, which refuses nobody and whose market stands still at NOW."""
    with frozen() as running:
        yield running


@pytest.fixture(scope="module")
def market(simulator: Simulator) -> Market:
    """Return the truth behind the simulator's answers."""
    return simulator.market


@pytest.fixture
def client(simulator: Simulator) -> Iterator[Client]:
    """Lend a connection of the test's own."""
    made = Client(simulator)
    yield made
    made.close()
