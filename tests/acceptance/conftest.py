"""What the acceptance tests share: the product's own simulator, and installations of the real program."""

import itertools

import pytest

from collector.simulator import Simulator
from tests.acceptance.program import Program

SEED, ASSETS = 11, 45


def simulator(**options):
    """Return a simulator of a small market whose CoinGecko allows as much as the tests ask for."""
    return Simulator(**{"seed": SEED, "assets": ASSETS, "coingecko_per_minute": 1000, **options})


@pytest.fixture(scope="session")
def venues():
    """Simulated providers in real time, with their limits; shared, so only for tests that count no requests."""
    with simulator() as running:
        yield running


@pytest.fixture(scope="module")
def install(cluster, tmp_path_factory):
    """Make a Program with an empty migrated database and folders of its own."""
    made, numbers = [], itertools.count(1)

    def make(addresses, **options):
        url = cluster.create_database()
        made.append(url)
        return Program(tmp_path_factory.mktemp(f"program{next(numbers)}"), addresses=addresses, url=url, **options)

    yield make
    for url in made:
        cluster.drop(url)
