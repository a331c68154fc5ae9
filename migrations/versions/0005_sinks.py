"""Sinks: how far each has come.

Created: 2026-11-21
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('sink_watermarks',
    sa.Column('sink', sa.Text(), nullable=False, comment='which sink: bigquery'),
    sa.Column('target', sa.Text(), nullable=False, comment='the table outside, as project.dataset.table'),
    sa.Column('source', sa.Text(), nullable=False, comment='whose rows it takes, e.g. okx'),
    sa.Column('content', sa.Text(), nullable=False, comment='raw (answers as they came) or derived (rows made of them)'),
    sa.Column('server', sa.Text(), nullable=False, comment='the database server that the transaction numbers below belong to'),
    sa.Column('generation', sa.Integer(), server_default='0', autoincrement=False, nullable=False, comment="how often that server was another one; begins every row's version"),
    sa.Column('recent_xid', sa.BigInteger(), autoincrement=False, nullable=True, comment='rows of recent times are there up to this transaction; NULL: nothing yet'),
    sa.Column('recent_at', sa.DateTime(timezone=True), nullable=True, comment='so are those stored before this moment (UTC)'),
    sa.Column('recent_since', sa.DateTime(timezone=True), nullable=True, comment="the row's time that counts as recent since the last full look (UTC)"),
    sa.Column('full_xid', sa.BigInteger(), autoincrement=False, nullable=True, comment='rows of all times are there up to this transaction; NULL: not yet'),
    sa.Column('full_at', sa.DateTime(timezone=True), nullable=True, comment='so are all rows stored before this moment (UTC)'),
    sa.Column('done', postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment='of a full look that has not ended: partition -> transaction'),
    sa.Column('rows_sent', sa.BigInteger(), server_default='0', autoincrement=False, nullable=False, comment='rows sent, repetitions counted'),
    sa.Column('bytes_loaded', sa.BigInteger(), server_default='0', autoincrement=False, nullable=False, comment='bytes uploaded, compressed'),
    sa.Column('bytes_merged', sa.BigInteger(), server_default='0', autoincrement=False, nullable=False, comment='bytes that the MERGE statements processed'),
    sa.Column('answers_lost', sa.BigInteger(), server_default='0', autoincrement=False, nullable=False, comment='good jobs whose raw answers were deleted by age before they were sent'),
    sa.Column('lost_until', sa.DateTime(timezone=True), nullable=True, comment='when the last of these had been received (UTC)'),
    sa.Column('error', sa.Text(), nullable=False, comment='why it could not go on; empty when it could'),
    sa.Column('failed_at', sa.DateTime(timezone=True), nullable=True, comment='since when it cannot; NULL when it can (UTC)'),
    sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False, comment='when this row was written (UTC)'),
    sa.PrimaryKeyConstraint('sink', 'target', name=op.f('pk_sink_watermarks')),
    comment='How far each sink has come, by the table it fills'
    )


def downgrade() -> None:
    op.drop_table('sink_watermarks')
