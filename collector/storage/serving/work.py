"""Topics of what was done and what it is worth: cycles, jobs, refused rows, providers, coverage and doubt."""

from collector.storage import models
from collector.storage.serving.topics import Column, Form, Key, Topic, columns_of, plain

_SOURCE = Key(sql="t.source", form=Form.TEXT, column="source")
_HELD = "('observed', 'filled')"


def _seconds(name: str, comment: str) -> Column:
    return plain(name, Form.REAL, comment, sql=f"extract(epoch FROM t.{name.removesuffix('_s')})::float8")


CYCLE_REPORTS = Topic(
    name="cycles",
    origin="cycles t",
    columns=columns_of(models.CYCLES),
    keys=(Key(sql="t.cycle_id", form=Form.WHOLE, column="cycle_id"),),
    filters={
        "cycle_id": "t.cycle_id = %(cycle_id)s",
        "cadence": "t.cadence = %(cadence)s",
        "state": "t.state = %(state)s",
    },
    time="t.started_at",
    as_of="started_at",
)
CYCLES = Topic(
    name="cycles",
    origin=CYCLE_REPORTS.origin,
    columns=columns_of(models.CYCLES, without=("report",)),
    keys=CYCLE_REPORTS.keys,
    filters=CYCLE_REPORTS.filters,
    time="t.started_at",
    as_of="started_at",
)
JOBS = Topic(
    name="jobs",
    origin="jobs t",
    columns=columns_of(models.JOBS, without=("fingerprint",)),
    keys=(Key(sql="t.job_id", form=Form.WHOLE, column="job_id"),),
    filters={
        "cycle_id": "t.cycle_id = %(cycle_id)s",
        "source": "t.source = %(source)s",
        "dataset": "t.dataset = %(dataset)s",
        "state": "t.state = %(state)s",
    },
    needs=("cycle_id",),
    newest_first=False,
    as_of="finished_at",
)
REJECTS = Topic(
    name="rejects",
    origin="rejects t",
    columns=columns_of(models.METADATA.tables["rejects"]),
    keys=(
        Key(sql="t.job_id", form=Form.WHOLE, column="job_id"),
        Key(sql="t.seq", form=Form.WHOLE, column="seq"),
    ),
    filters={
        "source": "t.source = %(source)s",
        "dataset": "t.dataset = %(dataset)s",
        "reason": "t.reason = %(reason)s",
    },
    time="t.at",
    as_of="at",
)

# --------------------------------------------------------------------------- providers

PROVIDERS = Topic(
    name="provider_state",
    origin="provider_state t",
    columns=columns_of(models.PROVIDER_STATE),
    keys=(_SOURCE,),
    filters={"source": "t.source = %(source)s"},
    newest_first=False,
    as_of="updated_at",
)
BUDGETS = Topic(  # whose account it is stays here
    name="provider_budgets",
    origin="provider_budgets t",
    columns=columns_of(models.PROVIDER_BUDGETS, without=("account", "entries")),
    keys=(
        _SOURCE,
        Key(sql="md5(t.account)", form=Form.TEXT),
        Key(sql="t.scope", form=Form.TEXT, column="scope"),
        Key(sql="t.window_s", form=Form.WHOLE, column="window_s"),
    ),
    filters={"source": "t.source = %(source)s", "scope": "t.scope = %(scope)s"},
    newest_first=False,
    as_of="updated_at",
)

# --------------------------------------------------------------------------- coverage

_NAME = "i.instrument || '/' || coalesce(nullif(t.interval, ''), t.dataset)"
_WINDOW = (
    plain("series", Form.TEXT, "its name, as okx:BTC-USDT:perp/1m", sql=_NAME),
    plain("instrument", Form.TEXT, "canonical id, as okx:BTC-USDT:perp", sql="i.instrument"),
)
_OF_SERIES = {
    "instrument": "i.instrument = ANY(%(instrument)s)",
    "venue": "i.venue = %(venue)s",
    "dataset": "t.dataset = %(dataset)s",
    "interval": "t.interval = %(interval)s",
    "state": "t.state = %(state)s",
    "source": "t.source = %(source)s",
}


def _windows(name: str, *always: str) -> Topic:
    return Topic(
        name=name,
        origin="coverage t JOIN instruments i USING (instrument_id)",
        columns=[*_WINDOW, *columns_of(models.COVERAGE, without=("instrument_id",))],
        keys=(
            Key(sql="t.instrument_id", form=Form.WHOLE),
            Key(sql="t.dataset", form=Form.TEXT, column="dataset"),
            Key(sql="t.interval", form=Form.TEXT, column="interval"),
            Key(sql="t.since", form=Form.MOMENT),
        ),
        filters=_OF_SERIES,
        always=always,
        time="t.since",
        time_end="t.until",
        newest_first=False,
        as_of="updated_at",
    )


