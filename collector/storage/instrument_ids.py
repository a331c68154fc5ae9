"""Numbers for instruments: looked up once, given out for new ones, remembered only after they are committed."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from psycopg2.extras import execute_values

from collector.errors import StorageRejected
from collector.records import Instrument
from collector.storage.merge import Cursor
from collector.storage.rows import Rows, clean


class InstrumentIds:
    """Maps canonical ids to numbers for one writer. Numbers given in an open transaction are kept apart."""

    def __init__(self) -> None:
        self._committed: dict[str, int] = {}
        self._fresh: dict[str, int] = {}

    def commit(self) -> None:
        """Keep what was learnt in the transaction that has just been committed."""
        self._committed.update(self._fresh)
        self._fresh.clear()

    def forget_fresh(self) -> None:
        """Drop what was learnt in a transaction or savepoint that was undone."""
        self._fresh.clear()

    def of_rows(self, cursor: Cursor, rows: Rows, at: datetime) -> Mapping[int, int]:
        """Return a number per instrument object of the rows, by the object's identity."""
        objects = {id(item): item for item in rows.column("instrument")}
        names = {identity: item.id for identity, item in objects.items()}
        numbers = self._of(cursor, {names[identity]: item for identity, item in objects.items()}, at)
        return {identity: numbers[name] for identity, name in names.items()}

    def of(self, cursor: Cursor, instruments: Iterable[Instrument], at: datetime) -> Mapping[str, int]:
        """Return a number per canonical id; instruments seen for the first time are stored."""
        return self._of(cursor, {item.id: item for item in instruments}, at)

    def _of(self, cursor: Cursor, wanted: Mapping[str, Instrument], at: datetime) -> Mapping[str, int]:
        unknown = [name for name in wanted if name not in self._committed and name not in self._fresh]
        if unknown:
            for name in unknown:
                _check_text(name + wanted[name].venue_symbol)
            self._load(cursor, unknown)
            self._insert(cursor, [wanted[name] for name in unknown if name not in self._fresh], at)
        return {name: self._committed.get(name) or self._fresh[name] for name in wanted}

    def _load(self, cursor: Cursor, names: list[str]) -> None:
        cursor.execute("SELECT instrument, instrument_id FROM instruments WHERE instrument = ANY(%s)", (names,))
        self._fresh.update(cursor.fetchall())

    def _insert(self, cursor: Cursor, items: list[Instrument], at: datetime) -> None:
        if not items:
            return
        found = execute_values(
            cursor,
            "INSERT INTO instruments (instrument, venue, base, quote, kind, venue_symbol, contract_size, "
            "first_seen_at, last_seen_at) VALUES %s RETURNING instrument, instrument_id",
            [(x.id, x.venue, x.base, x.quote, str(x.kind), x.venue_symbol, x.contract_size, at, at) for x in items],
            page_size=500,
            fetch=True,
        )
        self._fresh.update(found)


def _check_text(text: str) -> None:
    """Refuse what the server would refuse, before the driver does so with an error of its own."""
    if clean(text) != text:
        raise StorageRejected(f"not a text that can be stored: {text!r}")
