"""Driver errors: which of ours they become, and that no password survives."""

import socket

import psycopg2
import pytest
from sqlalchemy import text

from collector.clock import SystemClock
from collector.errors import ConfigError, StorageError, StorageLocked, StorageRejected, StorageUnavailable, Verdict
from collector.storage.database import Database
from collector.storage.faults import from_driver, translated, verdict, without_password


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("08006", StorageUnavailable),  # connection failure
        ("25006", StorageUnavailable),  # read-only after a failover
        ("25P03", StorageUnavailable),  # idle in transaction for too long
        ("40001", StorageUnavailable),  # serialisation failure
        ("40P01", StorageUnavailable),  # deadlock
        ("53100", StorageUnavailable),  # disk full
        ("53300", StorageUnavailable),  # too many connections
        ("55P03", StorageLocked),  # lock not available
        ("57014", StorageUnavailable),  # statement timeout
        ("57P01", StorageUnavailable),  # the administrator ended the session
        ("57P03", StorageUnavailable),  # starting up
        ("58030", StorageUnavailable),  # input or output error
        ("22003", StorageRejected),  # number out of range
        ("22021", StorageRejected),  # not valid in the encoding
        ("23502", StorageRejected),  # NULL
        ("23505", StorageRejected),  # duplicate
        ("23514", StorageRejected),  # check
        ("54000", StorageRejected),  # index entry too long
        ("28P01", ConfigError),  # wrong password
        ("3D000", ConfigError),  # no such database
        ("42P01", ConfigError),  # no such table
        ("42501", ConfigError),  # no permission
        ("0A000", ConfigError),  # feature not supported
        ("XX001", StorageError),  # corrupted
        ("55000", StorageError),  # not in the right state, but for no known reason
    ],
)
def test_the_sqlstate_decides(code, expected):
    assert verdict(code, connection_lost=True) is expected


def test_a_lost_connection_has_no_sqlstate_and_may_be_tried_again():
    assert verdict(None, connection_lost=True).verdict is Verdict.RETRY
    assert verdict(None, connection_lost=False) is StorageError


def test_a_real_error_is_translated_with_its_cause_and_in_one_line(database):
    with pytest.raises(StorageRejected) as caught, database.transaction("store a thing") as connection:
        connection.execute(text("SELECT 'x'::integer"))
    assert str(caught.value) == 'store a thing: invalid input syntax for type integer: "x" [22P02]'
    assert isinstance(caught.value.__cause__.orig, psycopg2.DataError)


def test_a_statement_that_takes_too_long_may_be_tried_again(database):
    hurried = text("SET LOCAL statement_timeout = '20ms'; SELECT pg_sleep(5)")
    with pytest.raises(StorageUnavailable, match="57014"), database.transaction() as connection:
        connection.execute(hurried)


def test_a_missing_table_says_that_the_schema_does_not_fit(database):
    with pytest.raises(ConfigError, match="db upgrade"), database.reading() as connection:
        connection.execute(text("SELECT * FROM no_such_table"))


def test_a_missing_database_stops_and_names_the_setting(database):
    gone = Database(
        database.url.set(database="no_such_database").render_as_string(hide_password=False), clock=SystemClock()
    )
    with pytest.raises(ConfigError, match=r"no_such_database.*COLLECTOR_DATABASE__URL"), gone.reading():
        pass


def test_a_server_that_does_not_answer_may_be_tried_again(tmp_path):
    nowhere = Database(f"postgresql://user:s3cret@/name?host={tmp_path}", clock=SystemClock())
    with pytest.raises(StorageUnavailable) as caught, nowhere.reading("look"):
        pass
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)


REMEDY = " (start the server or correct COLLECTOR_DATABASE__URL)"


def test_a_refused_connection_is_one_line_with_the_setting_and_the_remedy():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    nowhere = Database(f"postgresql://me:s3cret@127.0.0.1:{port}/name", clock=SystemClock())
    with pytest.raises(StorageUnavailable) as caught, nowhere.reading("look"):
        pass
    said = f'look: connection to server at "127.0.0.1", port {port} failed: Connection refused'
    assert str(caught.value) == said + REMEDY


NOT_THERE = 'connection to server at "{}", port 5432 failed: {}'
V6 = NOT_THERE.format("::1", "Connection refused")
V4 = NOT_THERE.format("127.0.0.1", "Connection refused")
SLOW = NOT_THERE.format("10.0.0.1", "timeout expired")
UNKNOWN = 'could not translate host name "db" to address: Name or service not known'
NO_SOCKET = 'connection to server on socket "/run/.s.PGSQL.5432" failed: No such file or directory'
HINT = "\n\tIs the server running on that host and accepting TCP/IP connections?\n"


@pytest.mark.parametrize(
    ("libpq", "said"),
    [
        (V6 + HINT + V4 + HINT, f"{V6}; {V4}"),
        (UNKNOWN + "\n", UNKNOWN),
        (SLOW + "\n", SLOW),
        (NO_SOCKET + "\n\tIs the server running locally and accepting connections on that socket?\n", NO_SOCKET),
    ],
)
def test_a_server_that_is_not_there_is_told_in_one_line_with_the_remedy(libpq, said):
    error = from_driver(psycopg2.OperationalError(libpq), "look")
    assert type(error) is StorageUnavailable
    assert str(error) == f"look: {said}{REMEDY}"


@pytest.mark.parametrize(
    "libpq",
    [
        'connection to server at "db", port 5432 failed: FATAL:  the database system is starting up\n',
        'connection to server at "db", port 5432 failed: FATAL:  sorry, too many clients already\n',
        "server closed the connection unexpectedly\n",
    ],
)
def test_a_server_that_is_there_needs_no_start(libpq):
    error = from_driver(psycopg2.OperationalError(libpq), "look")
    assert type(error) is StorageUnavailable
    assert str(error) == f"look: {libpq.strip()}"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("postgresql://me:s3cret@host/db failed", "postgresql://me:***@host/db failed"),
        ("postgresql://me:s3:c/ret@host/db", "postgresql://me:***@host/db"),
        ("user=me password=s3cret host=x", "user=me password=*** host=x"),
        ("password = 's3 cret' host=x", "password = *** host=x"),
        ("no secret: a@b", "no secret: a@b"),
    ],
)
def test_passwords_are_taken_out_of_texts(given, expected):
    assert without_password(given) == expected


def test_our_own_errors_pass_through():
    with pytest.raises(StorageRejected, match=r"^mine$"), translated("anything"):
        raise StorageRejected("mine")
