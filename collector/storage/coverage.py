"""Coverage in the database: windows settle in the transaction that stores their rows, one writer at a time.

A job that brought all it asked for only makes the last window of its series longer: one statement for all such jobs.
Everything else is worked out by `collector.coverage` on the windows concerned, and only what changed is written.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg2.extras import execute_values
from sqlalchemy import text

from collector.bars import Bars
from collector.clock import floor_time
from collector.coverage import (
    FOUND_BY_SCAN,
    HELD,
    Event,
    Finding,
    Series,
    State,
    Window,
    findings,
    series_of,
    settle,
)
from collector.records import Batch, Candle, Dataset, Interval, WriteResult
from collector.storage.cold.cold_windows import LOCK, load_left, load_sealed, with_sealed, without_deleted
from collector.storage.database import Database
from collector.storage.instrument_ids import InstrumentIds
from collector.storage.losses import LostCycle, LostJobs, load_lost_cycles, load_lost_jobs
from collector.storage.merge import Cursor
from collector.storage.rows import clean

Key = tuple[int, str, str]
"""(instrument_id, dataset, interval) of a series, as stored"""

_REASON_CHARACTERS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is stored of a series around some windows."""

    windows: Sequence[Window]
    held_before: bool
    listed_at: datetime | None


# --------------------------------------------------------------------------- in the writer's transaction


def settle_batches(
    cursor: Cursor,
    batches: Sequence[Batch],
    results: Sequence[WriteResult],
    *,
    ids: InstrumentIds,
    cycle_id: int,
    now: datetime,
) -> None:
    """Store what the jobs of these batches found out about their windows, in the transaction that stores their rows."""
    jobs = [
        (batch, result, known)
        for batch, result in zip(batches, results, strict=True)
        if (known := series_of(batch.job))
    ]
    if not jobs:
        return
    numbers = ids.of(cursor, [instrument for _, _, (_, instrument) in jobs], now)
    found: defaultdict[Key, list[list[Finding]]] = defaultdict(list)
    for batch, result, (series, _) in jobs:
        number = numbers[series.instrument]
        told = findings(
            batch.job,
            _stored_opens(cursor, batch, result, number, series),
            state=batch.state,
            error=_line(batch.error),
            rejected=bool(batch.rejects or result.rejects),
        )
        if told:
            found[_key(number, series)].append(told)
    cursor.execute(LOCK)
    plain = {key: told[0][0] for key, told in found.items() if len(told) == 1 and _is_plain(told[0])}
    done = _lengthen(cursor, plain, cycle_id, now)
    apply(cursor, {key: told for key, told in found.items() if key not in done}, cycle_id=cycle_id, now=now)


def _stored_opens(cursor: Cursor, batch: Batch, result: WriteResult, number: int, series: Series) -> Sequence[datetime]:
    if result.rejects:  # the database refused some: it knows which ones are there
        cursor.execute(_OPENS, (number, _interval(series), batch.job.since, batch.job.until))
        return [row[0] for row in cursor.fetchall()]
    if isinstance(batch.records, Bars) and (batch.records.instrument.id, batch.records.interval) == (
        series.instrument,
        series.interval,
    ):
        return batch.records.open_time
    return [
        record.open_time
        for record in batch.records
        if isinstance(record, Candle)
        and record.closed
        and record.interval is series.interval
        and record.instrument.id == series.instrument
    ]


def _line(error: str) -> str:
    return clean(error)[:_REASON_CHARACTERS]


def _is_plain(told: Sequence[Finding]) -> bool:
    return len(told) == 1 and told[0].event is Event.GOT


def _lengthen(cursor: Cursor, plain: Mapping[Key, Finding], cycle_id: int, now: datetime) -> set[Key]:
    """Make the observed windows longer that these findings carry on, and return whose they were."""
    if not plain:
        return set()
    numbers, datasets, intervals = zip(*plain, strict=True)
    told = list(plain.values())
    since, until = [item.since.isoformat() for item in told], [item.until.isoformat() for item in told]
    words = [_array(column) for column in (datasets, intervals, since, until)]
    columns = [[*numbers], *words, [item.source for item in told]]
    cursor.execute(_LENGTHEN, (now, cycle_id, *columns))
    return {(row[0], row[1], row[2]) for row in cursor.fetchall()}


