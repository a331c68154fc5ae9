"""The error tree: the class says what to do next."""

from datetime import UTC, datetime

import pytest

from collector import errors
from collector.errors import (
    AccessDenied,
    CollectorError,
    ConfigError,
    IllegalTransition,
    LockHeld,
    PayloadError,
    RateLimited,
    RequestRejected,
    SinkError,
    StorageError,
    StorageLocked,
    StorageRejected,
    StorageUnavailable,
    VenueError,
    VenueUnreachable,
    Verdict,
)

VERDICTS = {
    CollectorError: Verdict.STOP,
    ConfigError: Verdict.STOP,
    LockHeld: Verdict.STOP,
    IllegalTransition: Verdict.STOP,
    VenueError: Verdict.GIVE_UP,
    VenueUnreachable: Verdict.RETRY,
    RateLimited: Verdict.GIVE_UP,
    RequestRejected: Verdict.GIVE_UP,
    AccessDenied: Verdict.GIVE_UP,
    PayloadError: Verdict.GIVE_UP,
    StorageError: Verdict.GIVE_UP,
    StorageUnavailable: Verdict.RETRY,
    StorageLocked: Verdict.RETRY,
    StorageRejected: Verdict.GIVE_UP,
    SinkError: Verdict.GIVE_UP,
}


def test_the_table_names_every_error():
    found = {item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, CollectorError)}
    assert found == set(VERDICTS)


@pytest.mark.parametrize(("kind", "verdict"), VERDICTS.items(), ids=lambda item: getattr(item, "__name__", str(item)))
def test_each_class_says_what_to_do_next(kind, verdict):
    assert kind("text").verdict is verdict


@pytest.mark.parametrize("kind", [VenueUnreachable, RateLimited, RequestRejected, AccessDenied])
def test_every_refusal_of_a_provider_can_be_caught_as_one(kind):
    error = kind("no", source="okx", status=418, code="50011")
    assert isinstance(error, VenueError)
    assert (str(error), error.source, error.status, error.code) == ("no", "okx", 418, "50011")


def test_an_error_without_a_text_says_what_its_class_means():
    assert str(LockHeld()) == "Another collector works on this database."


def test_an_error_of_a_payload_begins_with_the_path():
    error = PayloadError("is not a number", "$.data[3].px")
    assert str(error) == "$.data[3].px: is not a number"
    assert error.path == "$.data[3].px"


def test_a_refusal_knows_until_when_and_whether_it_is_a_ban():
    until = datetime(2026, 3, 11, 15, 0, tzinfo=UTC)
    plain, ban = RateLimited("slow down"), RateLimited("banned", retry_at=until, banned=True)
    assert (plain.retry_at, plain.banned) == (None, False)
    assert (ban.retry_at, ban.banned) == (until, True)


def test_a_rejected_request_says_whether_the_symbol_is_gone():
    assert RequestRejected("unknown", symbol_gone=True).symbol_gone
    assert not RequestRejected("bad parameter").symbol_gone
