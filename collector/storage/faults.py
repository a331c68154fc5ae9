"""Turns every driver error into one of ours, in one place, by class and SQLSTATE; no secret survives in a text.

The original error stays reachable as `__cause__`.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2
from sqlalchemy import exc

from collector.errors import (
    CollectorError,
    ConfigError,
    StorageError,
    StorageLocked,
    StorageRejected,
    StorageUnavailable,
)

# First characters of the SQLSTATE -> what it means for the caller; the longest match decides.
# https://www.postgresql.org/docs/current/errcodes-appendix.html
VERDICTS: dict[str, type[CollectorError]] = {
    "08": StorageUnavailable,  # connection exception
    "25": StorageUnavailable,  # read-only after a failover, idle-in-transaction timeout
    "40": StorageUnavailable,  # serialisation failure, deadlock
    "53": StorageUnavailable,  # disk full, out of memory, too many connections
    "55006": StorageUnavailable,  # object in use
    "55P03": StorageLocked,  # lock not available in time
    "57": StorageUnavailable,  # shutdown, crash recovery, statement timeout
    "58": StorageUnavailable,  # the server's disk or operating system failed
    "22": StorageRejected,  # a value does not fit its type
    "23": StorageRejected,  # a value breaks a constraint
    "54": StorageRejected,  # a value is too large for an index or a row
    "0A": ConfigError,  # the server does not have the feature
    "28": ConfigError,  # wrong user or password
    "3D": ConfigError,  # no such database
    "3F": ConfigError,  # no such schema
    "42": ConfigError,  # no such table or column, no permission: schema and program do not fit
}

# libpq hands on no SQLSTATE when a connection is refused, so these few have to be known by their English text.
_REFUSED_FOR_GOOD = re.compile(
    r"authentication failed|no password supplied|no pg_hba\.conf entry|"
    r"(database|role) \"[^\"]*\" (does not exist|is not permitted to log in)|permission denied for database|"
    r"invalid (connection option|port number|URI|sslmode)|missing \"=\" after"
)
# The same for a server that is not there: no address, nobody listening, no answer in time. A server that says FATAL
# (it starts up, all its connections are taken) is there.
_NOT_REACHED = re.compile(
    r"could not translate host name|could not connect to server|timeout expired|"
    r"connection to server (at|on socket) [^\n]* failed: (?!FATAL)"
)
_HINT = "Is the server running "  # libpq asks it below each address it tried
_NO_PERMISSION = "42501"
_PASSWORD = re.compile(r"(://[^:/@\s]*:)[^@\s]*@|(password\s*=\s*)('[^']*'|\S+)", re.IGNORECASE)
_CHECK_URL = " (check COLLECTOR_DATABASE__URL)"
_START_SERVER = " (start the server or correct COLLECTOR_DATABASE__URL)"
_CHECK_SCHEMA = " (schema and program do not fit: python main.py db upgrade)"


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Raise our error in place of a driver's; `doing` begins its text, as in "write candles"."""
    try:
        yield
    except (exc.DBAPIError, psycopg2.Error) as error:
        raise from_driver(error, doing) from error
    except exc.TimeoutError as error:  # every connection of the pool is taken
        raise StorageUnavailable(f"{doing}: no free database connection") from error


def from_driver(error: Exception, doing: str) -> CollectorError:
    """Return the error that a driver's error stands for."""
    original = error.orig if isinstance(error, exc.DBAPIError) else error
    code = getattr(original, "pgcode", None)
    text = f"{doing}: {one_line(original)}"
    if code is None and isinstance(original, psycopg2.OperationalError) and _REFUSED_FOR_GOOD.search(str(original)):
        return ConfigError(text + _CHECK_URL)
    if code is None and isinstance(original, psycopg2.OperationalError) and _NOT_REACHED.search(str(original)):
        return StorageUnavailable(text + _START_SERVER)
    kind = verdict(code, connection_lost=isinstance(original, psycopg2.OperationalError | psycopg2.InterfaceError))
    if kind is not ConfigError:
        return kind(text)
    does_not_fit = str(code)[:2] in {"42", "0A"} and code != _NO_PERMISSION
    return ConfigError(text + (_CHECK_SCHEMA if does_not_fit else _CHECK_URL))


def verdict(code: str | None, *, connection_lost: bool) -> type[CollectorError]:
    """Return the class for a SQLSTATE; None is a lost connection when the driver says so, else a defect."""
    if code is None:
        return StorageUnavailable if connection_lost else StorageError
    for length in (5, 2):
        found = VERDICTS.get(code[:length])
        if found is not None:
            return found
    return StorageError


def one_line(error: BaseException | None) -> str:
    """Return what the server or libpq says with its SQLSTATE, without secrets and cut to 300 characters.

    Of several lines, as libpq writes one for each address of a host, the first three that say something are joined.
    """
    if error is None:
        return "unknown error"
    primary = getattr(getattr(error, "diag", None), "message_primary", None)
    lines = [line.strip() for line in str(primary or error).splitlines()]
    lines = [line for line in lines if line and not line.startswith(_HINT)]
    code = getattr(error, "pgcode", None)
    text = without_password("; ".join(lines[:3]) or type(error).__name__)[:300]
    return f"{text} [{code}]" if code else text


def without_password(text: str) -> str:
    """Return a text with the password of every URL and DSN in it replaced by ***."""
    return _PASSWORD.sub(lambda found: f"{found[1]}***@" if found[1] else f"{found[2]}***", text)