COVERAGE = _windows("coverage")
GAPS = _windows("gaps", f"t.state NOT IN {_HELD}")
SERIES = Topic(
    name="series",
    origin=f"""
        (SELECT instrument_id, dataset, interval,
            min(since) FILTER (WHERE state IN {_HELD}) AS since,
            max(until) FILTER (WHERE state IN {_HELD}) AS until,
            coalesce(sum(until - since) FILTER (WHERE state IN {_HELD}), interval '0') AS held,
            coalesce(sum(until - since) FILTER (WHERE state IN ('missing', 'pending')), interval '0') AS missing,
            coalesce(sum(until - since) FILTER (WHERE state = 'provider_has_none'), interval '0') AS provider_has_none,
            count(*) FILTER (WHERE state IN ('missing', 'pending')) AS holes,
            coalesce(array_agg(DISTINCT source) FILTER (WHERE state IN {_HELD}), ARRAY[]::text[]) AS sources,
            min(next_try_at) AS next_try_at, max(updated_at) AS updated_at
        FROM coverage GROUP BY 1, 2, 3) t JOIN instruments i USING (instrument_id)""",
    columns=[
        *_WINDOW,
        plain("dataset", Form.TEXT, "candles or funding"),
        plain("interval", Form.TEXT, "length of the bars; empty for funding"),
        plain("since", Form.MOMENT, "start of the oldest held stretch; null when nothing is held (UTC)", null=True),
        plain("until", Form.MOMENT, "end of the newest held stretch, exclusive (UTC)", null=True),
        _seconds("held_s", "length of what is held, seconds"),
        _seconds("missing_s", "length of what is asked for again until it comes, seconds"),
        _seconds("provider_has_none_s", "length of what the provider does not have, seconds"),
        plain("holes", Form.WHOLE, "missing windows"),
        plain("sources", Form.TEXTS, "who gave what is held"),
        plain("next_try_at", Form.MOMENT, "of the first missing window; null: nothing is waited for (UTC)", null=True),
        plain("updated_at", Form.MOMENT, "when this last changed (UTC)"),
    ],
    keys=(
        Key(sql="t.instrument_id", form=Form.WHOLE),
        Key(sql="t.dataset", form=Form.TEXT, column="dataset"),
        Key(sql="t.interval", form=Form.TEXT, column="interval"),
    ),
    filters={name: _OF_SERIES[name] for name in ("instrument", "venue", "dataset", "interval")},
    newest_first=False,
    as_of="updated_at",
)
LOST_SNAPSHOTS = Topic(
    name="lost snapshots",
    origin="""
        (SELECT j.source, j.dataset, j.error, md5(j.error) AS digest, count(DISTINCT c.cycle_id) AS cycles,
            min(c.started_at) AS first_at, max(c.started_at) AS last_at
        FROM cycles c JOIN jobs j USING (cycle_id)
        WHERE c.started_at >= coalesce(CAST(%(lost_since)s AS timestamptz), '-infinity')
          AND c.started_at < coalesce(CAST(%(lost_until)s AS timestamptz), 'infinity')
          AND (c.jobs_failed > 0 OR c.jobs_skipped > 0 OR c.state IN ('abandoned', 'running'))
          AND j.state <> 'ok' AND j.dataset <> ALL(ARRAY['candles', 'funding', 'listing', 'instruments',
            'asset_details', 'market_history', 'sentiment'])
        GROUP BY 1, 2, 3) t""",
    columns=[
        plain("source", Form.TEXT, "who was asked"),
        plain("dataset", Form.TEXT, "for what"),
        plain("error", Form.TEXT, "why nothing came"),
        plain("cycles", Form.WHOLE, "how many cycles lost it"),
        plain("first_at", Form.MOMENT, "start of the first of them (UTC)"),
        plain("last_at", Form.MOMENT, "start of the last of them (UTC)"),
    ],
    keys=(
        _SOURCE,
        Key(sql="t.dataset", form=Form.TEXT, column="dataset"),
        Key(sql="t.digest", form=Form.TEXT),
    ),
    filters={"source": "t.source = %(source)s", "dataset": "t.dataset = %(dataset)s"},
    newest_first=False,
    as_of="last_at",
)

# --------------------------------------------------------------------------- doubt

REVISIONS = Topic(
    name="revisions",
    origin="revisions t",
    columns=columns_of(models.REVISIONS),
    keys=(Key(sql="t.revision_id", form=Form.WHOLE, column="revision_id"),),
    filters={
        "table_name": "t.table_name = %(table_name)s",
        "subject": "t.subject = %(subject)s",
        "source": "t.source = %(source)s",
        "cause": "t.cause = %(cause)s",
    },
    time="t.detected_at",
    as_of="detected_at",
)
SUSPECTS = Topic(
    name="suspects",
    origin="suspects t",
    columns=columns_of(models.SUSPECTS),
    keys=(
        Key(sql="t.noted_at", form=Form.MOMENT),
        Key(sql="t.dataset", form=Form.TEXT, column="dataset"),
        Key(sql="t.subject", form=Form.TEXT, column="subject"),
        _SOURCE,
        Key(sql="t.observed_at", form=Form.MOMENT),
        Key(sql="t.kind", form=Form.TEXT, column="kind"),
    ),
    filters={
        "dataset": "t.dataset = %(dataset)s",
        "subject": "t.subject = %(subject)s",
        "source": "t.source = %(source)s",
        "kind": "t.kind = %(kind)s",
    },
    time="t.noted_at",
    as_of="noted_at",
)
