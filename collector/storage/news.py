"""New rows as they are committed: hears the writer's notifications and reads what they speak of.

A `Position` is a place in the order of commits. There is one writer, so the rows committed after a position are those
of a later transaction: every row carries the number of the transaction that wrote it (the system column xmin).
"""

import json
import selectors
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self, cast

from sqlalchemy import Connection, text

from collector.records import Interval
from collector.storage.announce import CHANNEL, MOST_ROWS, NEWS, Fresh
from collector.storage.database import Database
from collector.storage.faults import translated
from collector.storage.models import METADATA

RESUMED_WITHIN = timedelta(hours=1)  # age of a cycle from which missed rows are still read
_ONE_SNAPSHOT = text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
_ROUND = 2**32  # transaction numbers on rows count round
_AHEAD = 2**31  # of two such numbers the later one is less than half a round ahead


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of rows that can be followed. `time` is the column its rows are found by."""

    table: str
    time: str = "observed_at"
    owner: str = "instrument"  # whose rows they are: an instrument, an asset, or of no one
    bars: bool = False


KINDS: Mapping[str, Kind] = {
    "markets": Kind("market_snapshots", owner="asset"),
    "global": Kind("global_snapshots", owner=""),
    "sentiments": Kind("sentiments", owner=""),
    "tickers": Kind("tickers"),
    "mark_prices": Kind("mark_prices"),
    "order_books": Kind("order_books"),
    "open_interest": Kind("open_interest"),
    "funding_forecasts": Kind("funding_forecasts"),
    "funding": Kind("funding_rates", time="funding_time"),
    "candles": Kind("candles", time="open_time", bars=True),
    "indicators": Kind("indicators", time="open_time", bars=True),
}
"""What can be followed, in the order in which the rows of one transaction are told."""
LEVELS = {"bid_prices", "bid_sizes", "ask_prices", "ask_sizes"}  # too long to be told; their measures are


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the order of commits: a transaction, and the cycle it belongs to. The transaction decides."""

    cycle: int
    xid: int

    def __str__(self) -> str:
        return f"{self.cycle}-{self.xid}"

    def later(self, other: "Position") -> "Position":
        """Return the later one of two."""
        return other if other.xid > self.xid else self

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the position that `str` wrote; None for any other text."""
        cycle, dash, xid = text.partition("-")
        whole = all(part.isascii() and part.isdecimal() and len(part) <= 19 for part in (cycle, xid))  # noqa: PLR2004
        return cls(int(cycle), int(xid)) if dash and whole and max(int(cycle), int(xid)) < 2**63 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """One committed transaction: the position it begins at, and what it changed by table."""

    position: Position
    tables: Mapping[str, Fresh]

    @classmethod
    def parse(cls, payload: str) -> Self | None:
        """Return what a notification says; None when it is none of ours: anybody may notify."""
        try:
            told = json.loads(payload)
            tables = {str(name): _fresh(part) for name, part in told["tables"].items()}
            return cls(position=Position(int(told["cycle"]), int(told["xid"])), tables=tables)
        except (ValueError, KeyError, TypeError, AttributeError):
            return None


def _fresh(part: Mapping[str, Any]) -> Fresh:
    since, until = (datetime.fromisoformat(part[name]) if name in part else None for name in ("since", "until"))
    return Fresh(
        rows=int(part["rows"]),
        intervals=tuple(str(Interval(name)) for name in part.get("intervals", ())),
        since=since,
        until=until,
        of=tuple(str(name) for name in part.get("of", ())),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """New rows of one kind, oldest transaction first; `missing` changed too and are not among them."""

    kind: str
    rows: Sequence[Mapping[str, Any]]
    missing: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """New rows of several kinds up to a position."""

    position: Position
    found: Sequence[Found] = field(default_factory=tuple)


class NewsReader:
    """Reads new rows; each call is one read-only transaction. May be used by several threads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def position(self) -> Position:
        """Return a position that everything committed from now on comes after."""
        query = text(
            "SELECT coalesce((SELECT max(cycle_id) FROM cycles), 0), "
            "pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 1"
        )
        with self._database.reading("look for new rows") as connection:
            cycle, xid = connection.execute(query).one()
        return Position(cycle, xid)

    def of_announcement(self, told: Announcement, kinds: Sequence[str]) -> News:
        """Return the rows that one transaction changed, of these kinds, at most MOST_ROWS of each.

        Rows whose time was more than a day ago when they came are history and no news: they count as missing.
        """
        position, found = told.position, []
        with self._database.reading("read new rows") as connection:
            connection.execute(_ONE_SNAPSHOT)
            place = {"cycle": position.cycle, "origin": position.xid % _ROUND}
            end = connection.execute(_NEXT, place).scalar() or _AHEAD
            for name in kinds:
                fresh = told.tables.get(KINDS[name].table)
                if fresh is None or not fresh.rows:
                    continue
                values = _where(self._database.clock.now(), fresh)
                rows, newest = _load(connection, name, told.position, {**values, **place, "first": 0, "end": end})
                position, kept = position.later(newest), rows[:MOST_ROWS]
                found.append(Found(kind=name, rows=kept, missing=max(0, fresh.rows - len(kept))))
        return News(position=position, found=found)

    def since(self, position: Position, kinds: Sequence[str]) -> News | None:
        """Return all rows committed after a position; None when that is too long ago, or they are too many.

        Too long is a cycle that began more than an hour ago, too many are more than MOST_ROWS of a kind.
        """
        now = self._database.clock.now()
        with self._database.reading("read missed rows") as connection:
            connection.execute(_ONE_SNAPSHOT)
            began = _known_place(connection, position)
            if began is None or now - began > RESUMED_WITHIN:
                return None
            values = _where(began, Fresh(rows=0, since=began - NEWS))
            values |= {"cycle": None, "first": 1, "end": _AHEAD}
            newest, found = position, []
            for name in kinds:
                rows, seen = _load(connection, name, position, values)
                if len(rows) > MOST_ROWS:
                    return None
                newest = newest.later(seen)
                if rows:
                    found.append(Found(kind=name, rows=rows))
        return News(position=newest, found=found)


