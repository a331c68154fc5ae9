"""The BigQuery sink: sends what the watermarks say is new, and moves a watermark only behind a MERGE that is done.

One table that fails keeps its own watermark where it is, the others go on. What is interrupted anywhere is looked for
and sent again; the names of the jobs and the MERGE see to it that this changes nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from collector.clock import Clock
from collector.config.bigquery import BigQuerySettings
from collector.errors import SinkError
from collector.log import get_logger
from collector.sinks.bigquery.batch import Batch, ranges_of
from collector.sinks.bigquery.errors import AccessRefused, WarehouseDown
from collector.sinks.bigquery.shape import SHAPES, encode
from collector.sinks.bigquery.warehouse import Warehouse
from collector.storage.database import Database
from collector.storage.outgoing.sink_rows import SENDABLE, Look, Sendable, count_found, list_parts, load_found
from collector.storage.outgoing.sinking import BIGQUERY, RECENT, Place, SinkStore, Watermark, distinct_errors

REFUSED_FOR = timedelta(hours=1)  # between two tries while a human has to act
MOST_LOOKS = 3  # of `send_all`: a table that was made anew needs a second one

Told = Callable[[str, int], None]
"""Is called with a table's name and the rows sent to it in this look."""


def table_name(source: str, content: str) -> str:
    """Return the name of a table in the dataset."""
    return f"{source}_{content}"


@dataclass(slots=True)
class _Table:
    """One table outside in one look."""

    name: str
    mark: Watermark
    batch: Batch | None = None
    error: SinkError | None = None
    anew: bool = False  # it was gone: everything has to be sent again, from the next turn on
    sent: int = 0

    @property
    def stopped(self) -> bool:
        return self.anew or self.error is not None


@dataclass(slots=True)
class _Pass:
    """One look for the tables that stand at the same place."""

    look: Look
    place: Place
    tables: dict[str, _Table]  # by source
    parts: list[str] = field(default_factory=list)  # gone through
    unsaved: int = 0  # rows since the last watermark

    @property
    def full(self) -> bool:
        return self.look.recent is None

    @property
    def working(self) -> list[_Table]:
        return [table for table in self.tables.values() if not table.stopped]


