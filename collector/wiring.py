"""The only place that builds objects from Settings, and lends them for as long as a command needs them."""

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta

from collector.analyst import line_of
from collector.backfill import Backfill, Outcome, Request, follow
from collector.budget import BudgetKeeper, Metered, account_of
from collector.clock import Clock, SystemClock
from collector.companion import Companion
from collector.config import ROOT, Settings
from collector.cycle import CycleRunner
from collector.errors import ConfigError
from collector.fallback import RANKING, TICKERS, equivalents
from collector.following import DatabaseFollower
from collector.healing import Equivalents, Healer
from collector.indicators.extra import load_extra
from collector.indicators.service import IndicatorService
from collector.log import get_logger
from collector.outage import Outage
from collector.providers import build_source, build_tasks, check_schedule, close_source, healable
from collector.records import CycleReport
from collector.retention.space import free_space
from collector.scheduler import STOP_SIGNALS, Daemon
from collector.scrutiny import Scrutiny
from collector.sources import SOURCES
from collector.sources.base import Collector
from collector.spool import Spool
from collector.status import Overview, load_overview
from collector.storage.coverage import CoverageStore
from collector.storage.database import Database, RoleLock
from collector.storage.embedded import EmbeddedPostgres, find_postgres
from collector.storage.providers import ProviderStore
from collector.storage.reader import Reader
from collector.storage.schema import head as schema_head
from collector.storage.suspects import Suspects
from collector.storage.writer import Writer
from collector.suspicion import Bounds
from collector.upkeep import MEGABYTE, Upkeep
from collector.wiring_studies import build_studies, check_studies
from collector.worker import Source

DEFAULT_DATABASE_PORT = 5432


# --------------------------------------------------------------------------- database


@contextmanager
def open_database(
    settings: Settings,
    *,
    lasting: bool = False,
    read_only: bool = False,
    name: str = "collector",
    connections: int = 5,
    server: EmbeddedPostgres | None = None,
) -> Iterator[Database]:
    """Lend the configured database; without an address the embedded server is started, or shared if it runs.

    `lasting` is for the daemon: it takes the server over when the process that ran it ends. `server` is one that has
    begun to start.
    """
    clock = SystemClock()
    with ExitStack() as stack:
        url = settings.database.url.get_secret_value()
        if not url:
            url = stack.enter_context(server or _embedded(settings, clock, lasting=lasting)).url
        database = Database(url, clock=clock, application_name=name, pool_size=connections, read_only=read_only)
        stack.callback(database.close)
        yield database


def _embedded(settings: Settings, clock: Clock, *, lasting: bool) -> EmbeddedPostgres:
    return EmbeddedPostgres(settings.data_dir / "postgres", clock=clock, take_over=lasting)


@contextmanager
def psql(settings: Settings) -> Iterator[tuple[str, dict[str, str]]]:
    """Lend the path of a psql and the environment in which it opens the configured database."""
    program = str(find_postgres().program("psql"))
    with open_database(settings) as database:
        url = database.url
        query = {key: str(value) for key, value in url.query.items()}
        values = {
            "PGHOST": url.host or query.get("host"),
            "PGPORT": str(url.port or query.get("port", DEFAULT_DATABASE_PORT)),
            "PGUSER": url.username,
            "PGPASSWORD": url.password,
            "PGDATABASE": url.database,
            "PGSSLMODE": query.get("sslmode"),
            "PGTZ": "UTC",
        }
        yield program, {**os.environ, **{key: value for key, value in values.items() if value}}


# --------------------------------------------------------------------------- checking


def check_settings(settings: Settings) -> None:
    """Raise the ConfigError that collecting with these settings would end with, before any database."""
    build_tasks(settings)
    check_schedule(settings)
    check_studies(settings)
    _extra(settings)
    for name, part in settings.sources.items():
        if part.enabled:
            close_source(build_source(name, settings, SystemClock()))


@contextmanager
def one_source(settings: Settings, name: str) -> Iterator[Collector]:
    """Lend one provider for a look by hand; it obeys the pauses in the database, and stores those it meets.

    Raises StorageError when a configured database does not tell whether calls are allowed: a ban would be prolonged.
    """
    clock = SystemClock()
    with ExitStack() as stack:
        source = build_source(name, settings, clock)
        stack.callback(close_source, source)
        if settings.database.url.get_secret_value() or (settings.data_dir / "postgres").exists():
            database = stack.enter_context(open_database(settings))
            if database.revision() == schema_head():
                keeper = _keep_budgets(settings, [source], database, clock)
                stack.callback(lambda: keeper.keep(now=True))
        yield source.collector