def _array(words: Sequence[str]) -> str:
    """Return the server's text of an array of words without quotes: the driver is slow over lists of moments."""
    return '{"' + '","'.join(words) + '"}'


def apply(
    cursor: Cursor, found: Mapping[Key, Sequence[Sequence[Finding]]], *, cycle_id: int | None, now: datetime
) -> None:
    """Settle the findings of each series, list after list, and store what changed. Under the lock of the table."""
    if not found:
        return
    known = _load(cursor, {key: _span(told) for key, told in found.items()})
    gone: list[tuple[Key, Window]] = []
    fresh: list[tuple[Key, Window]] = []
    for key, told in found.items():
        before = known[key].windows
        after = list(before)
        for part in told:
            after = settle(
                after,
                part,
                now,
                held_before=known[key].held_before,
                wanted_from=_wanted_from(known[key].listed_at, key[2]),
            )
        stays = set(before) & set(after)
        gone += [(key, window) for window in before if window not in stays]
        fresh += [(key, window) for window in after if window not in stays]
    _replace(cursor, gone, fresh, cycle_id=cycle_id, now=now)


def _span(told: Sequence[Sequence[Finding]]) -> tuple[datetime, datetime]:
    return min(part[0].since for part in told), max(part[-1].until for part in told)


def _wanted_from(listed_at: datetime | None, interval: str) -> datetime | None:
    return floor_time(listed_at, Interval(interval)) if listed_at is not None and interval else listed_at


def _load(cursor: Cursor, spans: Mapping[Key, tuple[datetime, datetime]]) -> dict[Key, Known]:
    """Return the windows that overlap or touch these spans, and what lies before them."""
    rows = execute_values(
        cursor,
        _LOAD,
        [(*key, *span) for key, span in spans.items()],
        template="(%s::integer, %s, %s, %s::timestamptz, %s::timestamptz)",
        page_size=max(1, len(spans)),
        fetch=True,
    )
    windows: defaultdict[Key, list[Window]] = defaultdict(list)
    around: dict[Key, tuple[bool, datetime | None]] = {}
    for number, dataset, interval, held_before, listed_at, *columns in rows:
        key = (number, dataset, interval)
        around[key] = held_before, listed_at
        if columns[0] is not None:
            windows[key].append(_window(columns))
    return {key: Known(windows=windows[key], held_before=around[key][0], listed_at=around[key][1]) for key in spans}


def _replace(
    cursor: Cursor,
    gone: Sequence[tuple[Key, Window]],
    fresh: Sequence[tuple[Key, Window]],
    *,
    cycle_id: int | None,
    now: datetime,
) -> None:
    if gone:
        rows = [(*key, window.since, str(window.state)) for key, window in gone]
        template = "(%s::integer, %s, %s, %s::timestamptz, %s)"
        execute_values(cursor, _DELETE, rows, template=template, page_size=1000)
    if fresh:
        made = [(*key, *_columns(window), now, cycle_id) for key, window in fresh]
        execute_values(cursor, _INSERT, made, page_size=1000)


def _columns(window: Window) -> tuple[object, ...]:
    return (
        window.since,
        window.until,
        str(window.state),
        window.source,
        window.reason,
        window.attempts,
        window.next_try_at,
    )


def _window(columns: Sequence[object]) -> Window:
    since, until, state, source, reason, attempts, next_try_at = columns
    return Window(
        since=since,  # type: ignore[arg-type]  # the driver's rows are untyped
        until=until,  # type: ignore[arg-type]
        state=State(str(state)),
        source=str(source),
        reason=str(reason),
        attempts=attempts,  # type: ignore[arg-type]
        next_try_at=next_try_at,  # type: ignore[arg-type]
    )


