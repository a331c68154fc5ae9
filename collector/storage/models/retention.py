"""Tables of retention: months that left the database and their files, what was thinned, turns, and sizes over time."""

from sqlalchemy import ARRAY, Column, Index, PrimaryKeyConstraint, Table, Text

from collector.storage.models.columns import METADATA, moment, one_of, small, text, whole

COLD_MONTHS = Table(
    "cold_months",
    METADATA,
    text("dataset", "the table whose month this is"),
    moment("month", "start of the month (UTC)"),
    text("state", "sealing, sealed, dropped (from the database), restoring, restored (into it) or deleted (for good)"),
    small("generation", "number of the newest file; rows that came late make another one"),
    text("file", "the file that holds the month, below the folder of sealed months; empty: none"),
    whole("rows", "rows in the file"),
    whole("size", "length of the file, bytes"),
    text("sha256", "digest of the file, hex"),
    text("fingerprint", "digest of the rows in the file, whatever their order"),
    whole("hot_rows", "rows the database held when they were copied"),
    text("hot_fingerprint", "digest of those rows: the month is dropped only while it is the same"),
    whole("replaced", "rows of older files that a late row took the place of"),
    Column("stale", ARRAY(Text()), nullable=False, comment="older files, still to be removed"),
    moment("sealed_at", "when the file was verified; NULL: there is none (UTC)", null=True),
    moment("dropped_at", "when the rows last left the database (UTC)", null=True),
    moment("updated_at", "when this became so (UTC)"),
    PrimaryKeyConstraint("dataset", "month"),
    one_of("state", "sealing", "sealed", "dropped", "restoring", "restored", "deleted"),
    comment="Months that left the database, or are about to, and the file that holds each",
)

THINNED_MONTHS = Table(
    "thinned_months",
    METADATA,
    text("dataset", "the table that was thinned"),
    moment("month", "start of the month (UTC)"),
    small("grid_s", "length of a cell, seconds: the last row in each is kept, by instrument and source"),
    moment("until", "thinned up to here, exclusive (UTC)"),
    whole("removed", "rows that went"),
    moment("updated_at", "when it was last thinned (UTC)"),
    PrimaryKeyConstraint("dataset", "month", "grid_s"),
    comment="What was thinned, to which grid, and up to when",
)

RETENTION_TURNS = Table(
    "retention_turns",
    METADATA,
    moment("began_at", "start (UTC)"),
    moment("ended_at", "end; NULL while running, or when its process died (UTC)", null=True),
    whole("months", "months that left the database"),
    whole("rows", "rows that left it with them"),
    whole("thinned", "rows that thinning removed"),
    whole("freed_bytes", "space that the months took in the database"),
    text("postponed", "what could not be done and is tried at the next turn, and why; empty: nothing"),
    PrimaryKeyConstraint("began_at"),
    comment="Each time that retention ran",
)

TABLE_SIZES = Table(
    "table_sizes",
    METADATA,
    moment("sampled_at", "when it was measured (UTC)"),
    text("kind", "table or folder"),
    text("name", "the table, or the folder: cold, logs, spool, backups"),
    whole("heap_bytes", "rows, with values kept out of line; NULL for a folder", null=True),
    whole("index_bytes", "indexes; NULL for a folder", null=True),
    whole("total_bytes", "everything"),
    whole("rows", "rows as the server last counted them, or files; NULL: not counted yet", null=True),
    PrimaryKeyConstraint("kind", "name", "sampled_at"),
    one_of("kind", "table", "folder"),
    Index("ix_table_sizes_sampled_at", "sampled_at"),
    comment="How large tables and folders were, hour by hour",
)

RETENTION = (COLD_MONTHS, THINNED_MONTHS, RETENTION_TURNS, TABLE_SIZES)
