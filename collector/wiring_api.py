"""Builds the parts of the data API from Settings: a database it cannot write to, and providers to ask when it must."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from collector import __version__
from collector.api.live import LiveProviders
from collector.api.parts import Parts
from collector.api.v1 import collected_every, computed_every
from collector.budget import BudgetKeeper, Metered, account_of
from collector.clock import SystemClock
from collector.config import Settings
from collector.errors import ConfigError, StorageError, StorageRejected, StorageUnavailable
from collector.log import get_logger
from collector.providers import build_source, close_source
from collector.resilience.quota import Spent
from collector.storage.database import Database
from collector.storage.providers import ProviderStore
from collector.storage.schema import head as schema_head
from collector.wiring import open_database
from collector.wiring_alerts import build_figures
from collector.worker import Source

CONNECTIONS = 12  # kept open; ten more for a rush
LOOK_EVERY_S = 5.0  # what providers asked of other processes, so that health tells it before somebody asks
LEAST_SHARE = 0.05  # of a limit; less would not let the heaviest call leave


@contextmanager
def build_parts(settings: Settings, *, lasting: bool) -> Iterator[Parts]:
    """Lend what the API is made of. `lasting`: it takes an embedded server over when the process that ran it ends.

    A database that is away does not keep the API from starting. Raises ConfigError when its tables are not this
    program's: making them is the collector's.
    """
    stopping = threading.Event()
    clock = SystemClock(stopping)
    with ExitStack() as stack:
        database = stack.enter_context(
            open_database(settings, lasting=lasting, read_only=True, name="collector api", connections=CONNECTIONS)
        )
        _check_schema(database)
        sources = _sources(settings, clock, stack)
        notes = Database(_plain(database), clock=clock, application_name="collector api notes", pool_size=1)
        stack.callback(notes.close)
        keeper = _keeper(settings, sources, notes, clock)
        looking = threading.Thread(target=_keep_looking, args=(keeper, stopping), name="budgets", daemon=True)
        looking.start()
        stack.callback(looking.join)
        live = LiveProviders([(source.collector, source.venue) for source in sources], clock, keep=keeper.keep)
        stack.callback(live.close)
        for source in sources:  # before `live` waits for their threads
            stack.callback(source.venue.close)
        stack.callback(stopping.set)
        yield Parts(
            settings=settings.api,
            database=database,
            live=live,
            clock=clock,
            version=__version__,
            simulated=settings.simulated,
            venues=settings.fallback.candles,
            cadences=collected_every(settings),
            computed=computed_every(settings),
            log_folder=settings.logs.directory,
            data_folder=None if settings.database.url.get_secret_value() else settings.data_dir / "postgres",
            figures=build_figures(settings, database, clock),
        )


def _keep_looking(keeper: BudgetKeeper, stopping: threading.Event) -> None:
    while not stopping.wait(LOOK_EVERY_S):
        keeper.keep()


def _plain(database: Database) -> str:
    return database.url.render_as_string(hide_password=False)


def _check_schema(database: Database) -> None:
    try:
        found = database.revision()
    except StorageUnavailable as error:
        get_logger("Api").warning("database_away", reason=str(error))
        return
    if found is None:
        remedy = "start the collector once (python main.py run) or: python main.py db upgrade"
        raise ConfigError(f"database.url: {database.safe_url} has no tables yet; {remedy}")
    if found != schema_head():
        remedy = "python main.py db upgrade"
        raise ConfigError(f"database.url: {database.safe_url} is at schema {found}, not {schema_head()}; {remedy}")


def _sources(settings: Settings, clock: SystemClock, stack: ExitStack) -> list[Source]:
    """Return the enabled providers; each may use the share of its limits that the collector leaves unused."""
    share = settings.http.reserve_pct / 100
    if share < LEAST_SHARE:
        reason = "the collector may use all of their limits"
        remedy = f"http.reserve_pct: {LEAST_SHARE * 100:g} or more"
        get_logger("Api").warning("providers_not_asked", reason=reason, remedy=remedy)
        return []
    sources = []
    for name, part in settings.sources.items():
        if part.enabled:
            source = build_source(name, settings, clock, share=share)
            stack.callback(close_source, source)
            sources.append(source)
    return sources


def _keeper(settings: Settings, sources: list[Source], database: Database, clock: SystemClock) -> BudgetKeeper:
    """Return what shares pauses and bans with the collector; what the API itself used is kept apart from its budget."""
    keys = {name: part.api_key.get_secret_value() if part.api_key else "" for name, part in settings.sources.items()}
    metered = [Metered(venue=item.venue, account=f"{account_of(keys[item.name])} api") for item in sources]
    keeper = BudgetKeeper(_Notes(database), metered, clock)
    try:
        keeper.start()
    except StorageError as error:
        get_logger("Api").warning("budgets_not_loaded", reason=str(error))
        keeper.watch()
    return keeper


class _Notes(ProviderStore):
    """The same for a role that may only read: what cannot be stored is obeyed here all the same."""

    def save_state(self, *values: object, **more: object) -> None:
        with _lasting_refusal():
            super().save_state(*values, **more)  # type: ignore[arg-type]

    def save_clock_offset(self, source: str, offset_s: float) -> None:
        with _lasting_refusal():
            super().save_clock_offset(source, offset_s)

    def save_budgets(self, source: str, account: str, spent: "tuple[Spent, ...]") -> None:  # type: ignore[override]
        with _lasting_refusal():
            super().save_budgets(source, account, spent)


@contextmanager
def _lasting_refusal() -> Iterator[None]:
    try:
        yield
    except ConfigError as error:  # no permission
        raise StorageRejected(str(error)) from error
