"""Analytics: trends, derived metrics, ranks, signals, portfolios, and how signals and portfolios did.

Created: 2026-11-21
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

VIEWS = {
    "v_derived_metrics": (
        "SELECT i.instrument, t.observed_at, t.measure, t.span, t.value, t.gradient, t.gradient_relative, t.mean,"
        " t.deviation, t.zscore, t.samples, t.computed_at, t.cycle_id FROM derived_metrics t JOIN instruments i "
        "USING (instrument_id)"
    ),
    "v_signals": (
        "SELECT i.instrument, t.interval, t.name, t.parameter_hash, t.version, t.bar_end, t.kind, t.direction, "
        "t.state, t.strength, t.price, t.window_since, t.window_until, t.bars, t.parameters, t.inputs_hash, "
        "t.computed_at, t.cycle_id FROM signals t JOIN instruments i USING (instrument_id)"
    ),
    "v_signal_outcomes": (
        "SELECT i.instrument, t.interval, t.name, t.parameter_hash, t.version, t.bar_end, t.horizon, t.kind, "
        "t.direction, t.exit_end, t.status, t.entry_price, t.exit_price, t.forward_return, t.hit, t.computed_at, "
        "t.cycle_id FROM signal_outcomes t JOIN instruments i USING (instrument_id)"
    ),
    "v_signal_revisions": (
        "SELECT i.instrument, t.interval, t.name, t.parameter_hash, t.version, t.bar_end, t.revision, t.kind, "
        "t.differs, t.cause, t.direction, t.state, t.strength, t.price, t.inputs_hash, t.computed_at, t.cycle_id "
        "FROM signal_revisions t JOIN instruments i USING (instrument_id)"
    ),
    "v_price_trends": (
        "SELECT n.instrument, w.span, n.open_time + interval '24 hours' AS as_of, s.bars, w.days - s.bars AS "
        "missing, s.first_price, n.close AS last_price, n.close / s.first_price - 1 AS change, CASE WHEN "
        "s.returns >= ceil(0.9 * w.days) THEN s.deviation * sqrt(365) END AS volatility, CASE WHEN s.closes >= "
        "ceil(0.9 * (w.days + 1)) THEN n.close / s.highest - 1 END AS drawdown, CASE WHEN s.closes >= ceil(0.9 * "
        "(w.days + 1)) THEN s.deepest END AS max_drawdown FROM ( SELECT i.instrument_id, i.instrument, "
        "c.open_time, c.close FROM instruments i CROSS JOIN LATERAL ( SELECT open_time, close::float8 AS close "
        "FROM candles WHERE instrument_id = i.instrument_id AND interval = '1d' ORDER BY open_time DESC LIMIT 1 )"
        " c ) n CROSS JOIN (VALUES ('7d', 7), ('30d', 30), ('90d', 90)) AS w (span, days) CROSS JOIN LATERAL ( "
        "SELECT count(*)::integer AS closes, (count(*) FILTER (WHERE p.open_time > p.start_time))::integer AS "
        "bars, count(p.change) AS returns, max(p.close) FILTER (WHERE p.open_time = p.start_time) AS first_price,"
        " max(p.close) AS highest, stddev_samp(p.change) AS deviation, min(p.close / p.highest - 1) AS deepest "
        "FROM ( SELECT c.open_time, c.close::float8 AS close, n.open_time - w.days * interval '24 hours' AS "
        "start_time, max(c.close::float8) OVER o AS highest, CASE WHEN lag(c.open_time) OVER o = c.open_time - "
        "interval '24 hours' THEN ln(c.close::float8) - ln(lag(c.close::float8) OVER o) END AS change FROM "
        "candles c WHERE c.instrument_id = n.instrument_id AND c.interval = '1d' AND c.open_time BETWEEN "
        "n.open_time - w.days * interval '24 hours' AND n.open_time WINDOW o AS (ORDER BY c.open_time) ) p ) s"
    ),
}
COMMENTS = {
    "v_derived_metrics": "derived_metrics with instrument names",
    "v_signals": "signals with instrument names",
    "v_signal_outcomes": "signal_outcomes with instrument names",
    "v_signal_revisions": "signal_revisions with instrument names",
    "v_price_trends": "change, volatility and drawdowns over 7, 30 and 90 days per instrument, from 1d candles",
}


def upgrade() -> None:
    op.create_table('asset_views',
    sa.Column('asset_id', sa.Text(), nullable=False, comment='the asset (assets.asset_id)'),
    sa.Column('as_of', sa.DateTime(timezone=True), nullable=False, comment='what was known at this moment (UTC)'),
    sa.Column('score', sa.Double(), nullable=True, comment="mean of the signals' strengths, -1 to 1"),
    sa.Column('zscore', sa.Double(), nullable=True, comment='the score against all assets'),
    sa.Column('rank', sa.Integer(), autoincrement=False, nullable=True, comment='1 is the most bullish'),
    sa.Column('confidence', sa.Double(), nullable=True, comment='agreement times coverage, 0 to 1'),
    sa.Column('agreement', sa.Double(), nullable=True, comment='1 when all signals point one way, 0 when they cancel'),
    sa.Column('coverage', sa.Double(), nullable=True, comment='share of the expected signals that there are'),
    sa.Column('signals', sa.Integer(), autoincrement=False, nullable=False, comment='signals that speak'),
    sa.Column('members', postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="each signal's strength"),
    sa.Column('computed_at', sa.DateTime(timezone=True), nullable=False, comment='when we computed it (UTC)'),
    sa.Column('cycle_id', sa.BigInteger(), autoincrement=False, nullable=True, comment='the cycle that computed it; NULL from the command line (cycles.cycle_id)'),
    sa.PrimaryKeyConstraint('asset_id', 'as_of', name=op.f('pk_asset_views')),
    comment='All signals of an asset in one view'
    )
    op.create_index('ix_asset_views_as_of', 'asset_views', ['as_of'], unique=False)
    op.create_table('breadth',
    sa.Column('span', sa.Text(), nullable=False, comment='how far back, e.g. 30d'),
    sa.Column('as_of', sa.DateTime(timezone=True), nullable=False, comment='end of the newest bar used (UTC)'),
    sa.Column('assets', sa.Integer(), autoincrement=False, nullable=False, comment='assets with a price at both ends'),
    sa.Column('advancing', sa.Integer(), autoincrement=False, nullable=False, comment='assets that rose'),
    sa.Column('declining', sa.Integer(), autoincrement=False, nullable=False, comment='assets that fell'),
    sa.Column('unchanged', sa.Integer(), autoincrement=False, nullable=False, comment='assets that did neither'),
    sa.Column('sma_assets', sa.Integer(), autoincrement=False, nullable=False, comment='assets with a moving average'),
    sa.Column('above_sma', sa.Integer(), autoincrement=False, nullable=False, comment='of those, assets above it'),
    sa.Column('new_highs', sa.Integer(), autoincrement=False, nullable=False, comment='assets whose newest close is the highest of the span'),
    sa.Column('new_lows', sa.Integer(), autoincrement=False, nullable=False, comment='assets whose newest close is the lowest of the span'),
    sa.Column('advance_share', sa.Double(), nullable=True, comment='advancing over all assets, fraction'),
    sa.Column('computed_at', sa.DateTime(timezone=True), nullable=False, comment='when we computed it (UTC)'),
    sa.Column('cycle_id', sa.BigInteger(), autoincrement=False, nullable=True, comment='the cycle that computed it; NULL from the command line (cycles.cycle_id)'),
    sa.PrimaryKeyConstraint('span', 'as_of', name=op.f('pk_breadth')),
    comment='How many followed assets take part in a movement'
    )
    op.create_table('derived_metrics',
    sa.Column('instrument_id', sa.Integer(), autoincrement=False, nullable=False, comment='instruments.instrument_id'),
    sa.Column('measure', sa.Text(), nullable=False, comment='price, volume, open_interest, funding, spread_bps, imbalance, or a column of indicators'),
    sa.Column('span', sa.Text(), nullable=False, comment='how far back: a number of observations (20) or minutes (15m)'),
    sa.Column('observed_at', sa.DateTime(timezone=True), nullable=False, comment='minute of the newest observation (UTC)'),
    sa.Column('value', sa.Double(), nullable=True, comment='the newest observation, in the unit of its raw row'),
    sa.Column('gradient', sa.Double(), nullable=True, comment='least-squares change per minute, in that unit'),
    sa.Column('gradient_relative', sa.Double(), nullable=True, comment='gradient over the mean, per minute'),
    sa.Column('mean', sa.Double(), nullable=True, comment='mean of the span'),
    sa.Column('deviation', sa.Double(), nullable=True, comment='sample standard deviation of the span'),
    sa.Column('zscore', sa.Double(), nullable=True, comment='deviations between the newest observation and the mean'),
    sa.Column('samples', sa.Integer(), autoincrement=False, nullable=False, comment='observations used'),
    sa.Column('computed_at', sa.DateTime(timezone=True), nullable=False, comment='when we computed it (UTC)'),
    sa.Column('cycle_id', sa.BigInteger(), autoincrement=False, nullable=True, comment='the cycle that computed it; NULL from the command line (cycles.cycle_id)'),
    sa.PrimaryKeyConstraint('instrument_id', 'measure', 'span', 'observed_at', name=op.f('pk_derived_metrics')),
    comment='Slopes, means and z-scores of raw rows, on a grid of minutes',
    postgresql_partition_by='RANGE (observed_at)'
    )
    op.create_index('ix_derived_metrics_observed_at', 'derived_metrics', ['observed_at'], unique=False, postgresql_using='brin')
    op.create_table('factor_exposures',
    sa.Column('asset_id', sa.Text(), nullable=False, comment='the asset (assets.asset_id)'),
    sa.Column('as_of', sa.DateTime(timezone=True), nullable=False, comment='end of the newest day used (UTC)'),
    sa.Column('alpha', sa.Double(), nullable=True, comment='return of a day that no factor explains, fraction'),
    sa.Column('betas', postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="factor -> slope of the asset's returns on it; null: not known"),
    sa.Column('r_squared', sa.Double(), nullable=True, comment='how much of the returns the factors explain, 0 to 1'),
    sa.Column('bars', sa.Integer(), autoincrement=False, nullable=False, comment='days used'),
    sa.Column('reason', sa.Text(), nullable=False, comment='why there are no betas; empty when there are'),
    sa.Column('computed_at', sa.DateTime(timezone=True), nullable=False, comment='when we computed it (UTC)'),
    sa.Column('cycle_id', sa.BigInteger(), autoincrement=False, nullable=True, comment='the cycle that computed it; NULL from the command line (cycles.cycle_id)'),
    sa.PrimaryKeyConstraint('asset_id', 'as_of', name=op.f('pk_factor_exposures')),
    comment='How far each asset moves with the common factors'
    )
    op.create_table('factor_returns',
    sa.Column('factor', sa.Text(), nullable=False, comment='market, size, momentum, volatility or liquidity'),
    sa.Column('day', sa.DateTime(timezone=True), nullable=False, comment='end of the day (UTC)'),
    sa.Column('value', sa.Double(), nullable=True, comment="return of the factor's long leg minus its short leg, fraction"),
    sa.Column('long_assets', sa.Integer(), autoincrement=False, nullable=True, comment='assets in the long leg'),
    sa.Column('short_assets', sa.Integer(), autoincrement=False, nullable=True, comment='assets in the short leg'),
    sa.Column('reason', sa.Text(), nullable=False, comment='why there is no value; empty when there is one'),
    sa.Column('computed_at', sa.DateTime(timezone=True), nullable=False, comment='when we computed it (UTC)'),
    sa.Column('cycle_id', sa.BigInteger(), autoincrement=False, nullable=True, comment='the cycle that computed it; NULL from the command line (cycles.cycle_id)'),
    sa.PrimaryKeyConstraint('factor', 'day', name=op.f('pk_factor_returns')),
    comment='What the common factors earned, day by day'
    )
    op.create_table('information_coefficients',
    sa.Column('as_of', sa.DateTime(timezone=True), nullable=False, comment='moment of the views (UTC)'),
    sa.Column('horizon', sa.Integer(), autoincrement=False, nullable=False, comment='days after it'),
    sa.Column('assets', sa.Integer(), autoincrement=False, nullable=False, comment='assets with a view and a return'),
    sa.Column('value', sa.Double(), nullable=True, comment='rank correlation of views and returns (Spearman)'),
    sa.Column('computed_at', sa.DateTime(timezone=True), nullable=False, comment='when we computed it (UTC)'),
    sa.Column('cycle_id', sa.BigInteger(), autoincrement=False, nullable=True, comment='the cycle that computed it; NULL from the command line (cycles.cycle_id)'),
    sa.PrimaryKeyConstraint('as_of', 'horizon', name=op.f('pk_information_coefficients')),
    comment='How well the views of a moment ordered what followed'
    )
    op.create_table('paper_equity',
    sa.Column('portfolio', sa.Text(), nullable=False, comment='name of the portfolio'),
    sa.Column('day', sa.DateTime(timezone=True), nullable=False, comment='end of the day (UTC)'),
    sa.Column('equity', sa.Double(), nullable=True, comment='value of the portfolio after fees, 1 at its start'),
    sa.Column('bitcoin', sa.Double(), nullable=True, comment='value of the same money in bitcoin'),
    sa.Column('market', sa.Double(), nullable=True, comment='value of the same money in the cap-weighted market'),
    sa.Column('turnover', sa.Double(), nullable=True, comment='traded that day, share of the portfolio; NULL without a trade'),
    sa.Column('fees', sa.Double(), nullable=True, comment='paid that day, in the same money'),
    sa.Column('computed_at', sa.DateTime(timezone=True), nullable=False, comment='when we computed it (UTC)'),
    sa.Column('cycle_id', sa.BigInteger(), autoincrement=False, nullable=True, comment='the cycle that computed it; NULL from the command line (cycles.cycle_id)'),
    sa.PrimaryKeyConstraint('portfolio', 'day', name=op.f('pk_paper_equity')),
    comment='What the portfolios would have earned, beside bitcoin and the market'
    )
    op.create_table('portfolio_runs',
    sa.Column('portfolio', sa.Text(), nullable=False, comment='name of the portfolio'),
    sa.Column('as_of', sa.DateTime(timezone=True), nullable=False, comment='what was known at this moment (UTC)'),
    sa.Column('state', sa.Text(), nullable=False, comment='ok or refused'),
    sa.Column('reason', sa.Text(), nullable=False, comment='why it was refused; empty when it was not'),
    sa.Column('expected_return', sa.Double(), nullable=True, comment="a year's return by the posterior, fraction"),
    sa.Column('expected_volatility', sa.Double(), nullable=True, comment='annualised, fraction'),
    sa.Column('turnover', sa.Double(), nullable=True, comment='half the sum of changed weights'),
    sa.Column('shrinkage', sa.Double(), nullable=True, comment='weight of the target in the covariance, 0 to 1'),
    sa.Column('condition', sa.Double(), nullable=True, comment='condition number of the covariance'),
    sa.Column('assets', sa.Integer(), autoincrement=False, nullable=True, comment='assets in it'),
    sa.Column('left_out', postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment='assets left out, each with its reason'),
    sa.Column('inputs', postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment='everything that is needed to compute it again'),
    sa.Column('inputs_hash', sa.Text(), nullable=False, comment='fingerprint of the inputs'),
    sa.Column('parameter_hash', sa.Text(), nullable=False, comment='fingerprint of the parameters'),
    sa.Column('computed_at', sa.DateTime(timezone=True), nullable=False, comment='when we computed it (UTC)'),
    sa.Column('cycle_id', sa.BigInteger(), autoincrement=False, nullable=True, comment='the cycle that computed it; NULL from the command line (cycles.cycle_id)'),
    sa.CheckConstraint("state IN ('ok', 'refused')", name=op.f('ck_portfolio_runs_state_known')),
    sa.PrimaryKeyConstraint('portfolio', 'as_of', name=op.f('pk_portfolio_runs')),
    comment='Each time a portfolio was computed, or why it was not'
    )
    op.create_table('portfolio_weights',
    sa.Column('portfolio', sa.Text(), nullable=False, comment='name of the portfolio'),
    sa.Column('as_of', sa.DateTime(timezone=True), nullable=False, comment='what was known at this moment (UTC)'),
    sa.Column('asset_id', sa.Text(), nullable=False, comment='the asset (assets.asset_id)'),
    sa.Column('market_weight', sa.Double(), nullable=True, comment='share in the market cap of all assets in it'),
    sa.Column('view_return', sa.Double(), nullable=True, comment="a year's return by the signals; NULL without a view"),
    sa.Column('confidence', sa.Double(), nullable=True, comment='confidence of that view, 0 to 1'),
    sa.Column('prior_return', sa.Double(), nullable=True, comment="a year's return by the market's weights"),
    sa.Column('posterior_return', sa.Double(), nullable=True, comment='both together (Black and Litterman)'),
    sa.Column('weight', sa.Double(), nullable=True, comment='share in the portfolio'),
    sa.Column('previous_weight', sa.Double(), nullable=True, comment='share in the portfolio before; NULL in the first'),
    sa.Column('computed_at', sa.DateTime(timezone=True), nullable=False, comment='when we computed it (UTC)'),
    sa.Column('cycle_id', sa.BigInteger(), autoincrement=False, nullable=True, comment='the cycle that computed it; NULL from the command line (cycles.cycle_id)'),
    sa.PrimaryKeyConstraint('portfolio', 'as_of', 'asset_id', name=op.f('pk_portfolio_weights')),
    comment='Weights of the portfolios, with what they follow from'
    )
    op.create_table('rank_history',
    sa.Column('source', sa.Text(), nullable=False, comment='who ranked'),
    sa.Column('asset_id', sa.Text(), nullable=False, comment="the provider's own id (assets.asset_id)"),
    sa.Column('day', sa.DateTime(timezone=True), nullable=False, comment='start of the day (UTC)'),
    sa.Column('rank', sa.Integer(), autoincrement=False, nullable=True, comment='rank by the provider at the last look of that day'),
    sa.Column('cap_rank', sa.Integer(), autoincrement=False, nullable=True, comment='rank by the market caps of that look'),
    sa.Column('market_cap_usd', sa.Double(), nullable=True, comment='circulating supply times price, USD'),
    sa.Column('price_usd', sa.Double(), nullable=True, comment='price of one coin in USD'),
    sa.Column('observed_at', sa.DateTime(timezone=True), nullable=True, comment='time of its last look that day; NULL when there was none (UTC)'),
    sa.Column('entered', sa.Boolean(), nullable=False, comment='among the first ones, and not the day before'),
    sa.Column('dropped', sa.Boolean(), nullable=False, comment='not among the first ones, but the day before'),
    sa.Column('computed_at', sa.DateTime(timezone=True), nullable=False, comment='when we computed it (UTC)'),
    sa.Column('cycle_id', sa.BigInteger(), autoincrement=False, nullable=True, comment='the cycle that computed it; NULL from the command line (cycles.cycle_id)'),
    sa.PrimaryKeyConstraint('source', 'asset_id', 'day', name=op.f('pk_rank_history')),
    comment='Rank by market cap day by day, with entries and exits'
    )
    op.create_index('ix_rank_history_day', 'rank_history', ['day'], unique=False)
    op.create_table('signal_outcomes',
    sa.Column('instrument_id', sa.Integer(), autoincrement=False, nullable=False, comment='instruments.instrument_id'),
    sa.Column('interval', sa.Text(), nullable=False, comment='length of the bars'),
    sa.Column('name', sa.Text(), nullable=False, comment='which rule (signals.name)'),
    sa.Column('parameter_hash', sa.Text(), nullable=False, comment='fingerprint of its parameters'),
    sa.Column('version', sa.Integer(), autoincrement=False, nullable=False, comment='version of the rule'),
    sa.Column('bar_end', sa.DateTime(timezone=True), nullable=False, comment='end of the bar that gave the signal (UTC)'),
    sa.Column('horizon', sa.Integer(), autoincrement=False, nullable=False, comment='bars after it'),
    sa.Column('kind', sa.Text(), nullable=False, comment='kind of the signal'),
    sa.Column('direction', sa.Integer(), autoincrement=False, nullable=False, comment="the signal's direction"),
    sa.Column('exit_end', sa.DateTime(timezone=True), nullable=False, comment='end of the last of those bars (UTC)'),
    sa.Column('status', sa.Text(), nullable=False, comment='done, or hole: a price is missing'),
    sa.Column('entry_price', sa.Double(), nullable=True, comment='open of the bar after the signal, in quote'),
    sa.Column('exit_price', sa.Double(), nullable=True, comment='close after the horizon, in quote'),
    sa.Column('forward_return', sa.Double(), nullable=True, comment="return in the signal's direction, fraction"),
    sa.Column('hit', sa.Boolean(), nullable=True, comment="the price went the signal's way; NULL for a signal without a direction"),
    sa.Column('computed_at', sa.DateTime(timezone=True), nullable=False, comment='when we computed it (UTC)'),
    sa.Column('cycle_id', sa.BigInteger(), autoincrement=False, nullable=True, comment='the cycle that computed it; NULL from the command line (cycles.cycle_id)'),
    sa.PrimaryKeyConstraint('instrument_id', 'interval', 'name', 'parameter_hash', 'version', 'bar_end', 'horizon', name=op.f('pk_signal_outcomes')),
    comment='What followed each signal'
    )
    op.create_index('ix_signal_outcomes_bar_end', 'signal_outcomes', ['bar_end'], unique=False)
    op.create_table('signal_revisions',
    sa.Column('instrument_id', sa.Integer(), autoincrement=False, nullable=False, comment='instruments.instrument_id'),
    sa.Column('interval', sa.Text(), nullable=False, comment='length of the bars'),
    sa.Column('name', sa.Text(), nullable=False, comment='which rule (signals.name)'),
    sa.Column('parameter_hash', sa.Text(), nullable=False, comment='fingerprint of its parameters'),
    sa.Column('version', sa.Integer(), autoincrement=False, nullable=False, comment='version of the rule'),
    sa.Column('bar_end', sa.DateTime(timezone=True), nullable=False, comment='end of the bar that gave the signal (UTC)'),
    sa.Column('revision', sa.Integer(), autoincrement=False, nullable=False, comment='1 for the first'),
    sa.Column('kind', sa.Text(), nullable=False, comment='kind of the signal'),
    sa.Column('differs', sa.ARRAY(sa.Text()), nullable=False, comment='what differs: gone, back, direction, strength, price'),
    sa.Column('cause', sa.Text(), nullable=False, comment='inputs (they were corrected) or code (the rule was)'),
    sa.Column('direction', sa.Integer(), autoincrement=False, nullable=True, comment='the signal as it would be given today; NULL: it would not'),
    sa.Column('state', sa.Text(), nullable=True, comment='its state'),
    sa.Column('strength', sa.Double(), nullable=True, comment='its strength, -1 to 1'),
    sa.Column('price', sa.Double(), nullable=True, comment='close of its bar, in quote'),
    sa.Column('inputs_hash', sa.Text(), nullable=True, comment='fingerprint of the values used today'),
    sa.Column('computed_at', sa.DateTime(timezone=True), nullable=False, comment='when we computed it (UTC)'),
    sa.Column('cycle_id', sa.BigInteger(), autoincrement=False, nullable=True, comment='the cycle that computed it; NULL from the command line (cycles.cycle_id)'),
    sa.PrimaryKeyConstraint('instrument_id', 'interval', 'name', 'parameter_hash', 'version', 'bar_end', 'revision', name=op.f('pk_signal_revisions')),
    comment='Signals that would be given otherwise today, because their inputs were corrected'
    )
    op.create_index('ix_signal_revisions_bar_end', 'signal_revisions', ['bar_end'], unique=False)
    op.create_table('signals',
    sa.Column('instrument_id', sa.Integer(), autoincrement=False, nullable=False, comment='instruments.instrument_id'),
    sa.Column('interval', sa.Text(), nullable=False, comment='length of the bars'),
    sa.Column('name', sa.Text(), nullable=False, comment='which rule, e.g. ema_cross_12_26'),
    sa.Column('parameter_hash', sa.Text(), nullable=False, comment='fingerprint of its parameters'),
    sa.Column('version', sa.Integer(), autoincrement=False, nullable=False, comment='version of the rule'),
    sa.Column('bar_end', sa.DateTime(timezone=True), nullable=False, comment='end of the closed bar that gave it (UTC)'),
    sa.Column('kind', sa.Text(), nullable=False, comment='ema_cross, rsi, macd, breakout or funding'),
    sa.Column('direction', sa.Integer(), autoincrement=False, nullable=False, comment='1 speaks for rising prices, -1 for falling ones, 0 for neither'),
    sa.Column('state', sa.Text(), nullable=False, comment='the state that began, in words'),
    sa.Column('strength', sa.Double(), nullable=True, comment="-1 to 1, with the direction's sign"),
    sa.Column('price', sa.Double(), nullable=True, comment='close of that bar, in quote'),
    sa.Column('window_since', sa.DateTime(timezone=True), nullable=False, comment='end of the first bar used (UTC)'),
    sa.Column('window_until', sa.DateTime(timezone=True), nullable=False, comment='end of the last bar used (UTC)'),
    sa.Column('bars', sa.Integer(), autoincrement=False, nullable=False, comment='bars used'),
    sa.Column('parameters', postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="the rule's parameters"),
    sa.Column('inputs_hash', sa.Text(), nullable=False, comment='fingerprint of the values used'),
    sa.Column('computed_at', sa.DateTime(timezone=True), nullable=False, comment='when we computed it (UTC)'),
    sa.Column('cycle_id', sa.BigInteger(), autoincrement=False, nullable=True, comment='the cycle that computed it; NULL from the command line (cycles.cycle_id)'),
    sa.PrimaryKeyConstraint('instrument_id', 'interval', 'name', 'parameter_hash', 'version', 'bar_end', name=op.f('pk_signals')),
    comment='Signals on closed bars, as they were given; they are never changed'
    )
    op.create_index('ix_signals_bar_end', 'signals', ['bar_end'], unique=False)
    op.create_table('trends',
    sa.Column('subject', sa.Text(), nullable=False, comment="an instrument's canonical id or an asset's id"),
    sa.Column('span', sa.Text(), nullable=False, comment='how far back, e.g. 30d'),
    sa.Column('as_of', sa.DateTime(timezone=True), nullable=False, comment='end of the newest bar used (UTC)'),
    sa.Column('bars', sa.Integer(), autoincrement=False, nullable=False, comment='bars used'),
    sa.Column('missing', sa.Integer(), autoincrement=False, nullable=False, comment='bars of the span that are not there'),
    sa.Column('first_price', sa.Double(), nullable=True, comment='close before the span, in quote'),
    sa.Column('last_price', sa.Double(), nullable=True, comment='newest close, in quote'),
    sa.Column('change', sa.Double(), nullable=True, comment='price change over the span, fraction'),
    sa.Column('volatility', sa.Double(), nullable=True, comment='deviation of log returns, annualised, fraction'),
    sa.Column('volatility_parkinson', sa.Double(), nullable=True, comment='the same from highs and lows (Parkinson 1980)'),
    sa.Column('volatility_garman_klass', sa.Double(), nullable=True, comment='the same from all four prices (Garman and Klass 1980)'),
    sa.Column('drawdown', sa.Double(), nullable=True, comment='newest close against the highest of the span, fraction, 0 or less'),
    sa.Column('max_drawdown', sa.Double(), nullable=True, comment='deepest fall from a high within the span, fraction, 0 or less'),
    sa.Column('slope', sa.Double(), nullable=True, comment='least-squares slope of the log close, per day'),
    sa.Column('strength', sa.Double(), nullable=True, comment='how much of the movement that line explains (R squared), 0 to 1'),
    sa.Column('sma_fast', sa.Double(), nullable=True, comment='fast moving average of the close, in quote'),
    sa.Column('sma_slow', sa.Double(), nullable=True, comment='slow moving average of the close, in quote'),
    sa.Column('ma_state', sa.Integer(), autoincrement=False, nullable=True, comment='1 fast above slow, -1 below, 0 equal'),
    sa.Column('ma_bars', sa.Integer(), autoincrement=False, nullable=True, comment='bars since the averages crossed'),
    sa.Column('volume', sa.Double(), nullable=True, comment='traded in the span, base units'),
    sa.Column('volume_change', sa.Double(), nullable=True, comment='against the span before, fraction'),
    sa.Column('poc_price', sa.Double(), nullable=True, comment='price at which most was traded (point of control), in quote'),
    sa.Column('value_area_low', sa.Double(), nullable=True, comment='lower end of the prices of 70 % of the volume, in quote'),
    sa.Column('value_area_high', sa.Double(), nullable=True, comment='upper end of the prices of 70 % of the volume, in quote'),
    sa.Column('correlation_bitcoin', sa.Double(), nullable=True, comment="correlation of returns with bitcoin's"),
    sa.Column('beta_bitcoin', sa.Double(), nullable=True, comment="slope of returns on bitcoin's"),
    sa.Column('correlation_market', sa.Double(), nullable=True, comment="correlation of returns with the cap-weighted market's"),
    sa.Column('beta_market', sa.Double(), nullable=True, comment="slope of returns on the cap-weighted market's"),
    sa.Column('computed_at', sa.DateTime(timezone=True), nullable=False, comment='when we computed it (UTC)'),
    sa.Column('cycle_id', sa.BigInteger(), autoincrement=False, nullable=True, comment='the cycle that computed it; NULL from the command line (cycles.cycle_id)'),
    sa.PrimaryKeyConstraint('subject', 'span', 'as_of', name=op.f('pk_trends')),
    comment='Trend and risk of assets and instruments over several spans'
    )
    op.create_index('ix_trends_as_of', 'trends', ['as_of'], unique=False)
    for name, query in VIEWS.items():
        op.execute(f"CREATE VIEW {name} AS {query}")
        op.execute(f"COMMENT ON VIEW {name} IS '{COMMENTS[name]}'")


def downgrade() -> None:
    for name in reversed(VIEWS):
        op.execute(f"DROP VIEW {name}")
    op.drop_index('ix_trends_as_of', table_name='trends')
    op.drop_table('trends')
    op.drop_index('ix_signals_bar_end', table_name='signals')
    op.drop_table('signals')
    op.drop_index('ix_signal_revisions_bar_end', table_name='signal_revisions')
    op.drop_table('signal_revisions')
    op.drop_index('ix_signal_outcomes_bar_end', table_name='signal_outcomes')
    op.drop_table('signal_outcomes')
    op.drop_index('ix_rank_history_day', table_name='rank_history')
    op.drop_table('rank_history')
    op.drop_table('portfolio_weights')
    op.drop_table('portfolio_runs')
    op.drop_table('paper_equity')
    op.drop_table('information_coefficients')
    op.drop_table('factor_returns')
    op.drop_table('factor_exposures')
    op.drop_index('ix_derived_metrics_observed_at', table_name='derived_metrics', postgresql_using='brin')
    op.drop_table('derived_metrics')
    op.drop_table('breadth')
    op.drop_index('ix_asset_views_as_of', table_name='asset_views')
    op.drop_table('asset_views')
