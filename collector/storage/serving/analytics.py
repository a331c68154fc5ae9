"""Topics of what was computed from stored rows: trends, derived metrics, ranks, signals, portfolios, and how they did.

Rows of large tables are found by the parts of their key: the groups are told by one probe of the index each (PostgreSQL
has no skip scan of its own before 18), then each gives its newest rows, and the best of those are taken.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import Table, text

from collector.storage import models
from collector.storage.database import Database
from collector.storage.serving.topics import Column, Form, Key, Topic, columns_of, plain

TABLES: Mapping[str, Table] = {table.name: table for table in models.ANALYTICS}

_NUMBER = "(SELECT instrument_id FROM instruments WHERE instrument = %(instrument)s)"
_LAST_PLACE = 2_147_483_647  # of what has no rank
_INSTRUMENT = plain("instrument", Form.TEXT, "canonical id, as okx:BTC-USDT:perp", sql="i.instrument")
_THIS_INSTRUMENT = plain("instrument", Form.TEXT, _INSTRUMENT.comment, sql="%(instrument)s::text")
_NAMES = (
    plain("symbol", Form.TEXT, "ticker symbol; null for what is no listed asset", sql="a.symbol", null=True),
    plain("name", Form.TEXT, "name in the listing; null for what is no listed asset", sql="a.name", null=True),
)
_NAME = Key(sql="i.instrument", form=Form.TEXT, column="instrument")
_OF_INSTRUMENTS = {
    "instrument": "i.instrument = ANY(%(instrument)s)",
    "venue": "i.venue = %(venue)s",
    "base": "i.base = %(base)s",
    "quote": "i.quote = %(quote)s",
    "kind": "i.kind = %(kind)s",
    "followed": "i.followed = %(followed)s",
}


def _moment(name: str) -> Key:
    return Key(sql=f"t.{name}", form=Form.MOMENT)


def _keys(*names: str) -> tuple[Key, ...]:
    return tuple(Key(sql=f"t.{name}", form=Form.TEXT, column=name) for name in names)


def _whole(name: str) -> Key:
    return Key(sql=f"t.{name}", form=Form.WHOLE, column=name)


def _columns(name: str, first: Sequence[Column], *, without: Sequence[str] = ()) -> list[Column]:
    """Return the columns of a table behind those that name a row."""
    named = {column.name for column in first}
    rest = columns_of(TABLES[name], without=("instrument_id", *without))
    return [*first, *(column for column in rest if column.name not in named)]


def _assets(subject: str, source: str = "'coingecko'") -> str:
    """Return the join that gives assets their names; ids of assets are those of this listing."""
    return f"LEFT JOIN assets a ON a.source = {source} AND a.asset_id = {subject}"


def _groups(table: str, parts: Sequence[str], also: Sequence[str] = (), *, of: str = "true") -> str:
    """Return a query of the groups of a table's rows, one probe each; `also` are columns that a group has one of."""
    order, shown = ", ".join(parts), ", ".join([*parts, *also])
    place = ", ".join(f"s.{part}" for part in parts)
    return f"""WITH RECURSIVE s AS (
            (SELECT {shown} FROM {table} WHERE {of} ORDER BY {order} LIMIT 1)
            UNION ALL
            SELECT n.* FROM s CROSS JOIN LATERAL (
                SELECT {shown} FROM {table} WHERE {of} AND ({order}) > ({place}) ORDER BY {order} LIMIT 1) n
        ) SELECT * FROM s"""


def _merged(table: str, parts: Sequence[str], also: Sequence[str] = (), *, of: str = "true", within: str = "") -> str:
    """Return rows by their groups; `{inside}` takes the newest of each. `of` and `within` choose by equality."""
    same = " AND ".join(f"t.{part} = g.{part}" for part in parts)
    return f"""({_groups(table, parts, also, of=of)}) g CROSS JOIN LATERAL (
        SELECT * FROM {table} t WHERE {of} AND {within or "true"} AND {same} {{inside}}) t"""


def _newest(table: str, parts: Sequence[str], time: str, *, of: str = "true", chosen: str = "true") -> str:
    """Return a query of the newest row of each group: the backward scan lands on it, one probe each."""
    order = ", ".join(f"n.{name} DESC" for name in (*parts, time))
    beyond = f"({', '.join(f'n.{part}' for part in parts)}) < ({', '.join(f's.{part}' for part in parts)})"
    return f"""(WITH RECURSIVE s AS (
            (SELECT n.* FROM {table} n WHERE {of} AND {chosen} ORDER BY {order} LIMIT 1)
            UNION ALL
            SELECT m.* FROM s CROSS JOIN LATERAL (
                SELECT n.* FROM {table} n WHERE {of} AND {chosen} AND {beyond} ORDER BY {order} LIMIT 1) m
        ) SELECT * FROM s)"""


