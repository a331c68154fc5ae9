"""Alerts: what was wrong, since when, and who was told.

Created: 2026-11-21
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "alerts",
        sa.Column("alert_id", postgresql.UUID(as_uuid=False), nullable=False, comment="number of the alert"),
        sa.Column("rule", sa.Text(), nullable=False, comment="which rule found it, e.g. source_failing"),
        sa.Column("subject", sa.Text(), nullable=False, comment="what it is about, e.g. a source; - where there is only one"),
        sa.Column("severity", sa.Text(), nullable=False, comment="critical, warning or info"),
        sa.Column("state", sa.Text(), nullable=False, comment="pending (seen, not often enough), firing or resolved"),
        sa.Column("detail", sa.Text(), nullable=False, comment="what is wrong, in a sentence, as last seen"),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False, comment="when it was first seen (UTC)"),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False, comment="when it was last looked at (UTC)"),
        sa.Column("looks", sa.Integer(), autoincrement=False, nullable=False, comment="looks in a row that found it"),
        sa.Column("clear_looks", sa.Integer(), autoincrement=False, nullable=False, comment="looks in a row that did not"),
        sa.Column("flaps", sa.Integer(), autoincrement=False, nullable=False, comment="how often it came back soon after it was over"),
        sa.Column("fired_at", sa.DateTime(timezone=True), nullable=True, comment="when it had been seen often enough (UTC)"),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True, comment="when it was over (UTC)"),
        sa.Column("told", sa.Text(), nullable=False, comment="the last state that was told: firing, resolved, or empty"),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=True, comment="when something was last told of it (UTC)"),
        sa.PrimaryKeyConstraint("alert_id", name=op.f("pk_alerts")),
        sa.CheckConstraint("severity IN ('critical', 'warning', 'info')", name=op.f("ck_alerts_severity_known")),
        sa.CheckConstraint("state IN ('pending', 'firing', 'resolved')", name=op.f("ck_alerts_state_known")),
        sa.CheckConstraint("told IN ('', 'firing', 'resolved')", name=op.f("ck_alerts_told_known")),
        comment="What was wrong, since when, and until when",
    )
    op.create_index(
        "ix_alerts_open", "alerts", ["rule", "subject"], unique=True, postgresql_where="state IN ('pending', 'firing')"
    )
    op.create_index("ix_alerts_resolved_at", "alerts", ["resolved_at"])
    op.create_table(
        "alert_messages",
        sa.Column("message_id", postgresql.UUID(as_uuid=False), nullable=False, comment="number of the message"),
        sa.Column("target", sa.Text(), nullable=False, comment="name of the target in the settings"),
        sa.Column("kind", sa.Text(), nullable=False, comment="alerts or self_test"),
        sa.Column("severity", sa.Text(), nullable=False, comment="of the worst alert in it"),
        sa.Column("title", sa.Text(), nullable=False, comment="its first line"),
        sa.Column("body", sa.Text(), nullable=False, comment="the rest of it"),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False, comment="when it was written (UTC)"),
        sa.Column("state", sa.Text(), nullable=False, comment="waiting, delivered or given_up"),
        sa.Column("attempts", sa.Integer(), autoincrement=False, nullable=False, comment="how often it was sent"),
        sa.Column("next_try_at", sa.DateTime(timezone=True), nullable=True, comment="when it is sent again; NULL when it is not (UTC)"),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True, comment="when the target took it (UTC)"),
        sa.Column("error", sa.Text(), nullable=False, comment="why the target did not take it; empty when it did"),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_alert_messages")),
        sa.CheckConstraint("kind IN ('alerts', 'self_test')", name=op.f("ck_alert_messages_kind_known")),
        sa.CheckConstraint("state IN ('waiting', 'delivered', 'given_up')", name=op.f("ck_alert_messages_state_known")),
        comment="What was sent to whom about alerts, and what waits to be sent",
    )
    op.create_index(
        "ix_alert_messages_waiting", "alert_messages", ["target", "made_at"], postgresql_where="state = 'waiting'"
    )
    op.create_index("ix_alert_messages_made_at", "alert_messages", ["made_at"])


def downgrade() -> None:
    op.drop_table("alert_messages")
    op.drop_table("alerts")