class BigQuerySink:
    """Sends raw answers and derived rows to BigQuery. A chore of the housekeeping; for one thread."""

    name = BIGQUERY

    def __init__(
        self,
        settings: BigQuerySettings,
        sources: Sequence[str],
        database: Database,
        clock: Clock,
        *,
        warehouse: Warehouse | None = None,
        told: Told = lambda _name, _rows: None,
    ) -> None:
        """Send nothing yet. `sources` are those whose rows are sent; `warehouse` replaces the one of the settings."""
        self._settings, self._sources = settings, tuple(sources)
        self._database, self._clock = database, clock
        self._store = SinkStore(database, BIGQUERY)
        self._warehouse = warehouse or Warehouse(settings, clock)
        self._told = told
        self._ready: set[str] = set()  # tables known to be as they have to be
        self._next: datetime | None = None
        self._held: dict[str, datetime] = {}  # table that failed -> when it is tried again
        self._log = get_logger("BigQuery")

    def due(self, now: datetime) -> bool:
        """Return whether waiting rows are to be counted."""
        return self._next is None or now >= self._next

    def run(self, now: datetime) -> Mapping[str, object]:
        """Send what has waited long enough and return what was sent; nothing when nothing was.

        Raises SinkError when a table could not be filled, after all others were; LockHeld when another process sends.
        """
        self._next = now + self._settings.check_every
        try:
            with self._store.lock():
                return _said(self._turn(now, at_once=False))
        except AccessRefused:
            self._next = now + REFUSED_FOR
            raise

    def send_all(self) -> Mapping[str, object]:
        """Send everything that there is now, without waiting for a batch to fill. Raises as `run` does."""
        sent: list[_Table] = []
        with self._store.lock():
            for _ in range(MOST_LOOKS):
                tables = self._turn(self._clock.now(), at_once=True)
                sent += tables
                if not any(table.anew for table in tables):
                    break
        return _said(sent)

    def begin_anew(self) -> None:
        """Forget what was sent, so that the next look sends everything again; rows there are merged, not doubled."""
        with self._store.lock():
            self._store.save([mark.begun_anew(mark.server) for mark in self.marks().values()])

    def marks(self) -> dict[str, Watermark]:
        """Return the watermark of every table by its name in the dataset; the first time nothing has been sent."""
        known = self._store.load()
        found = {}
        for content in self._settings.contents:
            for source in self._sources:
                name = table_name(source, content)
                target = self._warehouse.table_id(name)
                found[name] = known.get(target) or Watermark(target=target, source=source, content=content)
        return found

    def waiting(self) -> dict[str, int]:
        """Return how many rows wait for each table: of recent times, or of all times when none were sent yet."""
        marks = self.marks()
        counts = dict.fromkeys(marks, 0)
        for run in self._passes(marks, self._place(marks), due=lambda mark, _: mark.full_xid is None):
            for source, rows in count_found(self._database, run.look).items():
                counts[run.tables[source].name] = rows
        return counts

    def merge_bytes(self) -> dict[str, int]:
        """Return how many bytes a MERGE of today's rows into each table would process, by BigQuery's own estimate.

        Tables that nothing was sent to are left out. Raises SinkError.
        """
        marks = self.marks()
        place = self._place(marks)
        found = {}
        for name, mark in marks.items():
            if not mark.rows_sent:
                continue
            shape = SHAPES[mark.content]
            found[name] = self._warehouse.merge_bytes(name, shape, ranges_of({place.at.date()}), place.at)
        return found

    def close(self) -> None:
        """Close the connections to BigQuery."""
        self._warehouse.close()

    # ------------------------------------------------------------------ a turn

    def _turn(self, now: datetime, *, at_once: bool) -> list[_Table]:
        """Go once through what is to be sent; return the tables. Raises for those that failed when all had a turn."""
        known = self.marks()
        place = self._place(known)
        marks = {
            name: self._store.with_losses(mark.at_server(place))
            for name, mark in known.items()
            if at_once or self._held.get(name, now) <= now
        }
        due = _always if at_once else self._full_due
        tables: list[_Table] = []
        for run in self._passes(marks, place, due=due):
            if run.full or at_once or self._worth_it(run):
                self._send(run, now)
                tables += run.tables.values()
        failed = [table for table in tables if table.error is not None]
        if failed:
            distinct = distinct_errors({table.name: str(table.error) for table in failed})
            said = (f"{text} (and {len(names) - 1} more tables)" if names[1:] else text for names, text in distinct)
            raise SinkError("; ".join(said)) from failed[0].error
        return tables

    def _place(self, marks: Mapping[str, Watermark]) -> Place:
        times = [moment for mark in marks.values() for moment in (mark.recent_at, mark.full_at) if moment is not None]
        return self._store.place(after=max(times, default=None))

    def _full_due(self, mark: Watermark, place: Place) -> bool:
        if mark.full_at is None:
            return True
        return place.at - mark.full_at >= self._settings.full_look_every

    def _passes(
        self, marks: Mapping[str, Watermark], place: Place, due: Callable[[Watermark, Place], bool]
    ) -> list[_Pass]:
        """Return what has to be gone through. Tables at the same place share a reading."""
        groups: dict[tuple[object, ...], list[tuple[str, Watermark]]] = {}
        for name, mark in marks.items():
            seen = (mark.recent_since, mark.recent_xid)
            place_key = ("full", mark.full_xid, seen, tuple(mark.done.items())) if due(mark, place) else seen
            groups.setdefault((mark.content, place_key), []).append((name, mark))
        return [_pass(group, place, full=due(group[0][1], place)) for group in groups.values()]

    def _worth_it(self, run: _Pass) -> bool:
        """Return whether a batch goes now; without any row the watermarks move on by themselves."""
        counts = count_found(self._database, run.look)
        if not counts:
            self._store.save([_moved(table.mark, run) for table in run.working])
            return False
        oldest = min(table.mark.recent_at or run.place.at for table in run.working)
        waited = run.place.at - oldest >= self._settings.buffer_age
        return waited or max(counts.values()) >= self._settings.buffer_size

    # ------------------------------------------------------------------ one look

    def _send(self, run: _Pass, now: datetime) -> None:
        """Send what a look finds and move the watermarks of the tables that took it."""
        try:
            for kind in SENDABLE[run.look.content]:
                for part in list_parts(self._database, run.look, kind):
                    self._send_part(run, kind, part)
            for table in run.working:
                self._flush(run, table)
        except (WarehouseDown, AccessRefused) as error:  # no table would fare better
            self._store.save([table.mark.with_error(str(error), now) for table in run.tables.values()])
            raise
        finally:
            for table in run.tables.values():
                if table.batch is not None:
                    table.batch.close()
        for table in run.tables.values():
            if table.error is not None:
                table.mark = table.mark.with_error(str(table.error), now)
                self._held[table.name] = now + self._settings.buffer_age
            elif not table.anew:
                table.mark = _moved(table.mark, run)
        self._store.save([table.mark for table in run.tables.values()])

    def _send_part(self, run: _Pass, kind: Sendable, part: str) -> None:
        since = next(iter(run.tables.values())).mark.done.get(part, run.look.since) if run.full else run.look.since
        with closing(load_found(self._database, replace(run.look, since=since), kind, part)) as rows:
            for found in rows:
                table = run.tables[found.source]
                if table.stopped:
                    continue
                if table.batch is None:
                    table.batch = Batch()
                table.batch.add(encode(kind, found.values, found.version))
                run.unsaved += 1
                if table.batch.full or table.batch.rows >= self._settings.buffer_size:
                    self._flush(run, table)
        run.parts.append(part)
        if run.full and run.unsaved >= self._settings.buffer_size:
            self._checkpoint(run)

    def _checkpoint(self, run: _Pass) -> None:
        """Keep how far a full look has come, so that the first one of years of rows does not begin again."""
        for table in run.working:
            self._flush(run, table)
        for table in run.working:
            table.mark = replace(table.mark, done={**table.mark.done, **dict.fromkeys(run.parts, run.place.xid)})
        self._store.save([table.mark for table in run.working])
        run.unsaved = 0

    def _flush(self, run: _Pass, table: _Table) -> None:
        """Send a table's batch. What is wrong with this table alone stops only this table."""
        if table.batch is None:
            return
        with table.batch as batch:
            table.batch = None
            try:
                if self._made_anew(run, table):
                    return
                about = (table.mark.target, table.mark.generation, run.look.since)
                sent = self._warehouse.send(
                    table.name, SHAPES[run.look.content], batch, job=batch.name(*about), at=run.place.at
                )
            except (WarehouseDown, AccessRefused):
                raise
            except SinkError as error:
                self._ready.discard(table.name)
                table.error = error
                return
            table.sent += batch.rows
            table.mark = replace(
                table.mark,
                rows_sent=table.mark.rows_sent + batch.rows,
                bytes_loaded=table.mark.bytes_loaded + sent.loaded,
                bytes_merged=table.mark.bytes_merged + sent.merged,
            )
        self._told(table.name, table.sent)

    def _made_anew(self, run: _Pass, table: _Table) -> bool:
        """See to it that a table is there; return whether it was gone although rows had been sent to it."""
        if table.name in self._ready:
            return False
        made = self._warehouse.ensure(table.name, SHAPES[run.look.content])
        self._ready.add(table.name)
        mark = table.mark
        if not made or not mark.rows_sent or (mark.recent_xid is None and mark.full_xid is None and not mark.done):
            return False
        self._log.warning("sink_table_made_anew", table=table.name, rows_sent_before=mark.rows_sent)
        table.mark, table.anew = mark.begun_anew(mark.server), True
        return True