# --------------------------------------------------------------------------- collecting


@dataclass(frozen=True, slots=True)
class Collecting:
    """What a command that collects works with; one per process, under the writer's lock."""

    runner: CycleRunner
    reader: Reader
    upkeep: Upkeep
    database: Database


@contextmanager
def open_collecting(settings: Settings, say: Callable[[str], None]) -> Iterator[Collecting]:
    """Lend a ready collector: sources built, database migrated and locked, dead cycles closed.

    Raises LockHeld while another collector works on the database.
    """
    stopping = threading.Event()
    clock = SystemClock(stopping)  # a stop ends every wait: for a quota, before a repeat
    with ExitStack() as stack:
        tasks = build_tasks(settings)
        if not tasks:
            raise ConfigError(f"sources: nothing is enabled; set enabled: true in one of {', '.join(SOURCES)}")
        check_schedule(settings)
        check_studies(settings)
        extra = _extra(settings)
        server = None
        if not settings.database.url.get_secret_value():
            server = _embedded(settings, clock, lasting=True)
            stack.callback(server.stop)
            server.begin()  # while it starts, the providers' packages are loaded
        sources = [build_source(name, settings, clock) for name, part in settings.sources.items() if part.enabled]
        for source in sources:
            stack.callback(close_source, source)
        stack.callback(stopping.set)
        database = stack.enter_context(open_database(settings, lasting=True, server=server))
        hold_lock = stack.enter_context(_writer_lock(database))
        say(f"database: {describe_database(settings, database)}")
        for revision in database.upgrade():
            say(f"database: applied {revision}")
        writer, reader = Writer(database), Reader(database)
        for cycle_id in writer.abandon_running(clock.now()):
            get_logger("Collector").warning("cycle_abandoned", cycle=cycle_id, reason="its process died")
        _ready_coverage(CoverageStore(database))
        budgets = _keep_budgets(settings, sources, database, clock)
        runner = CycleRunner(
            sources=sources,
            tasks=tasks,
            deadlines={name: cadence.deadline for name, cadence in settings.cadences.items()},
            follower=DatabaseFollower(settings.universe, reader, writer, clock),
            writer=writer,
            hold_lock=hold_lock,
            indicators=_indicators(settings, reader, extra),
            clock=clock,
            log_directory=settings.logs.directory,
            instance=f"{socket.gethostname()}:{os.getpid()}",
            simulated=settings.simulated,
            budgets=budgets,
            mender=build_healer(settings, sources, database),
            scrutiny=build_scrutiny(settings, database, clock),
            outage=build_outage(settings, writer),
            space=free_space(settings.retention.floor, settings.data_dir, database),
            stopping=stopping,
        )
        yield Collecting(runner, reader, Upkeep(settings.database, settings.logs, writer), database)


def build_healer(settings: Settings, sources: Sequence[Source], database: Database) -> Healer:
    """Return what fills holes, with the share of every limit that the schedule leaves for it."""
    providers = {source.name: healable(source.name, settings) for source in sources}
    share = (1 - settings.http.reserve_pct / 100) * settings.http.healing_pct / 100
    return Healer(
        CoverageStore(database),
        Reader(database),
        providers,
        share=share,
        equivalents=build_equivalents(settings),
        ranking=RANKING,
        prices=settings.fallback.prices,
    )


def build_equivalents(settings: Settings) -> Equivalents:
    """Return what finds the instruments that mean the same, at the venues of `fallback.candles`."""
    _check_fallback(settings)
    order = settings.fallback.candles
    return lambda wanted, stored: equivalents(wanted, stored, order)


def _check_fallback(settings: Settings) -> None:
    lists = {"candles": (settings.fallback.candles, ()), "prices": (settings.fallback.prices, (TICKERS,))}
    for key, (names, more) in lists.items():
        known = (*SOURCES, *more)
        unknown = [name for name in names if name not in known]
        if unknown:
            raise ConfigError(f"fallback.{key}: no such source {unknown[0]!r}; use some of {', '.join(known)}")


def build_outage(settings: Settings, writer: Writer) -> Outage:
    """Return what rides out an outage of the database, with the spool in the data folder."""
    return Outage(Spool(settings.data_dir / "spool", settings.database.spool_mb * MEGABYTE), writer)