def _known_place(connection: Connection, position: Position) -> datetime | None:
    """Return when the cycle of a position began; None when this database has no such place."""
    began: datetime | None = connection.execute(_PLACE, {"cycle": position.cycle, "xid": position.xid}).scalar()
    return began


_PLACE = text(
    "SELECT started_at FROM cycles WHERE cycle_id = :cycle "
    "AND pg_snapshot_xmax(pg_current_snapshot())::text::bigint - :xid BETWEEN 0 AND 2147483647"
)


_XMIN_AHEAD = f"(({{}}.xmin::text::bigint - :origin + {_ROUND}) % {_ROUND})"
# Savepoints have numbers of their own, so a transaction's rows carry several. The next one begins with its jobs' rows.
_NEXT = text(
    f"SELECT min(ahead) FROM (SELECT {_XMIN_AHEAD.format('j')} AS ahead FROM jobs j WHERE j.cycle_id = :cycle) later "
    f"WHERE ahead BETWEEN 1 AND {_AHEAD - 1}"
)


def _where(now: datetime, fresh: Fresh) -> dict[str, Any]:
    widths = {str(interval): interval.width for interval in Interval}
    intervals = list(fresh.intervals or widths)
    since, oldest = fresh.since or now - NEWS, now - NEWS
    return {
        "since": since,
        "oldest": oldest,
        "floor": max(since, oldest) - 2 * max(widths[name] for name in intervals),
        "until": fresh.until or datetime.max.replace(tzinfo=now.tzinfo),
        "of": list(fresh.of) or None,
        "intervals": intervals,
        "widths": [widths[name] for name in intervals],
    }


def _load(
    connection: Connection, name: str, after: Position, values: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], Position]:
    """Return the rows, MOST_ROWS and one at most, and the position after the newest of all there are."""
    bound = {**values, "origin": after.xid % _ROUND, "limit": MOST_ROWS + 1}
    rows = [dict(row) for row in connection.execute(_QUERIES[name], bound).mappings()]
    if not rows:
        return rows, after
    newest = Position(rows[0]["last_cycle"], after.xid + rows[0]["last_ahead"])
    for row in rows:
        del row["ahead"], row["last_ahead"], row["last_cycle"]
    return rows, newest


