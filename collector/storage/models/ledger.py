"""Tables of what was done: cycles, jobs, refused rows, raw answers, and what providers asked of us."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID

from collector.storage.models.columns import METADATA, flag, moment, one_of, real, small, text, whole

CYCLES = Table(
    "cycles",
    METADATA,
    Column("cycle_id", BigInteger(), Identity(always=True), comment="number of the cycle"),
    text("cadence", "which schedule started it"),
    text("state", "running, then ok, partial or failed; abandoned when its process died"),
    moment("started_at", "start (UTC)"),
    moment("finished_at", "end; NULL while running (UTC)", null=True),
    text("instance", "the process that ran it, e.g. host:pid"),
    text("folder", "its log folder"),
    flag("simulated", "the data came from the simulator, not from the market"),
    whole("rows_written", "market rows inserted or changed", default="0"),
    whole("indicator_rows", "indicator rows inserted or changed", default="0"),
    small("jobs_ok", "jobs that ended well", default="0"),
    small("jobs_failed", "jobs that failed", default="0"),
    small("jobs_skipped", "jobs that were not started", default="0"),
    small("rejects", "rows that were not believed", default="0"),
    Column("report", JSONB(), nullable=True, comment="the whole report; NULL while running"),
    PrimaryKeyConstraint("cycle_id"),
    one_of("state", "running", "ok", "partial", "failed", "abandoned"),
    CheckConstraint("(state = 'running') = (finished_at IS NULL)", name="finished"),
    Index("ix_cycles_started_at", "started_at"),
    Index("ix_cycles_running", "cycle_id", postgresql_where="state = 'running'"),
    comment="One pass over all sources each",
)

JOBS = Table(
    "jobs",
    METADATA,
    Column("job_id", BigInteger(), Identity(always=True), comment="number of the job"),
    Column(
        "cycle_id",
        BigInteger(),
        ForeignKey("cycles.cycle_id", ondelete="CASCADE"),
        nullable=False,
        comment="cycles.cycle_id",
    ),
    Column(
        "fingerprint", UUID(), nullable=False, comment="digest of the request: one ledger row per request and cycle"
    ),
    text("source", "which collector"),
    text("dataset", "what was asked for"),
    text("subject", "about what: an instrument, an asset, all, or a count"),
    Column("instruments", ARRAY(Text()), nullable=False, comment="canonical ids asked for"),
    Column("assets", ARRAY(Text()), nullable=False, comment="asset ids asked for"),
    text("interval", "length of the bars asked for", null=True),
    moment("since", "start of the range, inclusive (UTC)", null=True),
    moment("until", "end of the range, exclusive (UTC)", null=True),
    small("row_limit", "assets to rank, levels a side", null=True),
    text("stands_for", "the instrument that the rows fill, when another provider answers for it", null=True),
    text("state", "ok, failed or skipped"),
    text("error", "one line; empty when ok"),
    small("rows_written", "rows inserted or changed"),
    small("rows_unchanged", "rows that were stored already with the same values"),
    small("rejects", "rows that were not believed"),
    moment("started_at", "start (UTC)", null=True),
    moment("finished_at", "end (UTC)", null=True),
    PrimaryKeyConstraint("job_id"),
    UniqueConstraint("cycle_id", "fingerprint"),
    one_of("state", "ok", "failed", "skipped"),
    Index("ix_jobs_source_dataset_subject_finished_at", "source", "dataset", "subject", "finished_at"),
    # The newest good job of a dataset, among millions: asked for before every cycle.
    Index("ix_jobs_ok", "source", "dataset", "finished_at", postgresql_where="state = 'ok'"),
    comment="What was asked of whom and how it ended",
)

REJECTS = Table(
    "rejects",
    METADATA,
    Column(
        "job_id",
        BigInteger(),
        ForeignKey("jobs.job_id", ondelete="CASCADE"),
        nullable=False,
        autoincrement=False,
        comment="jobs.job_id",
    ),
    small("seq", "order within the job"),
    moment("at", "when it was refused (UTC)"),
    text("source", "who gave the row"),
    text("dataset", "what it was part of"),
    text("reason", "why, as a word"),
    text("detail", "why, in a sentence"),
    text("row", "the row as text, cut to a sane length"),
    PrimaryKeyConstraint("job_id", "seq"),
    Index("ix_rejects_at", "at"),
    comment="Rows that were not believed; everything else of their job was stored",
)

RAW_PAYLOADS = Table(
    "raw_payloads",
    METADATA,
    whole("job_id", "jobs.job_id (no foreign key: bodies are dropped by the month)"),
    small("seq", "order within the job"),
    moment("received_at", "when the answer was complete (UTC)"),
    small("status", "HTTP status"),
    text("sha256", "digest of the uncompressed body, hex"),
    small("size", "length of the uncompressed body, bytes"),
    Column("body", LargeBinary(), nullable=False, comment="the body, zlib compressed"),
    PrimaryKeyConstraint("job_id", "seq", "received_at"),
    comment="What providers really answered, so that a cycle can be parsed again",
    postgresql_partition_by="RANGE (received_at)",
)

PROVIDER_STATE = Table(
    "provider_state",
    METADATA,
    text("source", "the provider's collector"),
    moment("paused_until", "no call before this moment; NULL when free (UTC)", null=True),
    text("reason", "what the provider said"),
    flag("banned", "it punishes calls that went on after a refusal"),
    flag("denied", "it does not serve us: key, plan, country or firewall; probed hourly", default="false"),
    real("clock_offset_s", "its clock less ours, seconds, as last measured; NULL when it tells no time"),
    moment("updated_at", "when this was learnt (UTC)"),
    PrimaryKeyConstraint("source"),
    comment="Bans and pauses that must outlive a restart",
)

PROVIDER_BUDGETS = Table(
    "provider_budgets",
    METADATA,
    text("source", "the provider's collector"),
    text("account", "whose limit it is: address, or a digest of the key"),
    text("scope", "the metered scope, e.g. weight"),
    whole("window_s", "length of the window, seconds"),
    whole("capacity", "units that fit into one window"),
    whole("used", "units used in the window up to updated_at"),
    Column("entries", JSONB(), nullable=False, comment="what counts: [[moment, units], ...], oldest first"),
    moment("updated_at", "when this was counted (UTC)"),
    PrimaryKeyConstraint("source", "account", "scope", "window_s"),
    comment="What was used of each limit, so that a restart does not begin at zero",
)
