"""Listings into `assets` and `instruments`: what is new, changed, gone or back goes to `listing_changes`.

The first listing of a source is no change: nobody wants to read that 17 000 coins exist.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from collector.records import Asset, Batch, Dataset, InstrumentListing, Record
from collector.storage.merge import Cursor, staging_name
from collector.storage.rows import clean, shape_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """How one kind of listing is stored and which of its columns are worth a note when they change."""

    record: type[Record]
    dataset: Dataset  # a whole batch of it is a complete list
    subject: str
    label: str  # what a person calls the subject
    gone: str
    watched: Mapping[str, str]  # column -> change

    @property
    def table(self) -> str:
        return shape_of(self.record).table


ASSET_LISTING = Listing(
    record=Asset,
    dataset=Dataset.LISTING,
    subject="asset_id",
    label="name",
    gone="delisted_at",
    watched={"name": "renamed", "symbol": "symbol"},
)
INSTRUMENT_LISTING = Listing(
    record=InstrumentListing,
    dataset=Dataset.INSTRUMENTS,
    subject="instrument",
    label="venue_symbol",
    gone="gone_at",
    watched={
        "venue_symbol": "renamed",
        "status": "status",
        "contract_size": "contract_size",
        "delists_at": "end_announced",
    },
)
LISTINGS: Mapping[type[Record], Listing] = {Asset: ASSET_LISTING, InstrumentListing: INSTRUMENT_LISTING}


def known_sources(cursor: Cursor, listing: Listing) -> list[str]:
    """Return the sources that have listed something before."""
    cursor.execute(f"SELECT DISTINCT source FROM {listing.table} WHERE source IS NOT NULL")
    return [row[0] for row in cursor.fetchall()]


def merge_listing(cursor: Cursor, listing: Listing, *, at: datetime, cycle_id: int, known: Sequence[str]) -> int:
    """Take over what is staged, note the changes, and return how many subjects are new or changed."""
    cursor.execute(_changes_sql(listing), {"at": at, "cycle_id": cycle_id, "known": list(known)})
    cursor.execute(_upsert_sql(listing), {"at": at})
    changed = cursor.rowcount
    cursor.execute(_touch_sql(listing), {"at": at})
    return int(changed)


def _changes_sql(listing: Listing) -> str:
    watched = ", ".join(
        f"('{change}', t.{column}::text, s.{column}::text, t.{column} IS DISTINCT FROM s.{column})"
        for column, change in listing.watched.items()
    )
    same = " AND ".join(f"t.{name} = s.{name}" for name in shape_of(listing.record).key)
    return f"""
        INSERT INTO listing_changes (at, source, subject, change, old, new, cycle_id)
        SELECT %(at)s, s.source, s.{listing.subject}, c.change, c.old, c.new, %(cycle_id)s
        FROM {staging_name(listing.table)} s LEFT JOIN {listing.table} t ON {same}
        CROSS JOIN LATERAL (
            SELECT 'listed', NULL, s.{listing.label} WHERE t.source IS NULL AND s.source = ANY(%(known)s)
            UNION ALL SELECT 'relisted', NULL, s.{listing.label} WHERE t.{listing.gone} IS NOT NULL
            UNION ALL SELECT w.change, w.old, w.new FROM (VALUES {watched}) w(change, old, new, differs)
            WHERE t.source IS NOT NULL AND w.differs
        ) c(change, old, new)
        ORDER BY s.{listing.subject}, c.change
    """


def _upsert_sql(listing: Listing) -> str:
    shape = shape_of(listing.record)
    values = [name for name in shape.columns if name not in shape.key]
    sets = ", ".join(f"{name} = EXCLUDED.{name}" for name in values)
    old, new = (", ".join(f"{side}.{name}" for name in values) for side in (shape.table, "EXCLUDED"))
    return f"""
        INSERT INTO {shape.table} ({", ".join(shape.columns)}, first_seen_at, last_seen_at)
        SELECT {", ".join(shape.columns)}, %(at)s, %(at)s FROM {staging_name(shape.table)}
        ON CONFLICT ({", ".join(shape.key)}) DO UPDATE
        SET {sets}, last_seen_at = greatest({shape.table}.last_seen_at, EXCLUDED.last_seen_at), {listing.gone} = NULL
        WHERE ({old}) IS DISTINCT FROM ({new}) OR {shape.table}.{listing.gone} IS NOT NULL
    """


def _touch_sql(listing: Listing) -> str:
    same = " AND ".join(f"t.{name} = s.{name}" for name in shape_of(listing.record).key)
    return (
        f"UPDATE {listing.table} t SET last_seen_at = %(at)s FROM {staging_name(listing.table)} s "
        f"WHERE {same} AND t.last_seen_at < %(at)s"
    )


def is_complete(batch: Batch, listing: Listing) -> bool:
    """Return whether whoever is missing from this batch is missing from the provider's listing.

    Not for an empty list, and not when a row was refused: it may be the very one that seems to be missing.
    """
    named = any(type(record) is listing.record for record in batch.records)
    return batch.job.dataset is listing.dataset and batch.state == "ok" and named and not batch.rejects


def mark_missing(cursor: Cursor, listing: Listing, batch: Batch, cycle_id: int) -> int:
    """Note everything of the batch's source that a complete listing no longer has; return how many are newly gone.

    Instruments are only looked for among the kinds that the listing has: a venue may list each kind by itself.
    """
    rows = [record for record in batch.records if type(record) is listing.record]
    seen = [clean(row.asset_id if isinstance(row, Asset) else row.key[0].id) for row in rows]
    kinds = sorted({str(row.key[0].kind) for row in rows if isinstance(row, InstrumentListing)})
    at = max(row.received_at for row in rows)
    among = "AND t.kind = ANY(%(kinds)s)" if kinds else ""
    cursor.execute(
        f"""
        WITH gone AS (
            UPDATE {listing.table} t SET {listing.gone} = %(at)s
            WHERE t.source = %(source)s AND t.{listing.gone} IS NULL {among}
              AND t.{listing.subject} NOT IN (SELECT unnest(%(seen)s::text[]))
            RETURNING t.{listing.subject}, t.{listing.label}
        )
        INSERT INTO listing_changes (at, source, subject, change, old, new, cycle_id)
        SELECT %(at)s, %(source)s, g.{listing.subject}, 'delisted', g.{listing.label}, NULL, %(cycle_id)s
        FROM gone g ORDER BY 3
        """,
        {"at": at, "source": rows[0].source, "kinds": kinds, "seen": seen, "cycle_id": cycle_id},
    )
    return int(cursor.rowcount)
