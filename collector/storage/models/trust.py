"""Tables of trust: what is held and what is missing of each series, values that changed, values that look wrong."""

from sqlalchemy import ARRAY, BigInteger, CheckConstraint, Column, Identity, Index, PrimaryKeyConstraint, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from collector.storage.models.columns import METADATA, instrument_id, moment, number, one_of, small, text, whole

COVERAGE = Table(
    "coverage",
    METADATA,
    instrument_id(),
    text("dataset", "candles or funding"),
    text("interval", "length of the bars; empty for funding"),
    moment("since", "start of the window, inclusive (UTC)"),
    moment("until", "end of the window, exclusive (UTC)"),
    text("state", "observed, filled (by another provider), provider_has_none, missing or pending (being fetched)"),
    text("source", "who gave it, or was asked last"),
    text("reason", "why it is so; empty when observed"),
    small("attempts", "how often it was asked for in vain", default="0"),
    moment("next_try_at", "not asked for again before this moment; NULL when it is not waited for (UTC)", null=True),
    moment("updated_at", "when this became so (UTC)"),
    whole("cycle_id", "the cycle that found it so; NULL outside a cycle (cycles.cycle_id)", null=True),
    PrimaryKeyConstraint("instrument_id", "dataset", "interval", "since"),
    one_of("state", "observed", "filled", "provider_has_none", "missing", "pending"),
    CheckConstraint("since < until", name="window"),
    Index("ix_coverage_holes", "next_try_at", postgresql_where="next_try_at IS NOT NULL"),
    comment="Every wanted window of every series in exactly one state; windows of a series do not overlap",
    postgresql_with={"fillfactor": 50},  # every cycle makes the last window of every series longer: room on the page
)

REVISIONS = Table(
    "revisions",
    METADATA,
    Column("revision_id", BigInteger(), Identity(always=True), comment="number of the revision"),
    text("table_name", "the table whose row changed"),
    text("subject", "what the row is about: an instrument or asset id"),
    Column("key", JSONB(), nullable=False, comment="the natural key of the row"),
    text("source", "who gave the new values"),
    Column("columns", ARRAY(Text()), nullable=False, comment="the columns that changed"),
    Column("old", JSONB(), nullable=False, comment="their values before, numbers as text"),
    Column("new", JSONB(), nullable=False, comment="their values after, numbers as text"),
    text("cause", "provider (it changed its answer), source (another provider replaced it) or replay"),
    moment("detected_at", "when we learnt of it (UTC)"),
    whole("cycle_id", "the cycle that stored the new values (cycles.cycle_id)", null=True),
    PrimaryKeyConstraint("revision_id"),
    one_of("cause", "provider", "source", "replay"),
    Index("ix_revisions_detected_at", "detected_at"),
    Index("ix_revisions_subject", "table_name", "subject"),
    comment="Closed values that changed after they were stored",
)

SUSPECTS = Table(
    "suspects",
    METADATA,
    text("dataset", "what the row is part of"),
    text("subject", "what it is about: an instrument or asset id"),
    text("source", "who gave the row"),
    moment("observed_at", "the row's time (UTC)"),
    text("kind", "jump (against the value before) or divergence (against other sources)"),
    number("value", "the doubtful value"),
    number("reference", "what it was compared with"),
    text("reference_source", "who gave the reference"),
    text("detail", "the doubt in a sentence"),
    moment("noted_at", "when it was noted (UTC)"),
    whole("cycle_id", "the cycle that noted it (cycles.cycle_id)", null=True),
    PrimaryKeyConstraint("dataset", "subject", "source", "observed_at", "kind"),
    one_of("kind", "jump", "divergence"),
    Index("ix_suspects_noted_at", "noted_at"),
    comment="Rows that were stored although they look wrong",
)
