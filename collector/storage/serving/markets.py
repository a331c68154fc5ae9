"""Topics of what was observed and computed: the history of one subject, and the newest row of each."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Table

from collector.records import Dataset
from collector.storage import models
from collector.storage.serving.topics import Column, Form, Key, Topic, as_read, columns_of, plain

_NUMBER = "(SELECT instrument_id FROM instruments WHERE instrument = %(instrument)s)"
_BY_SOURCE = "t.source = %(source)s"
_AT = Key(sql="t.observed_at", form=Form.MOMENT)
_SOURCE = Key(sql="t.source", form=Form.TEXT, column="source")
_NAME = Key(sql="i.instrument", form=Form.TEXT, column="instrument")
_OF_INSTRUMENTS = {
    "instrument": "i.instrument = ANY(%(instrument)s)",
    "venue": "i.venue = %(venue)s",
    "base": "i.base = %(base)s",
    "quote": "i.quote = %(quote)s",
    "kind": "i.kind = %(kind)s",
    "followed": "i.followed = %(followed)s",
    "source": _BY_SOURCE,
}


def _columns(table: Table, instrument: str, *, without: Sequence[str] = ()) -> list[Column]:
    name = plain("instrument", Form.TEXT, "canonical id, as okx:BTC-USDT:perp", sql=instrument)
    return [name, *as_read(columns_of(table, without=("instrument_id", *without)))]


def _history(
    table: Table, dataset: Dataset, *, keys: Sequence[Key] = (_AT, _SOURCE), without: Sequence[str] = ()
) -> Topic:
    """Return the rows of one instrument, by their time."""
    return Topic(
        name=table.name,
        origin=f"{table.name} t",
        columns=_columns(table, "%(instrument)s::text", without=without),
        keys=keys,
        filters={"instrument": f"t.instrument_id = {_NUMBER}", "source": _BY_SOURCE},
        needs=("instrument",),
        time=keys[0].sql,
        dataset=dataset,
        as_of="observed_at",
    )


def _latest(table: Table, dataset: Dataset, *, time: str = "observed_at", without: Sequence[str] = ()) -> Topic:
    """Return the newest row of each instrument, by the instrument's name."""
    newest = f"SELECT * FROM {table.name} r WHERE r.instrument_id = i.instrument_id ORDER BY r.{time} DESC LIMIT 1"
    return Topic(
        name=f"latest {table.name}",
        origin=f"instruments i CROSS JOIN LATERAL ({newest}) t",
        columns=_columns(table, "i.instrument", without=without),
        keys=(_NAME,),
        filters=_OF_INSTRUMENTS,
        newest_first=False,
        dataset=dataset,
        as_of="observed_at",
        latest=True,
    )


TICKERS = _history(models.TICKERS, Dataset.TICKERS)
MARK_PRICES = _history(models.MARK_PRICES, Dataset.MARK_PRICES)
OPEN_INTEREST = _history(models.OPEN_INTEREST, Dataset.OPEN_INTEREST)
FUNDING_FORECASTS = _history(models.FUNDING_FORECASTS, Dataset.MARK_PRICES)
FUNDING_RATES = _history(
    models.FUNDING_RATES,
    Dataset.FUNDING,
    keys=(
        Key(sql="t.funding_time", form=Form.MOMENT),
        Key(sql="t.rate_type", form=Form.TEXT, column="rate_type"),
        _SOURCE,
    ),
)
LATEST_TICKERS = _latest(models.TICKERS, Dataset.TICKERS)
LATEST_MARK_PRICES = _latest(models.MARK_PRICES, Dataset.MARK_PRICES)
LATEST_OPEN_INTEREST = _latest(models.OPEN_INTEREST, Dataset.OPEN_INTEREST)
LATEST_FUNDING_FORECASTS = _latest(models.FUNDING_FORECASTS, Dataset.MARK_PRICES)
LATEST_FUNDING_RATES = _latest(models.FUNDING_RATES, Dataset.FUNDING, time="funding_time")

