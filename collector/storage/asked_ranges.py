"""What a person asked for by hand: how many rows of a range are stored, and taking back what has not come."""

from datetime import datetime, timedelta
from typing import Any

from psycopg2.extras import execute_values
from sqlalchemy import text

from collector.coverage import ASKED_FOR, NOT_ASKED_YET, OLDER, OWN_TRIES, Series
from collector.records import Dataset
from collector.storage.cold.cold_windows import LOCK  # whoever changes windows holds it
from collector.storage.database import Database


def count_rows(database: Database, series: Series, since: datetime, until: datetime) -> int:
    """Return how many rows of a series are stored in [since, until). Raises StorageUnavailable."""
    query = _PAYMENTS if series.dataset is Dataset.FUNDING else _BARS
    values = {**_named(series), "since": since, "until": until}
    with database.reading("count rows") as connection:
        return int(connection.execute(query, values).scalar_one())


def take_back(database: Database, series: Series, since: datetime, until: datetime) -> timedelta:
    """Stop wanting what a backfill asked for in [since, until) and that has not come; return how much that is.

    Taken back are windows that wait only because they were asked for, and all that wait before the first bar that is
    held. Other holes stay: they lie in what is collected. So does what is being fetched at this moment.
    """
    values = {
        **_named(series),
        "since": since,
        "until": until,
        "asked": [ASKED_FOR, NOT_ASKED_YET],
        "older": OLDER,
        "own_tries": OWN_TRIES,
    }
    with database.transaction("take back a range") as connection:
        connection.execute(text(LOCK))
        gone = connection.execute(_TAKE, values).all()
        rests = []
        for row in gone:
            window = row._asdict()
            ends = ((window["since"], min(since, window["until"])), (max(until, window["since"]), window["until"]))
            rests += [{**window, "since": start, "until": end} for start, end in ends if start < end]
        if rests:
            columns = ", ".join(rests[0])
            cursor = connection.connection.cursor()
            execute_values(
                cursor, f"INSERT INTO coverage ({columns}) VALUES %s", [tuple(rest.values()) for rest in rests]
            )
    return sum((min(row.until, until) - max(row.since, since) for row in gone), timedelta(0))


def _named(series: Series) -> dict[str, Any]:
    return {
        "instrument": series.instrument,
        "dataset": str(series.dataset),
        "interval": "" if series.interval is None else str(series.interval),
    }


_BARS = text(
    """
    SELECT count(*) FROM candles c JOIN instruments i USING (instrument_id)
    WHERE i.instrument = :instrument AND c.interval = :interval AND c.open_time >= :since AND c.open_time < :until
    """
)
_PAYMENTS = text(
    """
    SELECT count(*) FROM funding_rates f JOIN instruments i USING (instrument_id)
    WHERE i.instrument = :instrument AND f.funding_time >= :since AND f.funding_time < :until
    """
)
# A window older than what the own provider gives, which is about to be closed for good, is left to who does that.
_TAKE = text(
    """
    DELETE FROM coverage c USING instruments i
    WHERE c.instrument_id = i.instrument_id AND i.instrument = :instrument AND c.dataset = :dataset
      AND c.interval = :interval AND c.since < :until AND c.until > :since
      AND c.state = 'missing' AND NOT (c.reason = :older AND c.attempts >= :own_tries)
      AND (c.reason = ANY(:asked) OR NOT EXISTS (SELECT FROM coverage h WHERE h.instrument_id = c.instrument_id
          AND h.dataset = c.dataset AND h.interval = c.interval AND h.state IN ('observed', 'filled')
          AND h.since < c.since))
    RETURNING c.*
    """
)
