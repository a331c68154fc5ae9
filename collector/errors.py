"""Every error of the product; the class says what to do next, never its text."""

from datetime import datetime
from enum import Enum


class Verdict(Enum):
    """What the catcher of an error may do."""

    RETRY = "retry"  # the same call can succeed later
    GIVE_UP = "give_up"  # this piece of work is lost; go on with the next
    STOP = "stop"  # a human must act


class CollectorError(Exception):
    """Base of all errors we raise on purpose; the docstring of the class is the default text."""

    verdict = Verdict.STOP

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (self.__doc__ or "").strip())


class ConfigError(CollectorError):
    """The configuration cannot be used; the text names the key, the value and the remedy."""


class LockHeld(CollectorError):
    """Another collector works on this database."""


class IllegalTransition(CollectorError):
    """A state machine was asked for a move it does not have: a defect of ours."""


class VenueError(CollectorError):
    """A provider did not give what was asked for."""

    verdict = Verdict.GIVE_UP

    def __init__(self, message: str = "", *, source: str = "", status: int | None = None, code: str = "") -> None:
        super().__init__(message)
        self.source = source
        self.status = status  # HTTP status; None when no answer came
        self.code = code  # the provider's own error code as text; "" when it gave none


class VenueUnreachable(VenueError):
    """No usable answer: name resolution, connection, timeout, deadline, or a server-side error."""

    verdict = Verdict.RETRY


class RateLimited(VenueError):
    """The provider refuses more calls for now.

    `retry_at` is the moment the provider named, None when it named none.
    `banned` is true when it punishes calls that went on after a refusal (Binance 418).
    """

    def __init__(
        self,
        message: str = "",
        *,
        source: str = "",
        status: int | None = None,
        code: str = "",
        retry_at: datetime | None = None,
        banned: bool = False,
    ) -> None:
        super().__init__(message, source=source, status=status, code=code)
        self.retry_at = retry_at
        self.banned = banned


class RequestRejected(VenueError):
    """Our request is wrong, or the symbol is gone; the same call will fail again.

    `symbol_gone` is true when the provider says that the instrument does not exist.
    """

    def __init__(
        self,
        message: str = "",
        *,
        source: str = "",
        status: int | None = None,
        code: str = "",
        symbol_gone: bool = False,
    ) -> None:
        super().__init__(message, source=source, status=status, code=code)
        self.symbol_gone = symbol_gone


class AccessDenied(VenueError):
    """The provider does not serve us: key, plan, country or firewall (401, 403, 451)."""


class PayloadError(CollectorError):
    """A good answer in a shape we do not know; `path` says where, as in `$.data[3].px`."""

    verdict = Verdict.GIVE_UP

    def __init__(self, message: str, path: str = "$") -> None:
        super().__init__(f"{path}: {message}")
        self.path = path


class StorageError(CollectorError):
    """The database did not take or give rows."""

    verdict = Verdict.GIVE_UP


class StorageUnavailable(StorageError):
    """The database cannot be reached or cannot work now: connection lost, deadlock, disk full."""

    verdict = Verdict.RETRY


class StorageLocked(StorageUnavailable):
    """Another session keeps a table or row locked; everything else can be stored."""


class StorageRejected(StorageError):
    """The database refused a value: constraint or type."""


class SinkError(CollectorError):
    """An outside store did not take rows; it never fails a cycle."""

    verdict = Verdict.GIVE_UP
