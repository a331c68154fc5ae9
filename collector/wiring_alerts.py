"""Builds from Settings what reads the vitals, and what serves, prints or sends what follows from them."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from collector.alerts.chore import Alerts, Wiring
from collector.alerts.expected import expected
from collector.alerts.exposition import Family
from collector.alerts.metrics import families
from collector.alerts.outbox import Outbox
from collector.alerts.rules import NAMES
from collector.alerts.targets import Ping, build_targets
from collector.backups.making import folder_of
from collector.backups.shelf import newest_verified
from collector.clock import Clock
from collector.config import Settings
from collector.errors import ConfigError
from collector.storage.alerts import AlertStore, AlertTotals
from collector.storage.database import Database
from collector.storage.vitals import VitalsReader

READ_EVERY_S = 5.0  # for all who scrape together
SIMULATED = "SIMULATED: "


def build_vitals(settings: Settings, database: Database) -> VitalsReader:
    """Return the reader of the vitals of what is configured."""
    embedded = not settings.database.url.get_secret_value()
    return VitalsReader(
        database,
        sources=[name for name, part in settings.sources.items() if part.enabled],
        cadences=list(settings.cadences),
        data_folder=settings.data_dir / "postgres" if embedded else None,
        backup_at=partial(newest_verified, folder_of(settings)),
    )


def build_figures(settings: Settings, database: Database, clock: Clock) -> Callable[[], Sequence[Family]]:
    """Return what reads all metrics of the collector; any thread may call. Raises StorageError.

    What one caller read is given to all others for READ_EVERY_S.
    """
    reader, store, promised = build_vitals(settings, database), AlertStore(database), expected(settings)
    lock = threading.Lock()
    kept: list[tuple[float, Sequence[Family]]] = []

    def read() -> Sequence[Family]:
        with lock:
            began = clock.monotonic()
            if not kept or began - kept[0][0] >= READ_EVERY_S:
                vitals, totals = reader.read(clock.now()), _of_targets(store.totals(), settings)
                kept[:] = [(began, families(vitals, totals, promised, clock.monotonic() - began))]
            return kept[0][1]

    return read


def _of_targets(totals: AlertTotals, settings: Settings) -> AlertTotals:
    """Leave out the tests of targets that are no longer in the settings: they would be failing for ever."""
    known = settings.alerts.targets
    return replace(totals, self_tests=[item for item in totals.self_tests if item.target in known])


def check_alerts(settings: Settings) -> None:
    """Raise ConfigError for a target that nobody understands, and for a rule that does not exist."""
    build_targets(settings.alerts)
    for name in settings.alerts.without:
        if name not in NAMES:
            raise ConfigError(f"alerts.without: {name!r} is no rule; use some of {', '.join(NAMES)}")


def build_alerts(settings: Settings, database: Database, clock: Clock) -> Alerts:
    """Return the chore of the alerts. Raises ConfigError as `check_alerts` does."""
    check_alerts(settings)
    part, ping = settings.alerts, settings.alerts.ping.url.get_secret_value()
    return Alerts(
        Wiring(
            settings=part,
            expected=expected(settings),
            read=build_vitals(settings, database).read,
            store=AlertStore(database),
            outbox=Outbox(build_targets(part), clock, part.every),
            ping=Ping(ping) if ping else None,
            clock=clock,
            mark=SIMULATED if settings.simulated else "",
        )
    )
