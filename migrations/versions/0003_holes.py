"""Holes: coverage that is cheap to extend, and jobs that name the series they fill.

Created: 2026-11-21
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE coverage SET (fillfactor = 50)")
    op.drop_index("ix_coverage_holes", table_name="coverage")
    op.create_index("ix_coverage_holes", "coverage", ["next_try_at"], postgresql_where="next_try_at IS NOT NULL")
    op.add_column(
        "jobs",
        sa.Column(
            "stands_for",
            sa.Text(),
            nullable=True,
            comment="the instrument that the rows fill, when another provider answers for it",
        ),
    )


def downgrade() -> None:
    op.drop_column("jobs", "stands_for")
    op.drop_index("ix_coverage_holes", table_name="coverage")
    op.create_index(
        "ix_coverage_holes", "coverage", ["next_try_at"], postgresql_where="state IN ('missing', 'pending')"
    )
    op.execute("ALTER TABLE coverage RESET (fillfactor)")