FUNDING_TERMS = Topic(
    name="funding_terms",
    origin="funding_terms t JOIN instruments i USING (instrument_id)",
    columns=_columns(models.FUNDING_TERMS, "i.instrument"),
    keys=(_NAME, _SOURCE),
    filters=_OF_INSTRUMENTS,
    newest_first=False,
    dataset=Dataset.FUNDING_TERMS,
    as_of="observed_at",
)

# --------------------------------------------------------------------------- order books

_LEVELS = ("bid_prices", "bid_sizes", "ask_prices", "ask_sizes")


def _cut(columns: Sequence[Column]) -> list[Column]:
    """Return the columns with `levels` levels a side."""
    return [
        plain(column.name, column.form, column.comment, sql=f"t.{column.name}[1:%(levels)s]")
        if column.name in _LEVELS
        else column
        for column in columns
    ]


def _books(topic: Topic) -> Topic:
    return Topic(
        name=topic.name,
        origin=topic.origin,
        columns=_cut(topic.columns),
        keys=topic.keys,
        filters=topic.filters,
        needs=topic.needs,
        time=topic.time,
        newest_first=topic.newest_first,
        dataset=topic.dataset,
        as_of=topic.as_of,
        latest=topic.latest,
        most_rows=500,  # a page of 50 levels a side is 2 MB then
    )


ORDER_BOOKS = _books(_history(models.ORDER_BOOKS, Dataset.ORDER_BOOKS))
LATEST_ORDER_BOOKS = _books(_latest(models.ORDER_BOOKS, Dataset.ORDER_BOOKS))
ORDER_BOOK_DEPTHS = _history(models.ORDER_BOOKS, Dataset.ORDER_BOOKS, without=_LEVELS)
LATEST_DEPTHS = _latest(models.ORDER_BOOKS, Dataset.ORDER_BOOKS, without=_LEVELS)

# --------------------------------------------------------------------------- bars

_OPEN = Key(sql="t.open_time", form=Form.MOMENT, column="open_time")  # on the grid: milliseconds tell it exactly


def _bars(table: Table, *, as_of: str, chosen: bool = False) -> Topic:
    given = {"source": _BY_SOURCE} if "source" in table.columns else {}
    return Topic(
        name=table.name,
        origin=f"{table.name} t",
        columns=_columns(table, "%(instrument)s::text"),
        keys=(_OPEN,),
        filters={
            "instrument": f"t.instrument_id = {_NUMBER}",
            "interval": "t.interval = %(interval)s",
            **given,
        },
        needs=("instrument", "interval"),
        time="t.open_time",
        dataset=Dataset.CANDLES,
        as_of=as_of,
        chosen=chosen,
    )


def _latest_bars(table: Table, *, as_of: str, chosen: bool = False) -> Topic:
    """Return the newest bar of each instrument.

    Venues' instruments that never had one are passed over by their coverage, which bars of an index do not have.
    """
    newest = (
        f"SELECT * FROM {table.name} r WHERE r.instrument_id = i.instrument_id AND r.interval = %(interval)s "
        "ORDER BY r.open_time DESC LIMIT 1"
    )
    held = (
        "(i.kind = 'index' OR EXISTS (SELECT FROM coverage c WHERE c.instrument_id = i.instrument_id "
        "AND c.dataset = 'candles' AND c.interval = %(interval)s))"
    )
    filters = {
        name: condition for name, condition in _OF_INSTRUMENTS.items() if name != "source" or "source" in table.columns
    }
    return Topic(
        name=f"latest {table.name}",
        origin=f"instruments i CROSS JOIN LATERAL ({newest}) t",
        columns=_columns(table, "i.instrument"),
        keys=(_NAME,),
        filters=filters,
        needs=("interval",),
        always=(held,),
        newest_first=False,
        dataset=Dataset.CANDLES,
        as_of=as_of,
        latest=True,
        chosen=chosen,
    )


CANDLES = _bars(models.CANDLES, as_of="observed_at")
LATEST_CANDLES = _latest_bars(models.CANDLES, as_of="observed_at")
INDICATORS = _bars(models.INDICATORS, as_of="open_time", chosen=True)
LATEST_INDICATORS = _latest_bars(models.INDICATORS, as_of="open_time", chosen=True)

