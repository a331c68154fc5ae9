"""Trust: what is held and missing of each series, values that changed or look wrong, budgets, fear and greed.

Created: 2026-11-21
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('sentiments',
    sa.Column('source', sa.Text(), nullable=False, comment='who the value came from, e.g. coingecko, binance_futures'),
    sa.Column('observed_at', sa.DateTime(timezone=True), nullable=False, comment='start of the day that the value is about (UTC)'),
    sa.Column('received_at', sa.DateTime(timezone=True), nullable=False, comment='when we received it (UTC)'),
    sa.Column('cycle_id', sa.BigInteger(), autoincrement=False, nullable=False, comment='the cycle that stored or last changed the row (cycles.cycle_id)'),
    sa.Column('value', sa.Integer(), autoincrement=False, nullable=False, comment='0 is extreme fear, 100 is extreme greed'),
    sa.Column('classification', sa.Text(), nullable=False, comment="the same in the provider's words"),
    sa.CheckConstraint('value BETWEEN 0 AND 100', name=op.f('ck_sentiments_value')),
    sa.PrimaryKeyConstraint('source', 'observed_at', name=op.f('pk_sentiments')),
    comment='The mood of the market, one row per day'
    )
    op.create_table('coverage',
    sa.Column('instrument_id', sa.Integer(), autoincrement=False, nullable=False, comment='instruments.instrument_id'),
    sa.Column('dataset', sa.Text(), nullable=False, comment='candles or funding'),
    sa.Column('interval', sa.Text(), nullable=False, comment='length of the bars; empty for funding'),
    sa.Column('since', sa.DateTime(timezone=True), nullable=False, comment='start of the window, inclusive (UTC)'),
    sa.Column('until', sa.DateTime(timezone=True), nullable=False, comment='end of the window, exclusive (UTC)'),
    sa.Column('state', sa.Text(), nullable=False, comment='observed, filled (by another provider), provider_has_none, missing or pending (being fetched)'),
    sa.Column('source', sa.Text(), nullable=False, comment='who gave it, or was asked last'),
    sa.Column('reason', sa.Text(), nullable=False, comment='why it is so; empty when observed'),
    sa.Column('attempts', sa.Integer(), server_default='0', autoincrement=False, nullable=False, comment='how often it was asked for in vain'),
    sa.Column('next_try_at', sa.DateTime(timezone=True), nullable=True, comment='not asked for again before this moment; NULL when it is not waited for (UTC)'),
    sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False, comment='when this became so (UTC)'),
    sa.Column('cycle_id', sa.BigInteger(), autoincrement=False, nullable=True, comment='the cycle that found it so; NULL outside a cycle (cycles.cycle_id)'),
    sa.CheckConstraint("state IN ('observed', 'filled', 'provider_has_none', 'missing', 'pending')", name=op.f('ck_coverage_state_known')),
    sa.CheckConstraint('since < until', name=op.f('ck_coverage_window')),
    sa.PrimaryKeyConstraint('instrument_id', 'dataset', 'interval', 'since', name=op.f('pk_coverage')),
    comment='Every wanted window of every series in exactly one state; windows of a series do not overlap'
    )
    op.create_index('ix_coverage_holes', 'coverage', ['next_try_at'], unique=False, postgresql_where="state IN ('missing', 'pending')")
    op.create_table('revisions',
    sa.Column('revision_id', sa.BigInteger(), sa.Identity(always=True), nullable=False, comment='number of the revision'),
    sa.Column('table_name', sa.Text(), nullable=False, comment='the table whose row changed'),
    sa.Column('subject', sa.Text(), nullable=False, comment='what the row is about: an instrument or asset id'),
    sa.Column('key', postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment='the natural key of the row'),
    sa.Column('source', sa.Text(), nullable=False, comment='who gave the new values'),
    sa.Column('columns', sa.ARRAY(sa.Text()), nullable=False, comment='the columns that changed'),
    sa.Column('old', postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment='their values before, numbers as text'),
    sa.Column('new', postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment='their values after, numbers as text'),
    sa.Column('cause', sa.Text(), nullable=False, comment='provider (it changed its answer), source (another provider replaced it) or replay'),
    sa.Column('detected_at', sa.DateTime(timezone=True), nullable=False, comment='when we learnt of it (UTC)'),
    sa.Column('cycle_id', sa.BigInteger(), autoincrement=False, nullable=True, comment='the cycle that stored the new values (cycles.cycle_id)'),
    sa.CheckConstraint("cause IN ('provider', 'source', 'replay')", name=op.f('ck_revisions_cause_known')),
    sa.PrimaryKeyConstraint('revision_id', name=op.f('pk_revisions')),
    comment='Closed values that changed after they were stored'
    )
    op.create_index('ix_revisions_detected_at', 'revisions', ['detected_at'], unique=False)
    op.create_index('ix_revisions_subject', 'revisions', ['table_name', 'subject'], unique=False)
    op.create_table('suspects',
    sa.Column('dataset', sa.Text(), nullable=False, comment='what the row is part of'),
    sa.Column('subject', sa.Text(), nullable=False, comment='what it is about: an instrument or asset id'),
    sa.Column('source', sa.Text(), nullable=False, comment='who gave the row'),
    sa.Column('observed_at', sa.DateTime(timezone=True), nullable=False, comment="the row's time (UTC)"),
    sa.Column('kind', sa.Text(), nullable=False, comment='jump (against the value before) or divergence (against other sources)'),
    sa.Column('value', sa.Numeric(), nullable=False, comment='the doubtful value'),
    sa.Column('reference', sa.Numeric(), nullable=False, comment='what it was compared with'),
    sa.Column('reference_source', sa.Text(), nullable=False, comment='who gave the reference'),
    sa.Column('detail', sa.Text(), nullable=False, comment='the doubt in a sentence'),
    sa.Column('noted_at', sa.DateTime(timezone=True), nullable=False, comment='when it was noted (UTC)'),
    sa.Column('cycle_id', sa.BigInteger(), autoincrement=False, nullable=True, comment='the cycle that noted it (cycles.cycle_id)'),
    sa.CheckConstraint("kind IN ('jump', 'divergence')", name=op.f('ck_suspects_kind_known')),
    sa.PrimaryKeyConstraint('dataset', 'subject', 'source', 'observed_at', 'kind', name=op.f('pk_suspects')),
    comment='Rows that were stored although they look wrong'
    )
    op.create_index('ix_suspects_noted_at', 'suspects', ['noted_at'], unique=False)
    op.create_table('provider_budgets',
    sa.Column('source', sa.Text(), nullable=False, comment="the provider's collector"),
    sa.Column('account', sa.Text(), nullable=False, comment='whose limit it is: address, or a digest of the key'),
    sa.Column('scope', sa.Text(), nullable=False, comment='the metered scope, e.g. weight'),
    sa.Column('window_s', sa.BigInteger(), autoincrement=False, nullable=False, comment='length of the window, seconds'),
    sa.Column('capacity', sa.BigInteger(), autoincrement=False, nullable=False, comment='units that fit into one window'),
    sa.Column('used', sa.BigInteger(), autoincrement=False, nullable=False, comment='units used in the window up to updated_at'),
    sa.Column('entries', postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment='what counts: [[moment, units], ...], oldest first'),
    sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False, comment='when this was counted (UTC)'),
    sa.PrimaryKeyConstraint('source', 'account', 'scope', 'window_s', name=op.f('pk_provider_budgets')),
    comment='What was used of each limit, so that a restart does not begin at zero'
    )
    op.add_column(
        "provider_state",
        sa.Column(
            "denied",
            sa.Boolean(),
            server_default="false",
            nullable=False,
            comment="it does not serve us: key, plan, country or firewall; probed hourly",
        ),
    )
    op.add_column(
        "provider_state",
        sa.Column(
            "clock_offset_s",
            sa.Double(),
            nullable=True,
            comment="its clock less ours, seconds, as last measured; NULL when it tells no time",
        ),
    )


def downgrade() -> None:
    op.drop_column("provider_state", "clock_offset_s")
    op.drop_column("provider_state", "denied")
    op.drop_table("provider_budgets")
    op.drop_table("suspects")
    op.drop_table("revisions")
    op.drop_table("coverage")
    op.drop_table("sentiments")