# --------------------------------------------------------------------------- trends

_SUBJECT = plain("subject", Form.TEXT, "an instrument's canonical id or an asset's id")
TRENDS = Topic(
    name="trends",
    origin=f"trends t {_assets('t.subject')}",
    columns=_columns("trends", [_SUBJECT, *_NAMES]),
    keys=(_moment("as_of"), *_keys("span")),
    filters={"subject": "t.subject = %(subject)s", "span": "t.span = %(span)s"},
    needs=("subject",),
    time="t.as_of",
    as_of="as_of",
)
LATEST_TRENDS = Topic(
    name="latest trends",
    origin=f"{_newest('trends', ('subject', 'span'), 'as_of')} t {_assets('t.subject')}",
    columns=TRENDS.columns,
    keys=_keys("subject", "span"),
    filters={
        "subject": "t.subject = ANY(%(subject)s)",
        "span": "t.span = %(span)s",
        "of": "(strpos(t.subject, ':') > 0) = (%(of)s = 'instruments')",
    },
    newest_first=False,
    as_of="as_of",
    latest=True,
)
BREADTH = Topic(
    name="breadth",
    origin="breadth t",
    columns=_columns("breadth", ()),
    keys=(_moment("as_of"), *_keys("span")),
    filters={"span": "t.span = %(span)s"},
    time="t.as_of",
    as_of="as_of",
)
FACTORS = Topic(
    name="factor_returns",
    origin="factor_returns t",
    columns=_columns("factor_returns", ()),
    keys=(_moment("day"), *_keys("factor")),
    filters={"factor": "t.factor = %(factor)s"},
    time="t.day",
    as_of="day",
)

# --------------------------------------------------------------------------- derived metrics

DERIVED = Topic(
    name="derived_metrics",
    origin=_merged("derived_metrics", ("measure", "span"), of=f"instrument_id = {_NUMBER}"),
    columns=_columns("derived_metrics", [_THIS_INSTRUMENT]),
    keys=(_moment("observed_at"), *_keys("measure", "span")),
    filters={"measure": "g.measure = %(measure)s", "span": "g.span = %(span)s"},
    needs=("instrument",),
    time="t.observed_at",
    as_of="observed_at",
)
# Only what leads the index may be chosen by inside: a span alone would be looked for through all rows.
_CHOSEN = (
    "(%(only_measure)s::text IS NULL OR (n.measure = %(only_measure)s "
    "AND (%(only_span)s::text IS NULL OR n.span = %(only_span)s)))"
)
_NEWEST_DERIVED = _newest(
    "derived_metrics",
    ("measure", "span"),
    "observed_at",
    of="n.instrument_id = i.instrument_id",
    chosen=_CHOSEN,
)
LATEST_DERIVED = Topic(
    name="latest derived_metrics",
    origin=f"instruments i CROSS JOIN LATERAL {_NEWEST_DERIVED} t",
    columns=_columns("derived_metrics", [_INSTRUMENT]),
    keys=(_NAME, *_keys("measure", "span")),
    filters={**_OF_INSTRUMENTS, "measure": "t.measure = %(measure)s", "span": "t.span = %(span)s"},
    newest_first=False,
    as_of="observed_at",
    latest=True,
)

# --------------------------------------------------------------------------- ranks

_RANKED = _columns("rank_history", [plain("asset_id", Form.TEXT, "the provider's own id"), *_NAMES])
_OF_RANKED = _assets("t.asset_id", "t.source")
RANKS = Topic(
    name="rank_history",
    origin=f"{_merged('rank_history', ('source',), within='t.asset_id = %(asset_id)s')} {_OF_RANKED}",
    columns=_RANKED,
    keys=(_moment("day"), *_keys("source")),
    filters={"source": "t.source = %(source)s"},
    needs=("asset_id",),
    time="t.day",
    as_of="observed_at",
)


def _at_newest(table: str, moment: str) -> str:
    """Return the condition for the rows of one moment: a given one, or the newest."""
    return f"t.{moment} = coalesce(%(moment)s::timestamptz, (SELECT max({moment}) FROM {table}))"


RANK_DAYS = Topic(
    name="ranks of a day",
    origin=f"rank_history t {_OF_RANKED}",
    columns=_RANKED,
    keys=(
        _moment("day"),
        Key(sql=f"coalesce(t.cap_rank, {_LAST_PLACE})", form=Form.WHOLE),
        *_keys("asset_id", "source"),
    ),
    filters={
        "asset_id": "t.asset_id = ANY(%(asset_id)s)",
        "source": "t.source = %(source)s",
        "entered": "t.entered = %(entered)s",
        "dropped": "t.dropped = %(dropped)s",
    },
    always=(_at_newest("rank_history", "day"),),
    newest_first=False,
    as_of="observed_at",
)