def _key(number: int, series: Series) -> Key:
    return number, str(series.dataset), _interval(series)


def _interval(series: Series) -> str:
    return "" if series.interval is None else str(series.interval)


# --------------------------------------------------------------------------- on its own


class CoverageStore:
    """Asks for windows, hands them out and scans what is stored; each call is one transaction. Raises StorageError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def mark(self, marks: Iterable[tuple[Series, Finding]], *, cycle_id: int | None = None) -> None:
        """Settle findings that come from no answer: asked, wanted, let go, exhausted. Unknown series are passed over.

        Findings of one series must not overlap.
        """
        by_series: defaultdict[Series, list[Finding]] = defaultdict(list)
        for series, finding in marks:
            by_series[series].append(finding)
        if not by_series:
            return
        names = {series.instrument for series in by_series}
        with self._database.transaction("mark windows") as connection:
            cursor = connection.connection.cursor()
            cursor.execute(LOCK)
            cursor.execute(
                "SELECT instrument, instrument_id FROM instruments WHERE instrument = ANY(%s)", (list(names),)
            )
            numbers = dict(cursor.fetchall())
            found = {
                _key(numbers[series.instrument], series): [sorted(told, key=lambda item: item.since)]
                for series, told in by_series.items()
                if series.instrument in numbers
            }
            apply(cursor, found, cycle_id=cycle_id, now=self._database.clock.now())  # type: ignore[arg-type]

    def let_go(self) -> int:
        """Make every pending window missing, to be asked for at once; return how many. Only under the writer lock."""
        with self._database.reading("read windows") as connection:
            rows = connection.execute(_PENDING).all()
        told = [
            (_series(row), Finding(since=row.since, until=row.until, event=Event.LET_GO, source="")) for row in rows
        ]
        self.mark(told)
        return len(told)

    def due(self, now: datetime, limit: int) -> list[tuple[Series, Window]]:
        """Return the windows to ask for again, the newest data first; a job that never ended is among them."""
        with self._database.reading("read windows") as connection:
            rows = connection.execute(_DUE, {"now": now, "limit": limit}).all()
        return [(_series(row), _window(tuple(row[3:]))) for row in rows]

    def windows(
        self, prefix: str = "", since: datetime | None = None, until: datetime | None = None, *, held: bool = True
    ) -> list[tuple[Series, Window]]:
        """Return the windows of the series whose names begin with `prefix`, in order; without `held` only holes.

        Of [since, until) where given: windows are cut to it.
        """
        values = {"prefix": prefix, "since": since, "until": until, "held": held}
        with self._database.reading("read windows") as connection:
            rows = connection.execute(_WINDOWS, values).all()
        return [(_series(row), _window(tuple(row[3:]))) for row in rows]

    def sealed(self) -> list[tuple[str, datetime, datetime]]:
        """Return the months that left the database for files: dataset, since, until."""
        with self._database.reading("read sealed months") as connection:
            return load_sealed(connection)

    def lost_jobs(self, since: datetime, prefix: str = "") -> list[LostJobs]:
        """Return which snapshots were not fetched; see `load_lost_jobs`."""
        return load_lost_jobs(self._database, since, prefix)

    def lost_cycles(self, since: datetime) -> list[LostCycle]:
        """Return which cycles died; see `load_lost_cycles`."""
        return load_lost_cycles(self._database, since)

    # ------------------------------------------------------------------ scanning

    def scan(self, *, again: bool = False) -> int:
        """Build the windows of stored series that have none, or with `again` of all; return how many series.

        Every series is a transaction of its own: a scan that was cut short goes on where it was. Only under the writer
        lock.
        """
        with self._database.reading("look for series") as connection:
            rows = connection.execute(_SERIES if again else _NEW_SERIES).all()
        for row in rows:
            self._scan(row.instrument_id, row.interval, row.venue)
        return len(rows)

    def _scan(self, number: int, interval: str, venue: str) -> None:
        dataset = Dataset.CANDLES if interval else Dataset.FUNDING
        key = (number, str(dataset), interval)
        with self._database.transaction("scan a series") as connection:
            cursor = connection.connection.cursor()
            cursor.execute("SET LOCAL statement_timeout = '10min'")
            cursor.execute(LOCK)
            if interval:
                width = Interval(interval).width
                cursor.execute(_ISLANDS, {"width": width, "number": number, "interval": interval})
            else:
                cursor.execute(_PAYMENTS, {"number": number, "venue": venue})
            islands = cursor.fetchall()
            cursor.execute(_ALL, key)
            before = [_window(row) for row in cursor.fetchall()]
            left = load_left(cursor, str(dataset), interval)
            told = list(without_deleted(_scanned(with_sealed(islands, before, left), venue), left))
            waiting = [window for window in before if window.state not in HELD]
            after = settle(waiting, told, self._database.clock.now())
            stays = set(before) & set(after)
            gone = [(key, window) for window in before if window not in stays]
            fresh = [(key, window) for window in after if window not in stays]
            _replace(cursor, gone, fresh, cycle_id=None, now=self._database.clock.now())  # type: ignore[arg-type]


def _scanned(islands: Sequence[tuple[datetime, datetime, str]], venue: str) -> list[Finding]:
    """Return what stored stretches (since, until, source) say, and the holes between them."""
    told: list[Finding] = []
    for since, until, source in islands:
        if told and told[-1].until < since:
            told.append(
                Finding(since=told[-1].until, until=since, event=Event.LOST, source=venue, reason=FOUND_BY_SCAN)
            )
        event = Event.GOT if source == venue else Event.GOT_ELSEWHERE
        told.append(Finding(since=since, until=until, event=event, source=source))
    return told


def _series(row: object) -> Series:
    name, dataset, interval = row[:3]  # type: ignore[index]
    return Series(instrument=name, dataset=Dataset(dataset), interval=Interval(interval) if interval else None)


# --------------------------------------------------------------------------- statements

_OPENS = """
    SELECT open_time FROM candles WHERE instrument_id = %s AND interval = %s AND open_time >= %s AND open_time < %s
