"""A process that sends to BigQuery until it has sent everything, to be killed."""

from collector.clock import SystemClock
from collector.config.bigquery import BigQuerySettings
from collector.errors import LockHeld
from collector.sinks.bigquery.sink import BigQuerySink
from collector.sinks.bigquery.warehouse import Warehouse
from collector.storage.database import Database
from tests.sinks.bigquery.truth import SOURCES

CLOCK = SystemClock()


def send(database_url, address, buffer_size):
    """Send what there is; the lock of a killed predecessor is waited for."""
    values = {"enabled": True, "project": "test-project", "endpoint": address, "buffer_size": buffer_size}
    settings = BigQuerySettings.model_validate({**values, "timeout": "30s"})
    database = Database(database_url, clock=CLOCK)
    warehouse = Warehouse(settings, CLOCK, first_pause_s=0.005)
    sink = BigQuerySink(settings, SOURCES, database, CLOCK, warehouse=warehouse)
    while True:
        try:
            sink.send_all()
        except LockHeld:
            CLOCK.sleep(0.02)
        else:
            break
    warehouse.close()
    database.close()
