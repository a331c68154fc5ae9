"""The migration chain: it builds what the models say, it can go back and forth, and it fails whole or not at all."""

import logging
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from collector.clock import SystemClock
from collector.errors import ConfigError, StorageUnavailable
from collector.storage import schema, timeseries
from collector.storage.database import Database, driver_url
from collector.storage.models import METADATA
from collector.storage.models.views import COMMENTS, VIEWS

ROOT = Path(__file__).parents[2]
EVERY = ["0001", "0002", "0003", "0004", "0005", "0006", "0007"]
CATALOG = {
    "columns": """
        SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
            pg_get_expr(d.adbin, d.adrelid), col_description(c.oid, a.attnum)
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v')""",
    "tables": """
        SELECT relname, relkind, pg_get_partkeydef(oid), obj_description(oid), CASE relkind WHEN 'v'
            THEN pg_get_viewdef(oid) END
        FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v')""",
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace""",
    "indexes": "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
}


@pytest.fixture
def empty(database_url):
    opened = Database(database_url, clock=SystemClock())
    yield opened
    opened.close()


def catalog(engine):
    """What the server knows of the schema, without the migrations' own table."""
    with engine.connect() as connection:
        return {
            name: sorted(
                [tuple(map(str, row)) for row in connection.execute(text(query)) if "alembic_version" not in str(row)]
            )
            for name, query in CATALOG.items()
        }


def test_the_chain_builds_what_the_models_say(database, empty):
    with empty.engine.begin() as connection:
        METADATA.create_all(connection)
        for name, query in VIEWS.items():
            connection.execute(text(f"CREATE VIEW {name} AS {query}"))
            connection.execute(text(f"COMMENT ON VIEW {name} IS '{COMMENTS[name]}'"))
    by_chain, by_models = catalog(database.engine), catalog(empty.engine)
    for part in CATALOG:
        assert by_chain[part] == by_models[part]
    assert len(by_models["tables"]) == len(METADATA.tables) + len(VIEWS)


def test_nothing_is_left_to_migrate_with_partitions_in_place(database):
    with database.transaction() as connection:
        timeseries.ensure_ahead(connection, SystemClock().now())
    with database.engine.connect() as connection:
        options = {
            "compare_type": True,
            "compare_server_default": True,
            "include_name": lambda name, kind, _: not (kind == "table" and name[-3:-2] == "_" and name[-2:].isdigit()),
        }
        assert compare_metadata(MigrationContext.configure(connection, opts=options), METADATA) == []


def test_down_and_up_again_gives_the_same_schema(empty):
    applied = empty.upgrade()
    before = catalog(empty.engine)
    schema.downgrade(empty.engine, "base")
    assert empty.revision() is None
    assert catalog(empty.engine)["tables"] == []
    assert empty.upgrade() == applied
    assert catalog(empty.engine) == before


def test_upgrading_says_what_it_applied_and_then_has_nothing_to_do(empty):
    assert empty.revision() is None
    applied = empty.upgrade()
    assert applied[-1] == schema.head() == empty.revision()
    assert empty.upgrade() == []


def test_a_database_newer_than_the_program_is_refused_in_one_line(database):
    with database.transaction() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'from_the_future'"))
    with pytest.raises(ConfigError, match=f"at schema from_the_future, this program knows up to {EVERY[-1]}") as caught:
        database.upgrade()
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError):
        database.revision()


def test_a_migration_that_dies_half_way_leaves_nothing_behind(empty):
    with empty.transaction() as connection:
        # `rejects` is one of the last tables to be made: a foreign one in its place stops the migration near its end.
        connection.execute(text("CREATE TABLE rejects (id integer)"))
    before = catalog(empty.engine)
    with pytest.raises(ConfigError, match="already exists"):
        empty.upgrade()
    assert catalog(empty.engine) == before
    assert empty.revision() is None
    with empty.transaction() as connection:
        connection.execute(text("DROP TABLE rejects"))
    assert empty.upgrade() == EVERY