# --------------------------------------------------------------------------- signals

_RULE = ("interval", "name", "parameter_hash", "version")
_RULE_KEYS = (*_keys("interval", "name", "parameter_hash"), _whole("version"))
_OF_RULES = {name: f"t.{name} = %({name})s" for name in ("interval", "kind", "name", "direction")}
_OF_GROUPS = {name: f"g.{name} = %({name})s" for name in ("interval", "kind", "name")}
_BY_NUMBER = Key(sql="t.instrument_id", form=Form.WHOLE)


def _given(table: str, *last: Key, **more: str) -> Topic:
    """Return the rows of all instruments by the bar that gave the signal."""
    filters = {name: condition for name, condition in _OF_RULES.items() if name in TABLES[table].columns}
    return Topic(
        name=table,
        origin=f"{table} t JOIN instruments i USING (instrument_id)",
        columns=_columns(table, [_INSTRUMENT]),
        keys=(_moment("bar_end"), _BY_NUMBER, *_RULE_KEYS, *last),
        filters={**filters, **more},
        time="t.bar_end",
        as_of="bar_end",
    )


def _given_of_one(table: str, *last: Key, **more: str) -> Topic:
    """Return the same of one instrument."""
    return Topic(
        name=table,
        origin=_merged(table, _RULE, ("kind",), of=f"instrument_id = {_NUMBER}"),
        columns=_columns(table, [_THIS_INSTRUMENT]),
        keys=(_moment("bar_end"), *_RULE_KEYS, *last),
        filters={**_OF_GROUPS, "direction": _OF_RULES["direction"], **more},
        needs=("instrument",),
        time="t.bar_end",
        as_of="bar_end",
    )


_BY_CAUSE = {"cause": "t.cause = %(cause)s"}
_BY_HORIZON = {"horizon": "t.horizon = %(horizon)s", "status": "t.status = %(status)s"}
SIGNALS = _given("signals")
SIGNALS_OF_ONE = _given_of_one("signals")
SIGNAL_REVISIONS = _given("signal_revisions", _whole("revision"), **_BY_CAUSE)
SIGNAL_REVISIONS_OF_ONE = _given_of_one("signal_revisions", _whole("revision"), **_BY_CAUSE)
SIGNAL_OUTCOMES = _given("signal_outcomes", _whole("horizon"), **_BY_HORIZON)
SIGNAL_OUTCOMES_OF_ONE = _given_of_one("signal_outcomes", _whole("horizon"), **_BY_HORIZON)

_NEWEST_SIGNALS = _newest("signals", _RULE, "bar_end", of="n.instrument_id = i.instrument_id")
LATEST_SIGNALS = Topic(
    name="latest signals",
    origin=f"instruments i CROSS JOIN LATERAL {_NEWEST_SIGNALS} t",
    columns=_columns("signals", [_INSTRUMENT]),
    keys=(_NAME, *_RULE_KEYS),
    filters={"instrument": _OF_INSTRUMENTS["instrument"], "venue": _OF_INSTRUMENTS["venue"], **_OF_RULES},
    newest_first=False,
    as_of="bar_end",
)
_DONE = "FILTER (WHERE status = 'done' AND hit IS NOT NULL)"
PERFORMANCE = Topic(
    name="signal_performance",
    origin=f"""
        (SELECT interval, kind, name, horizon, count(*) {_DONE} AS outcomes,
            count(*) FILTER (WHERE status = 'done' AND hit) AS hits,
            avg(hit::integer) {_DONE} AS hit_rate, avg(forward_return) {_DONE} AS mean_return,
            count(*) FILTER (WHERE status = 'hole') AS holes,
            min(bar_end) AS first_bar_end, max(bar_end) AS last_bar_end
        FROM signal_outcomes WHERE bar_end >= %(given_since)s AND bar_end < %(given_until)s GROUP BY 1, 2, 3, 4) t""",
    columns=(
        plain("interval", Form.TEXT, "length of the bars"),
        plain("kind", Form.TEXT, "ema_cross, rsi, macd, breakout or funding"),
        plain("name", Form.TEXT, "which rule, e.g. ema_cross_12_26"),
        plain("horizon", Form.WHOLE, "bars after the signal"),
        plain("outcomes", Form.WHOLE, "signals with a direction whose outcome is known"),
        plain("hits", Form.WHOLE, "of those, signals whose way the price went"),
        plain(
            "hit_rate", Form.REAL, "hits over outcomes, fraction; null without any", sql="t.hit_rate::float8", null=True
        ),
        plain("mean_return", Form.REAL, "their mean return in the signal's direction, fraction", null=True),
        plain("holes", Form.WHOLE, "signals whose outcome is not known: a price is missing"),
        plain("first_bar_end", Form.MOMENT, "end of the bar that gave the first of all these (UTC)"),
        plain("last_bar_end", Form.MOMENT, "end of the bar that gave the last (UTC)"),
    ),
    keys=(*_keys("interval", "kind", "name"), _whole("horizon")),
    filters={name: _OF_RULES[name] for name in ("interval", "kind", "name")} | {"horizon": _BY_HORIZON["horizon"]},
    newest_first=False,
    as_of="last_bar_end",
)