def build_scrutiny(settings: Settings, database: Database, clock: Clock) -> Scrutiny:
    """Return what doubts stored values, with the configured bounds."""
    bounds = Bounds(jump_pct=settings.checks.jump_pct, divergence_pct=settings.checks.divergence_pct)
    return Scrutiny(Suspects(database), bounds=bounds, clock=clock)


def _keep_budgets(settings: Settings, sources: Sequence[Source], database: Database, clock: Clock) -> BudgetKeeper:
    """Return the keeper of pauses and budgets, which has taken over what is stored."""
    keys = {name: part.api_key.get_secret_value() if part.api_key else "" for name, part in settings.sources.items()}
    metered = [Metered(venue=source.venue, account=account_of(keys[source.name])) for source in sources]
    keeper = BudgetKeeper(ProviderStore(database), metered, clock)
    keeper.start()
    return keeper


@contextmanager
def _writer_lock(database: Database) -> Iterator[Callable[[], None]]:
    """Hold the writer's lock; the function lent takes it anew when it was lost with its connection."""
    with ExitStack() as stack:
        lock: RoleLock | None = stack.enter_context(database.writer_lock())

        def hold() -> None:
            nonlocal lock
            if lock is None or not lock.still_held():
                lock = None  # so that the next cycle tries again when this one cannot
                stack.close()
                lock = stack.enter_context(database.writer_lock())

        yield hold


def _extra(settings: Settings) -> list[tuple[str, Mapping[str, float]]]:
    """Return the further TA-Lib functions, checked before anything starts."""
    extra: list[tuple[str, Mapping[str, float]]] = [
        (item.function, item.parameters) for item in settings.indicators.extra
    ]
    try:
        load_extra(extra)
    except ValueError as error:
        raise ConfigError(f"indicators.extra: {error}") from error
    return extra


def _indicators(
    settings: Settings, reader: Reader, extra: Sequence[tuple[str, Mapping[str, float]]]
) -> IndicatorService | None:
    part = settings.indicators
    if not part.enabled:
        return None
    return IndicatorService(reader, intervals=part.intervals, swing_lookback=part.swing_lookback, extra=extra)


def describe_database(settings: Settings, database: Database) -> str:
    """Return where rows go, for people; without a password."""
    if settings.database.url.get_secret_value():
        return database.safe_url
    folder = settings.data_dir / "postgres"
    return f"embedded PostgreSQL in {folder.relative_to(ROOT) if folder.is_relative_to(ROOT) else folder}"


def run_once(settings: Settings, cadence: str | None) -> CycleReport:
    """Run one cycle of a cadence (default: the first configured) and return its report."""
    name = cadence or next(iter(settings.cadences))
    if name not in settings.cadences:
        raise ConfigError(f"--cadence: {name!r} is no cadence; use one of {', '.join(settings.cadences)}")
    with open_collecting(settings, lambda _: None) as collecting, _stopped_by_signals(collecting.runner.stop) as ended:
        report = collecting.runner.run(name)
        if not ended.is_set():
            build_studies(settings, collecting.database, SystemClock()).after_cycle(report)
        collecting.upkeep.after_cycle(report.finished_at)
    return report


def run_daemon(
    settings: Settings,
    *,
    say: Callable[[str], None],
    cycles: int = 0,
    beside: Sequence[Companion] = (),
    analyst: Companion | None = None,
) -> None:
    """Collect until a signal; with `cycles`, until that many of the first cadence and one of each other have ended.

    `beside` are processes that run as long as we do; `analyst` is one that is told of each cycle.
    """
    if settings.simulated:
        say("SIMULATED: every number below is made up")
    with open_collecting(settings, say) as collecting:
        done: dict[str, int] = dict.fromkeys(settings.cadences, 0)

        def after_cycle(report: CycleReport) -> None:
            if analyst is not None:
                analyst.tell(line_of(report.cadence, report.cycle_id))
            collecting.upkeep.after_cycle(report.finished_at)
            done[report.cadence] += 1
            first = next(iter(settings.cadences))
            if cycles and done[first] >= cycles and all(done.values()):
                daemon.stop()

        daemon = Daemon(
            runner=collecting.runner,
            cadences=settings.cadences,
            overdue=list(settings.cadences) if cycles else _overdue(settings, collecting.reader),
            clock=SystemClock(),
            after_cycle=after_cycle,
            notify_socket=os.environ.get("NOTIFY_SOCKET", ""),
            on_stop=lambda: _begin_ends(*beside, None if cycles else analyst),
        )
        say(f"logs: {settings.logs.directory}/latest; stop with Ctrl+C")
        daemon.handle_signals()
        with ExitStack() as stack:
            for companion in (*beside, analyst):
                stack.enter_context(companion or nullcontext())
            daemon.run()
            if cycles and analyst is not None:
                analyst.finish()  # what it was told of belongs to what is shown
        if cycles:
            say("ended after " + ", ".join(f"{count} {name}" for name, count in done.items()) + " cycles")


