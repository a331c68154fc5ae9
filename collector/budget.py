"""Carries pauses, bans, refused access and used budgets over restarts, and between processes on one database.

A pause is stored by the thread that met it, before anything else is done. What other processes stored is obeyed at
every `keep`, which the cycle calls at least once a second. A database that is away costs nothing but memory: what
could not be stored is stored with the next `keep`.
"""

import hashlib
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from collector.clock import Clock
from collector.errors import StorageError
from collector.http import Venue
from collector.log import get_logger
from collector.resilience.quota import Spent
from collector.storage.providers import ProviderState, ProviderStore

KEEP_EVERY_S = 1.0
OFFSET_STEP_S = 1.0
SAME = timedelta(seconds=1)  # ends of pauses nearer than this are one pause


def account_of(key: str) -> str:
    """Return whose limit the calls count against: the address, or a digest of the key."""
    return f"key {hashlib.sha256(key.encode()).hexdigest()[:12]}" if key else "address"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metered:
    """One provider whose limits are kept."""

    venue: Venue
    account: str


class BudgetKeeper:
    """Stands between the providers' doors and the table of what they asked; shared by all threads."""

    def __init__(self, store: ProviderStore, providers: Iterable[Metered], clock: Clock) -> None:
        self._store = store
        self._providers = {item.venue.source: item for item in providers}
        self._clock = clock
        self._lock = threading.Lock()
        self._unsaved: set[str] = set()  # pauses that the database did not take yet
        self._paused: set[str] = set()  # whose stored state is a pause
        self._spent: dict[str, tuple[Spent, ...]] = {}  # as last saved
        self._offsets: dict[str, float] = {}  # as last saved
        self._kept_at = float("-inf")

    def start(self) -> None:
        """Take over what is stored, then store every pause as it comes. Raises StorageError."""
        for name, item in self._providers.items():
            item.venue.quota.restore(self._store.load_budgets(name, item.account))
        self._obey(self._store.load_states())
        self.watch()

    def watch(self) -> None:
        """Store every pause as it comes, whatever came before; `start` does it too."""
        for item in self._providers.values():
            item.venue.on_pause = self._met

    def keep(self, *, now: bool = False) -> None:
        """Store what changed and obey what others stored; at most once a second unless `now`. Never raises."""
        ticks = self._clock.monotonic()
        if not now and ticks - self._kept_at < KEEP_EVERY_S:
            return
        self._kept_at = ticks
        try:
            self._obey(self._store.load_states())
            self._save_all()
        except StorageError as error:
            get_logger("Database").debug("budgets_not_kept", reason=str(error))

    def _save_all(self) -> None:
        for name, item in self._providers.items():
            spent = item.venue.quota.spent()
            if spent != self._spent.get(name):
                self._store.save_budgets(name, item.account, spent)
                self._spent[name] = spent
            over = (
                name in self._paused and item.venue.quota.paused_until is None and item.venue.breaker.denial() is None
            )
            if over or name in self._unsaved:
                self._save(name)

    def _save_offset(self, source: str, offset_s: float | None) -> None:
        """Store how far the provider's clock is off, when that changed by more than it can be measured to."""
        if offset_s is not None and abs(offset_s - self._offsets.get(source, float("inf"))) > OFFSET_STEP_S:
            self._store.save_clock_offset(source, offset_s)
            self._offsets[source] = offset_s

    def _met(self, source: str) -> None:
        """Store a pause that a provider has just asked for; called by the thread that was refused."""
        try:
            self._save(source)
        except StorageError as error:
            with self._lock:
                self._unsaved.add(source)
            get_logger("Database").warning("pause_not_stored", source=source, reason=str(error))

    def _save(self, source: str) -> None:
        venue = self._providers[source].venue
        denial, state = venue.breaker.denial(), venue.quota.state()
        if denial is not None:
            until = max(denial[0], state.paused_until or denial[0])
            self._store.save_state(source, until, denial[1], denied=True)
        else:
            self._store.save_state(source, state.paused_until, state.reason, banned=state.banned)
        with self._lock:
            self._unsaved.discard(source)
            if denial is not None or state.paused_until is not None:
                self._paused.add(source)
            else:
                self._paused.discard(source)

    def _obey(self, states: dict[str, ProviderState]) -> None:
        for name, item in self._providers.items():
            state = states.get(name)
            left = None if state is None or state.paused_until is None else state.paused_until - self._clock.now()
            if state is None or left is None or state.paused_until is None or left <= timedelta(0):
                continue
            self._paused.add(name)
            mine = item.venue.quota.paused_until
            if mine is None or state.paused_until - mine > SAME:
                item.venue.quota.pause(state.paused_until, state.reason, banned=state.banned)
            if state.denied and item.venue.breaker.denial() is None:
                item.venue.breaker.deny(left.total_seconds(), state.reason)