# --------------------------------------------------------------------------- views and portfolios

_VIEWED = _columns("asset_views", [plain("asset_id", Form.TEXT, "the asset (assets.asset_id)"), *_NAMES])
VIEWS = Topic(
    name="asset_views",
    origin=f"asset_views t {_assets('t.asset_id')}",
    columns=_VIEWED,
    keys=(_moment("as_of"),),
    filters={"asset_id": "t.asset_id = %(asset_id)s"},
    needs=("asset_id",),
    time="t.as_of",
    as_of="as_of",
)
LATEST_VIEWS = Topic(
    name="latest asset_views",
    origin=VIEWS.origin,
    columns=_VIEWED,
    keys=(
        _moment("as_of"),
        Key(sql=f"coalesce(t.rank, {_LAST_PLACE})", form=Form.WHOLE),
        *_keys("asset_id"),
    ),
    filters={"asset_id": "t.asset_id = ANY(%(asset_id)s)"},
    always=(_at_newest("asset_views", "as_of"),),
    newest_first=False,
    as_of="as_of",
    latest=True,
)
_RUN = plain("portfolio", Form.TEXT, "name of the portfolio")
RUNS = Topic(
    name="portfolio_runs",
    origin="portfolio_runs t",
    columns=_columns("portfolio_runs", [_RUN], without=("inputs",)),
    keys=(_moment("as_of"), *_keys("portfolio")),
    filters={"portfolio": "t.portfolio = %(portfolio)s", "state": "t.state = %(state)s"},
    time="t.as_of",
    as_of="as_of",
)
INPUTS = Topic(
    name="portfolio_inputs",
    origin=RUNS.origin,
    columns=_columns("portfolio_runs", [_RUN]),
    keys=RUNS.keys,
    filters={"portfolio": RUNS.filters["portfolio"]},
    needs=("portfolio",),
    time="t.as_of",
    as_of="as_of",
)
_WEIGHED = _columns(
    "portfolio_weights",
    [_RUN, *columns_of(TABLES["portfolio_weights"])[1:3], *_NAMES],
)
_OF_WEIGHED = _assets("t.asset_id")
WEIGHTS = Topic(
    name="portfolio_weights",
    origin=f"portfolio_weights t {_OF_WEIGHED}",
    columns=_WEIGHED,
    keys=(_moment("as_of"), *_keys("asset_id")),
    filters={"portfolio": "t.portfolio = %(portfolio)s", "asset_id": "t.asset_id = ANY(%(asset_id)s)"},
    needs=("portfolio",),
    time="t.as_of",
    as_of="as_of",
)
LATEST_WEIGHTS = Topic(
    name="latest portfolio_weights",
    origin=f"""
        (SELECT w.*, row_number() OVER (
            PARTITION BY w.portfolio ORDER BY w.weight DESC NULLS LAST, w.asset_id)::integer AS place
        FROM (SELECT DISTINCT ON (portfolio) portfolio, as_of FROM portfolio_runs WHERE state = 'ok'
            ORDER BY portfolio, as_of DESC) r JOIN portfolio_weights w USING (portfolio, as_of)) t {_OF_WEIGHED}""",
    columns=_WEIGHED,
    keys=(*_keys("portfolio"), Key(sql="t.place", form=Form.WHOLE)),
    filters=WEIGHTS.filters,
    newest_first=False,
    as_of="as_of",
    latest=True,
)
COEFFICIENTS = Topic(
    name="information_coefficients",
    origin="information_coefficients t",
    columns=_columns("information_coefficients", ()),
    keys=(_moment("as_of"), _whole("horizon")),
    filters={"horizon": "t.horizon = %(horizon)s"},
    time="t.as_of",
    as_of="as_of",
)
PAPER_EQUITY = Topic(
    name="paper_equity",
    origin="paper_equity t",
    columns=_columns("paper_equity", [_RUN]),
    keys=(_moment("day"), *_keys("portfolio")),
    filters={"portfolio": "t.portfolio = %(portfolio)s"},
    time="t.day",
    as_of="day",
)


def portfolios(database: Database) -> list[str]:
    """Return the names of all portfolios that were ever computed or refused. Raises StorageError."""
    with database.reading("look for portfolios") as connection:
        query = text(_groups("portfolio_runs", ("portfolio",)))
        return list(connection.execute(query).scalars())