def upgrade_expecting_a_lost_connection(database, failures):
    try:
        database.upgrade()
    except StorageUnavailable as error:
        failures.append(error)


def test_a_migration_whose_connection_is_killed_can_be_run_again(empty):
    with empty.transaction() as blocker:
        blocker.execute(text("CREATE TABLE candles ()"))  # uncommitted: the migration has to wait for it
        failures = []
        thread = threading.Thread(target=upgrade_expecting_a_lost_connection, args=(empty, failures))
        thread.start()
        kill = text(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
            "AND datname = current_database() AND pid <> pg_backend_pid()"
        )
        with create_engine(empty.url, isolation_level="AUTOCOMMIT").connect() as other:
            while thread.is_alive() and not other.execute(kill).fetchall():
                thread.join(0.01)
        thread.join()
        blocker.rollback()
    assert len(failures) == 1
    assert empty.revision() is None
    assert empty.upgrade() == EVERY


def test_the_rows_of_the_first_release_survive_the_second_migration(empty):
    schema.upgrade(empty.engine, "0001")
    with empty.transaction() as connection:
        row = "'okx', '2026-03-11 15:00+00', 'HTTP 429', true, '2026-03-11 14:00+00'"
        connection.execute(
            text(f"INSERT INTO provider_state (source, paused_until, reason, banned, updated_at) VALUES ({row})")
        )
    assert empty.upgrade() == EVERY[1:]
    with empty.reading() as connection:
        kept = connection.execute(text("SELECT source, reason, banned, denied, clock_offset_s FROM provider_state"))
        assert kept.one() == ("okx", "HTTP 429", True, False, None)


UPGRADE = """
import sys
from collector.clock import SystemClock
from collector.storage.database import Database
print(Database(sys.argv[1], clock=SystemClock()).upgrade())
"""


def test_two_processes_may_upgrade_at_once(database_url):
    command = [sys.executable, "-c", UPGRADE, database_url]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(2)]
    printed = sorted(process.communicate(timeout=60)[0].strip() for process in running)
    assert printed == [str(EVERY), "[]"]


def test_threads_may_upgrade_different_databases_at_once(cluster):
    urls = [cluster.create_database("template1") for _ in range(2)]
    databases = [Database(url, clock=SystemClock()) for url in urls]
    threads = [threading.Thread(target=database.upgrade) for database in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [database.revision() for database in databases] == [schema.head()] * 2
    for database, url in zip(databases, urls, strict=True):
        database.close()
        cluster.drop(url)


def test_migrating_leaves_the_program_s_log_handlers_alone(empty):
    handlers, level = list(logging.getLogger().handlers), logging.getLogger().level
    disabled = {name for name, item in logging.root.manager.loggerDict.items() if getattr(item, "disabled", False)}
    empty.upgrade()
    assert (logging.getLogger().handlers, logging.getLogger().level) == (handlers, level)
    after = {name for name, item in logging.root.manager.loggerDict.items() if getattr(item, "disabled", False)}
    assert after == disabled


def test_a_server_that_is_too_old_is_refused(empty, monkeypatch):
    monkeypatch.setattr(schema, "OLDEST_SERVER", (99,))
    with pytest.raises(ConfigError, match="14 or newer is needed"):
        empty.upgrade()
    assert empty.revision() is None


def test_a_database_in_another_encoding_is_refused(cluster, database_url):
    engine = create_engine(driver_url(database_url), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0"))
    engine.dispose()
    latin = Database(
        driver_url(database_url).set(database="latin").render_as_string(hide_password=False), clock=SystemClock()
    )
    with pytest.raises(ConfigError, match="encoding is LATIN1"):
        latin.upgrade()
    latin.close()
    cluster.drop(latin.url.render_as_string(hide_password=False))


def test_constraints_hold_in_the_database_itself(database):
    with pytest.raises(DBAPIError, match="ck_cycles_finished"), database.engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO cycles (cadence, state, started_at, instance, folder, simulated) "
                "VALUES ('a', 'ok', now(), 'i', 'f', false)"
            )
        )
