"""What the API is made of; built by whoever starts it, handed to every router."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from collector.alerts.exposition import Family
from collector.clock import Clock
from collector.config import ApiSettings
from collector.records import Dataset, Job, Record
from collector.storage.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How a provider is, as this process and the stored state of all processes see it."""

    status: str  # online, degraded (half-open, or paused for a short while), offline (open, denied, banned)
    reason: str = ""  # why it is not online
    latency_ms: float | None = None  # of the last call from here; None before the first
    last_check: float | None = None  # seconds since the epoch of that call
    retry_after: int | None = None  # seconds until it may be asked again
    # When it is not online only because of how calls from here ended: that of the last one, in seconds since the epoch.
    failed_at: float | None = None


class Live(Protocol):
    """The providers, asked within their limits; shared by all threads of the API.

    Every call counts on the same quotas, pauses and breakers as those of the collector.
    """

    def sources(self) -> Sequence[str]:
        """Return the names of the providers that are enabled."""

    def ask(self, job: Job, *, within: timedelta) -> Sequence[Record]:
        """Return the checked records that a provider gives for a job, at most `within` later.

        Raises VenueError (or one of its kinds) or PayloadError; the message is one line that a client may read.
        """

    def health(self) -> Mapping[str, Health]:
        """Return how each provider is, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Everything a router needs."""

    settings: ApiSettings
    database: Database  # its transactions are read-only
    live: Live
    clock: Clock
    version: str
    simulated: bool
    venues: Sequence[str]  # whose candles may answer for each other, best first
    # How often each dataset of each source is collected; what is not in here is judged by what is.
    cadences: Mapping[tuple[str, Dataset], timedelta] = field(default_factory=dict)
    # How often there is a new row of computed tables, by name; what is not in here is as usual.
    computed: Mapping[str, timedelta] = field(default_factory=dict)
    log_folder: Path | None = None  # with the folders of the cycles; None: nobody said where
    data_folder: Path | None = None  # of the database, when it is the embedded one
    # What reads the collector's metrics, for /metrics; it raises StorageError. None: only the API's own are served.
    figures: Callable[[], Sequence[Family]] | None = None
