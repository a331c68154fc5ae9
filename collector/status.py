"""What `status` shows: last cycles, sources, what is stored and held, what could not be matched; as text or values."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from collector.printing import moment, span, table
from collector.storage.reader import Reader
from collector.storage.stored import (
    CycleSummary,
    HeldSeries,
    ListingChange,
    SourceSummary,
    StoredInstrument,
    TableContents,
)

CHANGES_SHOWN = 10
UNMATCHED_SHOWN = 15
SOURCES_OVER = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """The state of one database at `now`."""

    now: datetime
    database: str
    simulated: bool
    cycles: Sequence[CycleSummary]  # newest first
    sources: Sequence[SourceSummary]  # over the last day
    tables: Sequence[TableContents]
    series: Sequence[HeldSeries]
    unmatched: Sequence[StoredInstrument]
    changes: Sequence[ListingChange]  # newest first


def load_overview(reader: Reader | None, database: str, *, cycles: int, now: datetime, simulated: bool) -> Overview:
    """Return everything `status` shows, `cycles` cycles at most; `reader` is None for a database without tables."""
    if reader is None:
        nothing = {"cycles": (), "sources": (), "tables": (), "series": (), "unmatched": (), "changes": ()}
        return Overview(now=now, database=database, simulated=simulated, **nothing)
    return Overview(
        now=now,
        database=database,
        simulated=simulated,
        cycles=[replace(cycle, report=None) for cycle in reader.recent_cycles(cycles)],
        sources=reader.source_summaries(since=now - SOURCES_OVER),
        tables=reader.inventory(),
        series=reader.held_series(),
        unmatched=reader.unmatched_instruments(),
        changes=reader.listing_changes(limit=CHANGES_SHOWN),
    )


def render(overview: Overview) -> str:
    """Return the overview for a person."""
    parts = [f"{label(overview.simulated)}database: {overview.database}"]
    parts += ["", *_cycles(overview), "", *_sources(overview), "", render_inventory(overview)]
    parts += [*_held(overview.series), *_unmatched(overview.unmatched), *_changes(overview.changes)]
    return "\n".join(parts)


def label(simulated: bool) -> str:
    """Return the mark that everything about simulated data carries."""
    return "SIMULATED data (made-up prices); " if simulated else ""


def render_inventory(overview: Overview) -> str:
    """Return what is stored, from when to when."""
    rows = [
        (item.table, f"{'' if item.exact else '~'}{item.rows:,}", moment(item.first), moment(item.last))
        for item in overview.tables
    ]
    head = f"{label(overview.simulated)}stored:"
    return "\n".join([head, *table(("table", "rows", "from", "to"), rows)])


def _cycles(overview: Overview) -> list[str]:
    if not overview.cycles:
        return ["cycles: none yet; start with `python main.py run` or `make demo`"]
    rows = [
        (
            str(cycle.cycle_id),
            cycle.cadence,
            str(cycle.state),
            moment(cycle.started_at),
            "-" if cycle.finished_at is None else f"{(cycle.finished_at - cycle.started_at).total_seconds():.1f} s",
            f"{cycle.rows_written:,}",
            f"{cycle.indicator_rows:,}",
            str(cycle.jobs_failed),
            str(cycle.jobs_skipped),
            cycle.folder,
        )
        for cycle in overview.cycles
    ]
    head = ("cycle", "cadence", "state", "started", "took", "rows", "indicators", "failed", "skipped", "folder")
    return ["cycles, newest first:", *table(head, rows)]


def _sources(overview: Overview) -> list[str]:
    rows = [
        (
            source.source,
            f"{source.rows_written:,}",
            str(source.jobs_failed),
            str(source.rejects),
            "never" if source.last_ok_at is None else f"{span(overview.now - source.last_ok_at)} ago",
            source.last_error or "",
        )
        for source in overview.sources
    ]
    head = ("source", "rows", "failures", "rejects", "last good answer", "last error")
    return ["sources, last 24 h:", *table(head, rows)] if rows else ["sources: nothing was asked for yet"]


def _held(series: Sequence[HeldSeries]) -> list[str]:
    """Return the lines about series, those of one venue and length together; none without series.

    The share is rounded down: 100 % has no hole.
    """
    groups: defaultdict[tuple[str, str], list[HeldSeries]] = defaultdict(list)
    for item in series:
        groups[item.venue, str(item.interval or item.dataset)].append(item)
    rows = []
    for (venue, kind), items in groups.items():
        held, missing = sum((x.held for x in items), timedelta(0)), sum((x.missing for x in items), timedelta(0))
        firsts, lasts = [x.since for x in items if x.since], [x.until for x in items if x.until]
        rows.append(
            (
                venue,
                kind,
                f"{len(items):,}",
                moment(min(firsts, default=None)),
                moment(max(lasts, default=None)),
                f"{math.floor(10_000 * held / (held + missing)) / 100:g} %" if held + missing else "-",
                f"{sum(x.holes for x in items):,}",
                ", ".join(sorted({source for x in items for source in x.sources})),
            )
        )
    head = ("venue", "length", "series", "from", "to (exclusive)", "held", "holes", "sources")
    return ["", "series (`python main.py gaps` lists the holes):", *table(head, rows)] if rows else []


def _unmatched(rows: Sequence[StoredInstrument]) -> list[str]:
    if not rows:
        return []
    shown = [(row.instrument.id, row.match_state or "", row.match_detail or "") for row in rows[:UNMATCHED_SHOWN]]
    more = [f"  and {len(rows) - len(shown)} more"] if len(rows) > len(shown) else []
    head = "instruments that no asset could be matched to (not followed):"
    return ["", head, *table(("instrument", "state", "why"), shown), *more]


def _changes(rows: Sequence[ListingChange]) -> list[str]:
    if not rows:
        return []
    shown = [(moment(row.at), row.source, row.change, row.subject, row.old or "", row.new or "") for row in rows]
    head = ("at", "source", "change", "subject", "was", "is")
    return ["", "listing changes, newest first:", *table(head, shown)]
