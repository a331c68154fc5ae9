"""Retention: months sealed to files, what was thinned, each turn, and how large tables were.

Created: 2026-11-21
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "cold_months",
        sa.Column("dataset", sa.Text(), nullable=False, comment="the table whose month this is"),
        sa.Column("month", sa.DateTime(timezone=True), nullable=False, comment="start of the month (UTC)"),
        sa.Column(
            "state",
            sa.Text(),
            nullable=False,
            comment="sealing, sealed, dropped (from the database), restoring, restored (into it) or deleted (for good)",
        ),
        sa.Column(
            "generation",
            sa.Integer(),
            autoincrement=False,
            nullable=False,
            comment="number of the newest file; rows that came late make another one",
        ),
        sa.Column(
            "file",
            sa.Text(),
            nullable=False,
            comment="the file that holds the month, below the folder of sealed months; empty: none",
        ),
        sa.Column("rows", sa.BigInteger(), autoincrement=False, nullable=False, comment="rows in the file"),
        sa.Column("size", sa.BigInteger(), autoincrement=False, nullable=False, comment="length of the file, bytes"),
        sa.Column("sha256", sa.Text(), nullable=False, comment="digest of the file, hex"),
        sa.Column(
            "fingerprint", sa.Text(), nullable=False, comment="digest of the rows in the file, whatever their order"
        ),
        sa.Column(
            "hot_rows",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="rows the database held when they were copied",
        ),
        sa.Column(
            "hot_fingerprint",
            sa.Text(),
            nullable=False,
            comment="digest of those rows: the month is dropped only while it is the same",
        ),
        sa.Column(
            "replaced",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="rows of older files that a late row took the place of",
        ),
        sa.Column("stale", sa.ARRAY(sa.Text()), nullable=False, comment="older files, still to be removed"),
        sa.Column(
            "sealed_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when the file was verified; NULL: there is none (UTC)",
        ),
        sa.Column(
            "dropped_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when the rows last left the database (UTC)",
        ),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False, comment="when this became so (UTC)"),
        sa.CheckConstraint(
            "state IN ('sealing', 'sealed', 'dropped', 'restoring', 'restored', 'deleted')",
            name=op.f("ck_cold_months_state_known"),
        ),
        sa.PrimaryKeyConstraint("dataset", "month", name=op.f("pk_cold_months")),
        comment="Months that left the database, or are about to, and the file that holds each",
    )
    op.create_table(
        "thinned_months",
        sa.Column("dataset", sa.Text(), nullable=False, comment="the table that was thinned"),
        sa.Column("month", sa.DateTime(timezone=True), nullable=False, comment="start of the month (UTC)"),
        sa.Column(
            "grid_s",
            sa.Integer(),
            autoincrement=False,
            nullable=False,
            comment="length of a cell, seconds: the last row in each is kept, by instrument and source",
        ),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False, comment="thinned up to here, exclusive (UTC)"),
        sa.Column("removed", sa.BigInteger(), autoincrement=False, nullable=False, comment="rows that went"),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False, comment="when it was last thinned (UTC)"),
        sa.PrimaryKeyConstraint("dataset", "month", "grid_s", name=op.f("pk_thinned_months")),
        comment="What was thinned, to which grid, and up to when",
    )
    op.create_table(
        "retention_turns",
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False, comment="start (UTC)"),
        sa.Column(
            "ended_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="end; NULL while running, or when its process died (UTC)",
        ),
        sa.Column(
            "months", sa.BigInteger(), autoincrement=False, nullable=False, comment="months that left the database"
        ),
        sa.Column("rows", sa.BigInteger(), autoincrement=False, nullable=False, comment="rows that left it with them"),
        sa.Column(
            "thinned", sa.BigInteger(), autoincrement=False, nullable=False, comment="rows that thinning removed"
        ),
        sa.Column(
            "freed_bytes",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="space that the months took in the database",
        ),
        sa.Column(
            "postponed",
            sa.Text(),
            nullable=False,
            comment="what could not be done and is tried at the next turn, and why; empty: nothing",
        ),
        sa.PrimaryKeyConstraint("began_at", name=op.f("pk_retention_turns")),
        comment="Each time that retention ran",
    )
    op.create_table(
        "table_sizes",
        sa.Column("sampled_at", sa.DateTime(timezone=True), nullable=False, comment="when it was measured (UTC)"),
        sa.Column("kind", sa.Text(), nullable=False, comment="table or folder"),
        sa.Column("name", sa.Text(), nullable=False, comment="the table, or the folder: cold, logs, spool, backups"),
        sa.Column(
            "heap_bytes",
            sa.BigInteger(),
            autoincrement=False,
            nullable=True,
            comment="rows, with values kept out of line; NULL for a folder",
        ),
        sa.Column(
            "index_bytes", sa.BigInteger(), autoincrement=False, nullable=True, comment="indexes; NULL for a folder"
        ),
        sa.Column("total_bytes", sa.BigInteger(), autoincrement=False, nullable=False, comment="everything"),
        sa.Column(
            "rows",
            sa.BigInteger(),
            autoincrement=False,
            nullable=True,
            comment="rows as the server last counted them, or files; NULL: not counted yet",
        ),
        sa.CheckConstraint("kind IN ('table', 'folder')", name=op.f("ck_table_sizes_kind_known")),
        sa.PrimaryKeyConstraint("kind", "name", "sampled_at", name=op.f("pk_table_sizes")),
        comment="How large tables and folders were, hour by hour",
    )
    op.create_index("ix_table_sizes_sampled_at", "table_sizes", ["sampled_at"], unique=False)


def downgrade() -> None:
    for name in ("table_sizes", "retention_turns", "thinned_months", "cold_months"):
        op.drop_table(name)
