"""Topics of what exists: assets, their details, instruments, and how listings changed."""

from collector.records import Dataset
from collector.storage import models
from collector.storage.serving.topics import Form, Key, Topic, columns_of

ASSETS = Topic(
    name="assets",
    origin="assets t",
    columns=columns_of(models.ASSETS),
    keys=(
        Key(sql="t.source", form=Form.TEXT, column="source"),
        Key(sql="t.asset_id", form=Form.TEXT, column="asset_id"),
    ),
    filters={
        "source": "t.source = %(source)s",
        "asset_id": "t.asset_id = ANY(%(asset_id)s)",
        "symbol": "t.symbol = ANY(%(symbol)s)",
        "followed": "t.followed = %(followed)s",
    },
    newest_first=False,
    dataset=Dataset.LISTING,
    as_of="last_seen_at",
)

ASSET_DETAILS = Topic(
    name="asset_details",
    origin="asset_details t",
    columns=columns_of(models.ASSET_DETAILS),
    keys=ASSETS.keys,
    filters={name: ASSETS.filters[name] for name in ("source", "asset_id", "symbol")},
    newest_first=False,
    dataset=Dataset.ASSET_DETAILS,
    as_of="observed_at",
)

INSTRUMENTS = Topic(
    name="instruments",
    origin="instruments t",
    columns=columns_of(models.INSTRUMENTS, without=("instrument_id",)),
    keys=(Key(sql="t.instrument", form=Form.TEXT, column="instrument"),),
    filters={
        "instrument": "t.instrument = ANY(%(instrument)s)",
        "venue": "t.venue = %(venue)s",
        "base": "t.base = %(base)s",
        "quote": "t.quote = %(quote)s",
        "kind": "t.kind = %(kind)s",
        "asset_id": "t.asset_id = ANY(%(asset_id)s)",
        "followed": "t.followed = %(followed)s",
        "match_state": "t.match_state = %(match_state)s",
    },
    newest_first=False,
    dataset=Dataset.INSTRUMENTS,
    as_of="last_seen_at",
)

LISTING_CHANGES = Topic(
    name="listing_changes",
    origin="listing_changes t",
    columns=columns_of(models.LISTING_CHANGES),
    keys=(Key(sql="t.change_id", form=Form.WHOLE, column="change_id"),),
    filters={
        "source": "t.source = %(source)s",
        "subject": "t.subject = %(subject)s",
        "change": "t.change = %(change)s",
    },
    time="t.at",
    as_of="at",
)
