"""Tables of the alerts: what was wrong and since when, and what was sent to whom."""

from sqlalchemy import Column, Index, PrimaryKeyConstraint, Table
from sqlalchemy.dialects.postgresql import UUID

from collector.storage.models.columns import METADATA, moment, one_of, small, text

ALERTS = Table(
    "alerts",
    METADATA,
    Column("alert_id", UUID(as_uuid=False), nullable=False, comment="number of the alert"),
    text("rule", "which rule found it, e.g. source_failing"),
    text("subject", "what it is about, e.g. a source; - where there is only one"),
    text("severity", "critical, warning or info"),
    text("state", "pending (seen, not often enough), firing or resolved"),
    text("detail", "what is wrong, in a sentence, as last seen"),
    moment("since", "when it was first seen (UTC)"),
    moment("seen_at", "when it was last looked at (UTC)"),
    small("looks", "looks in a row that found it"),
    small("clear_looks", "looks in a row that did not"),
    small("flaps", "how often it came back soon after it was over"),
    moment("fired_at", "when it had been seen often enough (UTC)", null=True),
    moment("resolved_at", "when it was over (UTC)", null=True),
    text("told", "the last state that was told: firing, resolved, or empty"),
    moment("told_at", "when something was last told of it (UTC)", null=True),
    PrimaryKeyConstraint("alert_id"),
    one_of("severity", "critical", "warning", "info"),
    one_of("state", "pending", "firing", "resolved"),
    one_of("told", "", "firing", "resolved"),
    Index("ix_alerts_open", "rule", "subject", unique=True, postgresql_where="state IN ('pending', 'firing')"),
    Index("ix_alerts_resolved_at", "resolved_at"),
    comment="What was wrong, since when, and until when",
)

ALERT_MESSAGES = Table(
    "alert_messages",
    METADATA,
    Column("message_id", UUID(as_uuid=False), nullable=False, comment="number of the message"),
    text("target", "name of the target in the settings"),
    text("kind", "alerts or self_test"),
    text("severity", "of the worst alert in it"),
    text("title", "its first line"),
    text("body", "the rest of it"),
    moment("made_at", "when it was written (UTC)"),
    text("state", "waiting, delivered or given_up"),
    small("attempts", "how often it was sent"),
    moment("next_try_at", "when it is sent again; NULL when it is not (UTC)", null=True),
    moment("delivered_at", "when the target took it (UTC)", null=True),
    text("error", "why the target did not take it; empty when it did"),
    PrimaryKeyConstraint("message_id"),
    one_of("kind", "alerts", "self_test"),
    one_of("state", "waiting", "delivered", "given_up"),
    Index("ix_alert_messages_waiting", "target", "made_at", postgresql_where="state = 'waiting'"),
    Index("ix_alert_messages_made_at", "made_at"),
    comment="What was sent to whom about alerts, and what waits to be sent",
)