"""
# Nothing indexed changes, so the new version of the row stays on its page. Only the last window up to the new end can
# grow: one that begins later is left to `apply`, which may have to make one of two. The window is found by its place in
# the index, however many the series has.
_LENGTHEN = """
    UPDATE coverage c SET until = v.until, updated_at = %s, cycle_id = %s
    FROM unnest(%s::integer[], %s::text[], %s::text[], %s::timestamptz[], %s::timestamptz[], %s::text[])
        AS v(instrument_id, dataset, interval, since, until, source)
    CROSS JOIN LATERAL (SELECT l.since FROM coverage l WHERE l.instrument_id = v.instrument_id
        AND l.dataset = v.dataset AND l.interval = v.interval AND l.since <= v.until ORDER BY l.since DESC LIMIT 1) l
    WHERE c.instrument_id = v.instrument_id AND c.dataset = v.dataset AND c.interval = v.interval AND c.since = l.since
      AND c.state = 'observed' AND c.source = v.source
      AND c.since <= v.since AND c.until >= v.since AND c.until < v.until
    RETURNING c.instrument_id, c.dataset, c.interval
"""
_LOAD = """
    SELECT v.instrument_id, v.dataset, v.interval,
        EXISTS (SELECT FROM coverage h WHERE h.instrument_id = v.instrument_id AND h.dataset = v.dataset
            AND h.interval = v.interval AND h.since < v.since AND h.state IN ('observed', 'filled')) AS held_before,
        i.listed_at, c.since, c.until, c.state, c.source, c.reason, c.attempts, c.next_try_at
    FROM (VALUES %s) AS v(instrument_id, dataset, interval, since, until)
    JOIN instruments i USING (instrument_id)
    LEFT JOIN coverage c ON c.instrument_id = v.instrument_id AND c.dataset = v.dataset AND c.interval = v.interval
        AND c.since <= v.until AND c.until >= v.since
    ORDER BY c.since