def _begin_ends(*companions: Companion | None) -> None:
    for companion in companions:
        if companion is not None:
            companion.tell_to_stop()


def _overdue(settings: Settings, reader: Reader) -> list[str]:
    """Return the cadences to run at once: the first always, others when their turn was missed or never came."""
    last = reader.last_cycle_starts()
    now = SystemClock().now()
    first = next(iter(settings.cadences))
    return [
        name
        for name, cadence in settings.cadences.items()
        if name == first or name not in last or now - last[name] >= (cadence.every or timedelta(days=1))
    ]


@contextmanager
def _stopped_by_signals(stop: Callable[[], None]) -> Iterator[threading.Event]:
    """Let SIGTERM and SIGINT end the running cycle early, recorded as far as it came; lend whether one came."""
    stopped = threading.Event()

    def on_signal(*_: object) -> None:
        stopped.set()
        # Not in the handler itself: it can interrupt this thread while that holds a lock `stop` needs.
        threading.Thread(target=stop, name="stop").start()

    before = {number: signal.signal(number, on_signal) for number in STOP_SIGNALS}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# --------------------------------------------------------------------------- the past


def _ready_coverage(store: CoverageStore) -> None:
    """Free the windows of dead processes, and look at series stored before their windows were written down."""
    freed, scanned = store.let_go(), store.scan()
    if freed or scanned:
        get_logger("Database").info("coverage_ready", freed=freed, scanned=scanned)


@contextmanager
def open_backfill(settings: Settings, show: Callable[[str], None]) -> Iterator[Backfill]:
    """Lend what fetches a range; SIGINT and SIGTERM end it early. Raises LockHeld while a collector works."""
    stopping = threading.Event()
    clock = SystemClock(stopping)
    with ExitStack() as stack:
        sources = [build_source(name, settings, clock) for name, part in settings.sources.items() if part.enabled]
        for source in sources:
            stack.callback(close_source, source)
        stack.callback(stopping.set)
        database = stack.enter_context(open_database(settings))
        stack.enter_context(_writer_lock(database))
        database.upgrade()
        writer, store = Writer(database), CoverageStore(database)
        writer.abandon_running(clock.now())
        _ready_coverage(store)
        budgets = _keep_budgets(settings, sources, database, clock)

        def stop() -> None:
            stopping.set()
            for source in sources:
                source.venue.close()

        stack.enter_context(_stopped_by_signals(stop))
        yield Backfill(
            sources={source.name: source for source in sources},
            writer=writer,
            reader=Reader(database),
            store=store,
            clock=clock,
            log_directory=settings.logs.directory,
            instance=f"{socket.gethostname()}:{os.getpid()}",
            simulated=settings.simulated,
            show=show,
            stopping=stopping,
            keep_budgets=budgets.keep,
            equivalents=build_equivalents(settings),
        )


def follow_backfill(settings: Settings, request: Request, show: Callable[[str], None]) -> Outcome:
    """Leave a range to the daemon that works on the database and follow it until it is done, or a signal."""
    stopping = threading.Event()
    with open_database(settings) as database, _stopped_by_signals(stopping.set):
        return follow(
            request,
            store=CoverageStore(database),
            reader=Reader(database),
            clock=SystemClock(stopping),
            show=show,
            stopping=stopping,
            at_work=database.has_writer,
        )


# --------------------------------------------------------------------------- looking


def load_status(settings: Settings, *, cycles: int) -> Overview:
    """Return what `status` shows. Raises ConfigError when the tables are not this program's."""
    with open_database(settings) as database:
        filled = database.revision() is not None
        if filled:
            database.require_tables()
        return load_overview(
            Reader(database) if filled else None,
            describe_database(settings, database),
            cycles=cycles,
            now=SystemClock().now(),
            simulated=settings.simulated,
        )
