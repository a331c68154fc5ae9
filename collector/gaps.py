"""What `gaps` shows: every window that is not held, with its reason and its next try; as text or values."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from collector.coverage import HELD, Series, State, Window
from collector.errors import ConfigError
from collector.printing import moment, table
from collector.storage.coverage import CoverageStore
from collector.storage.losses import LostCycle, LostJobs

SNAPSHOTS_OVER = timedelta(days=7)  # what was lost before is in the ledger: see docs/queries.md


@dataclass(frozen=True, slots=True, kw_only=True)
class Gaps:
    """What is not held. Of a named series every window is here, the held ones too."""

    now: datetime
    prefix: str
    windows: Sequence[tuple[Series, Window]]
    snapshots: Sequence[LostJobs]  # of the last days; they cannot be fetched again
    cycles: Sequence[LostCycle]  # of the last days, whose process died
    sealed: Sequence[tuple[str, datetime, datetime]] = ()  # months in files: dataset, since, until


def load_gaps(store: CoverageStore, prefix: str, now: datetime) -> Gaps:
    """Return what is not held of the series whose names begin with `prefix`; ConfigError when there are none."""
    windows = store.windows(prefix, held=bool(prefix))
    since = now - SNAPSHOTS_OVER
    snapshots = store.lost_jobs(since, prefix)
    if prefix and not windows and not snapshots:
        raise ConfigError(f"SERIES: {prefix}: no series begins like this; names are like okx:BTC-USDT:perp/1m")
    return Gaps(
        now=now,
        prefix=prefix,
        windows=windows,
        snapshots=snapshots,
        cycles=store.lost_cycles(since),
        sealed=store.sealed(),
    )


def bars_of(series: Series, window: Window) -> int | None:
    """Return how many bars a window has; None for funding, whose payments keep no grid."""
    return None if series.interval is None else (window.until - window.since) // series.interval.width


def amount_of(series: Series, length: timedelta) -> str:
    """Return a length of a series in its bars, or in hours for funding."""
    unit, name = (timedelta(hours=1), "h") if series.interval is None else (series.interval.width, "bars")
    return f"{length // unit:,} {name}"


def as_json(gaps: Gaps) -> dict[str, Any]:
    """Return the gaps as a tree of plain values; moments are datetimes."""
    return {
        "now": gaps.now,
        "windows": [
            {
                "series": series.name,
                "since": window.since,
                "until": window.until,
                "bars": bars_of(series, window),
                "state": window.state,
                "source": window.source,
                "reason": window.reason,
                "attempts": window.attempts,
                "next_try_at": window.next_try_at,
                "sealed_months": sealed_months(series, window, gaps.sealed),
            }
            for series, window in gaps.windows
        ],
        "snapshots": [
            {
                "source": item.source,
                "dataset": item.dataset,
                "error": item.error,
                "cycles": item.cycles,
                "first_at": item.first_at,
                "last_at": item.last_at,
            }
            for item in gaps.snapshots
        ],
        "cycles": [
            {"cycle_id": item.cycle_id, "cadence": item.cadence, "started_at": item.started_at} for item in gaps.cycles
        ],
    }


def render(gaps: Gaps) -> str:
    """Return the gaps for a person."""
    return "\n".join([*_windows(gaps), *_snapshots(gaps.snapshots), *_cycles(gaps.cycles)])


def _windows(gaps: Gaps) -> list[str]:
    open_ones = [(series, window) for series, window in gaps.windows if window.state not in HELD]
    waiting = [(series, window) for series, window in open_ones if window.state is not State.PROVIDER_HAS_NONE]
    bars = sum(bars_of(series, window) or 0 for series, window in waiting)
    none = len(open_ones) - len(waiting)
    about = f" of {gaps.prefix}" if gaps.prefix else ""
    head = f"gaps{about}: {len(waiting)} windows missing ({bars:,} bars), {none} that the provider does not have"
    return [head, *render_windows(gaps.windows, gaps.sealed)]


def sealed_months(series: Series, window: Window, sealed: Sequence[tuple[str, datetime, datetime]]) -> list[str]:
    """Return the months of a held window, as 2026-01, that are in files and not in the database."""
    if window.state not in HELD:
        return []
    return [
        f"{since:%Y-%m}"
        for dataset, since, until in sealed
        if dataset == series.dataset and since < window.until and window.since < until
    ]


def render_windows(
    windows: Sequence[tuple[Series, Window]], sealed: Sequence[tuple[str, datetime, datetime]] = ()
) -> list[str]:
    """Return the lines of a table of windows; none without windows."""
    rows = []
    for series, window in windows:
        bars = bars_of(series, window)
        cold = sealed_months(series, window, sealed)
        rows.append(
            (
                series.name,
                moment(window.since),
                moment(window.until),
                "-" if bars is None else f"{bars:,}",
                str(window.state),
                window.source,
                moment(window.next_try_at),
                f"in files: {', '.join(cold)}" if cold else window.reason,
            )
        )
    head = ("series", "from", "to (exclusive)", "bars", "state", "source", "next try", "why")
    return table(head, rows) if rows else []


def _snapshots(items: Sequence[LostJobs]) -> list[str]:
    if not items:
        return []
    rows = [
        (item.source, item.dataset, str(len(item.cycles)), moment(item.first_at), moment(item.last_at), item.error)
        for item in items
    ]
    head = ("source", "dataset", "cycles", "first", "last", "why")
    return ["", "snapshots of the last 7 days that cannot be fetched again:", *table(head, rows)]


def _cycles(items: Sequence[LostCycle]) -> list[str]:
    if not items:
        return []
    rows = [(str(item.cycle_id), item.cadence, moment(item.started_at)) for item in items]
    return ["", "cycles of the last 7 days whose process died:", *table(("cycle", "cadence", "started"), rows)]