"""
_DELETE = """
    DELETE FROM coverage c USING (VALUES %s) AS v(instrument_id, dataset, interval, since, state)
    WHERE c.instrument_id = v.instrument_id AND c.dataset = v.dataset AND c.interval = v.interval
      AND c.since = v.since AND c.state = v.state
"""
_INSERT = """
    INSERT INTO coverage (instrument_id, dataset, interval, since, until, state, source, reason, attempts, next_try_at,
        updated_at, cycle_id) VALUES %s
"""
_ALL = """
    SELECT since, until, state, source, reason, attempts, next_try_at FROM coverage
    WHERE instrument_id = %s AND dataset = %s AND interval = %s ORDER BY since
"""
_HEAD = "i.instrument, c.dataset, c.interval"
_TAIL = "c.state, c.source, c.reason, c.attempts, c.next_try_at"
_PENDING = text(
    f"SELECT {_HEAD}, c.since, c.until FROM coverage c JOIN instruments i USING (instrument_id) "
    "WHERE c.state = 'pending' ORDER BY 1, 2, 3, 4"
)
_DUE = text(
    f"""
    SELECT {_HEAD}, c.since, c.until, {_TAIL} FROM coverage c JOIN instruments i USING (instrument_id)
    WHERE c.next_try_at <= :now
    ORDER BY c.until DESC, 1, 3 LIMIT :limit
    """
)
_WINDOWS = text(
    f"""
    SELECT {_HEAD}, greatest(c.since, CAST(:since AS timestamptz)) AS since,
        least(c.until, CAST(:until AS timestamptz)) AS until, {_TAIL}
    FROM coverage c JOIN instruments i USING (instrument_id)
    WHERE starts_with(i.instrument || '/' || coalesce(nullif(c.interval, ''), c.dataset), :prefix)
      AND (CAST(:since AS timestamptz) IS NULL OR c.until > :since)
      AND (CAST(:until AS timestamptz) IS NULL OR c.since < :until)
      AND (:held OR c.state NOT IN ('observed', 'filled'))
    ORDER BY 1, 2, 3, c.since
    """
)
# Every interval of every instrument is one index probe: DISTINCT would read all candles.
_STORED = """
    SELECT i.instrument_id, i.venue, n.interval FROM instruments i
    CROSS JOIN unnest(ARRAY['1m', '5m', '15m', '1h', '4h', '1d', '1w']) AS n(interval)
    WHERE EXISTS (SELECT FROM candles c WHERE c.instrument_id = i.instrument_id AND c.interval = n.interval)
    UNION ALL
    SELECT i.instrument_id, i.venue, '' FROM instruments i
    WHERE EXISTS (SELECT FROM funding_rates f WHERE f.instrument_id = i.instrument_id)
"""
_SERIES = text(f"{_STORED} ORDER BY 1, 3")
_NEW_SERIES = text(
    f"""
    SELECT * FROM ({_STORED}) s WHERE NOT EXISTS (SELECT FROM coverage c WHERE c.instrument_id = s.instrument_id
        AND c.interval = s.interval AND c.dataset = CASE WHEN s.interval = '' THEN 'funding' ELSE 'candles' END)
    ORDER BY 1, 3
    """
)
# Bars that follow each other have one and the same distance to their number.
_ISLANDS = """
    SELECT min(open_time), max(open_time) + %(width)s, source FROM (
        SELECT open_time, source,
            open_time - %(width)s * row_number() OVER (PARTITION BY source ORDER BY open_time) AS island
        FROM candles WHERE instrument_id = %(number)s AND interval = %(interval)s) bars
    GROUP BY source, island ORDER BY 1
"""
_PAYMENTS = """
    SELECT min(funding_time), greatest(max(funding_time), min(funding_time) + interval '1 second'), %(venue)s
    FROM funding_rates WHERE instrument_id = %(number)s
"""
