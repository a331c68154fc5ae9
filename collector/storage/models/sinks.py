"""How far each sink has come: one row per table outside."""

from sqlalchemy import Column, PrimaryKeyConstraint, Table
from sqlalchemy.dialects.postgresql import JSONB

from collector.storage.models.columns import METADATA, moment, small, text, whole

SINK_WATERMARKS = Table(
    "sink_watermarks",
    METADATA,
    text("sink", "which sink: bigquery"),
    text("target", "the table outside, as project.dataset.table"),
    text("source", "whose rows it takes, e.g. okx"),
    text("content", "raw (answers as they came) or derived (rows made of them)"),
    text("server", "the database server that the transaction numbers below belong to"),
    small("generation", "how often that server was another one; begins every row's version", default="0"),
    whole("recent_xid", "rows of recent times are there up to this transaction; NULL: nothing yet", null=True),
    moment("recent_at", "so are those stored before this moment (UTC)", null=True),
    moment("recent_since", "the row's time that counts as recent since the last full look (UTC)", null=True),
    whole("full_xid", "rows of all times are there up to this transaction; NULL: not yet", null=True),
    moment("full_at", "so are all rows stored before this moment (UTC)", null=True),
    Column("done", JSONB(), nullable=False, comment="of a full look that has not ended: partition -> transaction"),
    whole("rows_sent", "rows sent, repetitions counted", default="0"),
    whole("bytes_loaded", "bytes uploaded, compressed", default="0"),
    whole("bytes_merged", "bytes that the MERGE statements processed", default="0"),
    whole("answers_lost", "good jobs whose raw answers were deleted by age before they were sent", default="0"),
    moment("lost_until", "when the last of these had been received (UTC)", null=True),
    text("error", "why it could not go on; empty when it could"),
    moment("failed_at", "since when it cannot; NULL when it can (UTC)", null=True),
    moment("updated_at", "when this row was written (UTC)"),
    PrimaryKeyConstraint("sink", "target"),
    comment="How far each sink has come, by the table it fills",
)