def _query(kind: Kind) -> str:
    columns = [column.name for column in METADATA.tables[kind.table].columns]
    columns = [f"t.{name}" for name in columns if name not in {"instrument_id", *LEVELS}]
    names = {"instrument": ["i.instrument", "i.base", "i.quote"], "asset": ["a.symbol"], "": []}[kind.owner]
    ahead = _XMIN_AHEAD.format("t")
    limits = [
        f"t.{kind.time} >= greatest(CAST(:since AS timestamptz), CAST(:oldest AS timestamptz)){_earlier(kind)}",
        f"t.{kind.time} <= :until",
        # A constant, so that older partitions are left out; compressed rows do not even have an xmin.
        *([f"t.{kind.time} >= CAST(:floor AS timestamptz)"] if kind.bars else []),
        "(CAST(:cycle AS bigint) IS NULL OR t.cycle_id = :cycle)",
        f"{ahead} >= :first AND {ahead} < :end",
    ]
    return (
        f"SELECT {', '.join([*names, *columns])}, {ahead} AS ahead, max({ahead}) OVER () AS last_ahead, "
        f"max(t.cycle_id) OVER () AS last_cycle FROM {_from(kind)} "
        f"WHERE {' AND '.join(limits)} ORDER BY ahead, {', '.join([*names[:1], f't.{kind.time}'])} LIMIT :limit"
    )


def _earlier(kind: Kind) -> str:
    """Return how much older a row's label may be than the row: a bar is known when it ends, a payment comes late."""
    if kind.bars:
        return " - v.width - v.width"
    return " - interval '1 day'" if kind.time != "observed_at" else ""


def _from(kind: Kind) -> str:
    chosen = "(CAST(:of AS text[]) IS NULL OR {} = ANY(:of))"
    if kind.owner == "asset":
        return (
            f"{kind.table} t LEFT JOIN assets a ON a.source = t.source AND a.asset_id = t.asset_id "
            f"JOIN (SELECT 1) one ON {chosen.format('t.asset_id')}"
        )
    if not kind.owner:
        return f"{kind.table} t"
    source = (
        f"instruments i JOIN {kind.table} t ON t.instrument_id = i.instrument_id AND {chosen.format('i.instrument')}"
    )
    if not kind.bars:
        return source
    widths = "unnest(CAST(:intervals AS text[]), CAST(:widths AS interval[])) AS v(name, width)"
    return f"{widths} CROSS JOIN {source} AND t.interval = v.name"


_QUERIES = {name: text(_query(kind)) for name, kind in KINDS.items()}


class Listener:
    """A connection of its own that hears the writer's notifications; for one thread, `wake` is for any other."""

    def __init__(self, database: Database) -> None:
        """Connect and listen. Raises StorageUnavailable, or ConfigError when a human must act."""
        self._wake, self._waker = socket.socketpair()
        self._ears = selectors.DefaultSelector()
        self._ears.register(self._wake, selectors.EVENT_READ)
        try:
            with translated("listen for new rows"):
                pooled = database.engine.raw_connection()
                self._raw = cast("Any", pooled.driver_connection)
                pooled.detach()  # it never goes back: it would be lent while it listens
                self._raw.autocommit = True
                with self._raw.cursor() as cursor:
                    cursor.execute(f"SET idle_session_timeout = 0; LISTEN {CHANNEL}")
            self._ears.register(self._raw, selectors.EVENT_READ)
        except BaseException:
            self._let_go()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with translated("stop listening"):
            self._raw.close()
        self._let_go()

    def _let_go(self) -> None:
        for item in (self._ears, self._wake, self._waker):
            item.close()

    def wake(self) -> None:
        """Let `hear` return at once, now or when it is called next."""
        self._waker.send(b"x")

    def hear(self, timeout_s: float) -> list[Announcement]:
        """Wait and return what was told meanwhile, oldest first; empty after `timeout_s` or `wake`.

        Raises StorageUnavailable when the connection is lost.
        """
        self._ears.select(timeout_s)
        with translated("listen for new rows"):
            self._raw.poll()
            if not self._raw.notifies:
                with self._raw.cursor() as cursor:  # a cable that was cut says nothing by itself
                    cursor.execute("SELECT 1")
        heard, self._raw.notifies[:] = list(self._raw.notifies), []
        return [told for told in (Announcement.parse(note.payload) for note in heard) if told is not None]
