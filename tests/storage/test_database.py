"""The connection and the one-writer lock."""

import os
import socket

import pytest
from sqlalchemy import text

from collector.clock import SystemClock
from collector.errors import ConfigError, LockHeld, StorageUnavailable
from collector.storage.database import Database, driver_url


@pytest.fixture
def other(database):
    """Another program on the same database."""
    opened = Database(database.url.render_as_string(hide_password=False), clock=SystemClock(), application_name="rival")
    yield opened
    opened.close()


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_every_spelling_of_the_url_uses_our_driver(scheme):
    assert driver_url(f"{scheme}://me@host:5433/db?sslmode=require").render_as_string() == (
        "postgresql+psycopg2://me@host:5433/db?sslmode=require"
    )


@pytest.mark.parametrize(
    "url", ["", "host/db", "mysql://host/db", "postgresql+asyncpg://host/db", "postgresql://host:port/db"]
)
def test_anything_else_is_refused_in_one_line_without_the_password(url):
    with pytest.raises(ConfigError, match=r"database\.url") as caught:
        Database(url.replace("//", "//me:s3cret@"), clock=SystemClock())
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_url_for_people_has_no_password():
    database = Database("postgres://me:s3cret@host/db", clock=SystemClock())
    assert database.safe_url == "postgresql://me:***@host/db"


def test_a_session_is_in_utc_and_has_time_limits(database):
    wanted = {
        "timezone": "UTC",
        "statement_timeout": "30s",
        "lock_timeout": "5s",
        "jit": "off",
        "application_name": f"collector pid={os.getpid()} host={socket.gethostname()}"[:63],
    }
    for _ in range(2):  # a rollback between uses must not undo them
        with database.reading() as connection:
            assert {name: connection.execute(text(f"SHOW {name}")).scalar() for name in wanted} == wanted


def test_a_reading_connection_cannot_write(database):
    with pytest.raises(StorageUnavailable, match="25006"), database.reading() as connection:
        connection.execute(text("DELETE FROM candles"))


def test_a_second_collector_is_told_who_holds_the_lock(database, other):
    with database.writer_lock() as lock:
        assert lock.still_held()
        with pytest.raises(LockHeld) as caught, other.writer_lock():
            pass
    message = str(caught.value)
    assert f"collector pid={os.getpid()} host={socket.gethostname()}"[:63] in message
    assert "since 20" in message
    assert "\n" not in message


def test_only_one_process_keeps_house_and_it_disturbs_no_collector(database, other):
    with database.housekeeper_lock() as lock, other.writer_lock() as writer:
        assert lock.still_held()
        assert writer.still_held()
        with pytest.raises(LockHeld, match="another process keeps house on"), other.housekeeper_lock():
            pass
    with other.housekeeper_lock() as lock:
        assert lock.still_held()


def test_the_lock_is_free_again_afterwards_even_after_an_error(database, other):
    with pytest.raises(ValueError, match="mine"), database.writer_lock():
        raise ValueError("mine")
    with other.writer_lock() as lock:
        assert lock.still_held()


def test_another_schema_has_a_lock_of_its_own(database, other):
    with other.transaction() as connection:
        connection.execute(text("CREATE SCHEMA elsewhere"))
    address = database.url.update_query_dict({"options": "-csearch_path=elsewhere"})
    elsewhere = Database(address.render_as_string(hide_password=False), clock=SystemClock())
    with database.writer_lock(), elsewhere.writer_lock() as lock:
        assert lock.still_held()
    elsewhere.close()


def test_a_lock_whose_connection_is_gone_is_not_held(database, other):
    with database.writer_lock() as lock:
        with other.engine.connect() as connection:
            connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
        assert not lock.still_held()
        with other.writer_lock() as second:
            assert second.still_held()
        assert not lock.still_held()
