"""What the tests of the BigQuery sink share: a warehouse on this machine, a database with rows, a sink between them."""

from datetime import timedelta

import pytest

from collector.clock import SystemClock
from collector.config.bigquery import BigQuerySettings
from collector.sinks.bigquery.sink import BigQuerySink
from collector.sinks.bigquery.warehouse import Warehouse
from collector.storage.writer import Writer
from tests.sinks.bigquery.server import BigQueryServer
from tests.sinks.bigquery.truth import SOURCES
from tests.storage.samples import NOON


@pytest.fixture
def server():
    with BigQueryServer() as running:
        yield running


@pytest.fixture
def database(emptied):
    return emptied


@pytest.fixture
def writer(database):
    return Writer(database)


@pytest.fixture
def cycle(writer):
    return writer.begin_cycle("market", NOON - timedelta(minutes=1), instance="test:1", folder="f", simulated=True)


@pytest.fixture
def make_sink(server, database):
    """Build a sink as a new process would; settings by name replace the defaults."""
    made = []

    def make(**changes):
        values = {"enabled": True, "project": "test-project", "endpoint": server.address, "timeout": "10s", **changes}
        settings = BigQuerySettings.model_validate(values)
        warehouse = Warehouse(settings, SystemClock(), first_pause_s=0.001)
        made.append(warehouse)
        return BigQuerySink(settings, SOURCES, database, SystemClock(), warehouse=warehouse)

    yield make
    for warehouse in made:
        warehouse.close()


@pytest.fixture
def sink(make_sink):
    return make_sink()