def _always(_mark: Watermark, _place: Place) -> bool:
    return True


def _pass(group: Sequence[tuple[str, Watermark]], place: Place, *, full: bool) -> _Pass:
    """Return a look for tables at one place. What recent looks found since the last full one is not found again."""
    mark = group[0][1]
    seen = None
    if full and mark.recent_since is not None and mark.recent_xid is not None:
        seen = (mark.recent_since, mark.recent_xid)
    look = Look(
        content=mark.content,
        sources=tuple(mark.source for _, mark in group),
        until=place.xid,
        since=mark.full_xid if full else mark.recent_xid,
        recent=None if full else place.at - RECENT,
        seen=seen,
    )
    return _Pass(look=look, place=place, tables={mark.source: _Table(name, mark) for name, mark in group})


def _moved(mark: Watermark, run: _Pass) -> Watermark:
    if run.look.recent is None:
        return mark.after_full(run.place)
    return mark.after_recent(run.place, run.look.recent)


def _said(tables: Sequence[_Table]) -> dict[str, object]:
    """Return what to tell of a turn; nothing when no row was sent."""
    filled = [table for table in tables if table.sent]
    if not filled:
        return {}
    return {"rows": sum(table.sent for table in filled), "tables": len({table.name for table in filled})}


__all__ = ["BigQuerySink", "table_name"]
