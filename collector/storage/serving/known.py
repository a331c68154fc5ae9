"""Which names were ever stored: one statement of index probes, for those that a page had no row of."""

from collections.abc import Mapping, Sequence

from sqlalchemy import text

from collector.storage.database import Database

_HELD: Mapping[str, str] = {
    "instrument": "EXISTS (SELECT FROM instruments i WHERE i.instrument = n.name)",
    "asset_id": "EXISTS (SELECT FROM market_snapshots m WHERE m.asset_id = n.name) "
    "OR EXISTS (SELECT FROM assets a WHERE a.asset_id = n.name)",
    "cycle_id": "EXISTS (SELECT FROM cycles c WHERE c.cycle_id = n.name::bigint)",
}
NAMED: Sequence[str] = tuple(_HELD)
_NAMES = "SELECT n.name FROM unnest(CAST(:names AS text[])) WITH ORDINALITY AS n(name, at)"
_UNKNOWN = {name: text(f"{_NAMES} WHERE NOT ({held}) ORDER BY at") for name, held in _HELD.items()}
# A name is spelled in capitals; instruments keep their signs, pairs and assets have none.
_UNSPOKEN = text(
    f"{_NAMES} WHERE (EXISTS (SELECT FROM instruments) OR EXISTS (SELECT FROM assets)) "
    "AND n.name NOT IN (SELECT upper(instrument) FROM instruments UNION ALL SELECT upper(base) FROM instruments "
    "UNION ALL SELECT upper(base || quote) FROM instruments UNION ALL SELECT upper(symbol) FROM assets "
    "WHERE symbol IS NOT NULL UNION ALL SELECT translate(upper(asset_id), '/-', '') FROM assets) ORDER BY at"
)


def unknown(database: Database, kind: str, names: Sequence[str]) -> list[str]:
    """Return those of the names (one kind of NAMED) that nothing stored has. Raises StorageError."""
    with database.reading(f"look for {kind}") as connection:
        return list(connection.execute(_UNKNOWN[kind], {"names": list(names)}).scalars())


def unknown_symbols(database: Database, names: Sequence[str]) -> list[str]:
    """Return those that are no asset, pair or instrument; none while nothing at all is listed. Raises StorageError.

    Names are in capitals, without / and - unless they are those of instruments.
    """
    with database.reading("look for symbols") as connection:
        return list(connection.execute(_UNSPOKEN, {"names": list(names)}).scalars())