# --------------------------------------------------------------------------- assets and the whole market

_ASSET_NAMES = (
    plain("symbol", Form.TEXT, "ticker symbol; null when the asset is in no listing", sql="a.symbol", null=True),
    plain("name", Form.TEXT, "name in the listing; null when the asset is in no listing", sql="a.name", null=True),
)


def _asset_columns() -> list[Column]:
    table = columns_of(models.MARKET_SNAPSHOTS)
    subject = [column for column in table if column.name == "asset_id"]
    return [*subject, *_ASSET_NAMES, *as_read([column for column in table if column.name != "asset_id"])]


MARKETS = Topic(
    name="market_snapshots",
    origin="market_snapshots t LEFT JOIN assets a ON a.source = t.source AND a.asset_id = t.asset_id",
    columns=_asset_columns(),
    keys=(_AT, _SOURCE),
    filters={"asset_id": "t.asset_id = %(asset_id)s", "source": _BY_SOURCE},
    needs=("asset_id",),
    time="t.observed_at",
    dataset=Dataset.MARKETS,
    as_of="observed_at",
)
# Every asset that has rows, one index probe each: DISTINCT would read them all.
_ASSETS_WITH_ROWS = """
    (WITH RECURSIVE s AS (
        (SELECT asset_id FROM market_snapshots ORDER BY asset_id LIMIT 1)
        UNION ALL
        SELECT (SELECT m.asset_id FROM market_snapshots m WHERE m.asset_id > s.asset_id ORDER BY m.asset_id LIMIT 1)
        FROM s WHERE s.asset_id IS NOT NULL
    ) SELECT asset_id FROM s WHERE asset_id IS NOT NULL) i
"""
LATEST_MARKETS = Topic(
    name="latest market_snapshots",
    origin=f"""{_ASSETS_WITH_ROWS}
        CROSS JOIN LATERAL (
            SELECT * FROM market_snapshots r WHERE r.asset_id = i.asset_id ORDER BY r.observed_at DESC LIMIT 1) t
        LEFT JOIN assets a ON a.source = t.source AND a.asset_id = t.asset_id""",
    columns=_asset_columns(),
    keys=(Key(sql="i.asset_id", form=Form.TEXT, column="asset_id"),),
    filters={
        "asset_id": "i.asset_id = ANY(%(asset_id)s)",
        "symbol": "a.symbol = ANY(%(symbol)s)",
        "followed": "a.followed = %(followed)s",
        "source": _BY_SOURCE,
    },
    newest_first=False,
    dataset=Dataset.MARKETS,
    as_of="observed_at",
    latest=True,
)


def _by_source(table: Table, dataset: Dataset, filters: Mapping[str, str]) -> Topic:
    """Return rows whose subject is their source: each gives its newest by its index, then the best are taken."""
    return Topic(
        name=table.name,
        origin=f"""
            (WITH RECURSIVE s AS (
                (SELECT source FROM {table.name} ORDER BY source LIMIT 1)
                UNION ALL
                SELECT (SELECT n.source FROM {table.name} n WHERE n.source > s.source ORDER BY n.source LIMIT 1)
                FROM s WHERE s.source IS NOT NULL
            ) SELECT source AS giver FROM s WHERE source IS NOT NULL) g
            CROSS JOIN LATERAL (SELECT * FROM {table.name} t WHERE t.source = g.giver {{inside}}) t""",
        columns=as_read(columns_of(table)),
        keys=(_AT, _SOURCE),
        filters=filters,
        time="t.observed_at",
        dataset=dataset,
        as_of="observed_at",
    )


GLOBAL_SNAPSHOTS = _by_source(models.GLOBAL_SNAPSHOTS, Dataset.GLOBAL, {"source": _BY_SOURCE})
SENTIMENTS = _by_source(models.SENTIMENTS, Dataset.SENTIMENT, {"source": _BY_SOURCE})
