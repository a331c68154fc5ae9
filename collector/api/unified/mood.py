"""GET /api/sentiment: fear and greed as published, and the mood that follows from it, breadth and momentum."""

from datetime import timedelta

import orjson

from collector.api.cache import Body
from collector.api.fallback import Budget, Stored, Upstream, joined
from collector.api.parts import Parts
from collector.api.sentiment import overall
from collector.api.unified.board import Board
from collector.api.unified.pricing import Row
from collector.clock import iso, to_millis
from collector.errors import PayloadError, VenueError
from collector.records import Dataset, Job, Sentiment

SOURCE = "alternative_me"
NEW_WITHIN = timedelta(hours=25)  # the index is of one day and comes soon after midnight UTC


class Mood:
    """Builds the answers."""

    def __init__(self, parts: Parts, stored: Stored, upstream: Upstream, board: Board) -> None:
        self._parts, self._stored, self._upstream, self._board = parts, stored, upstream, board

    def body(self, budget: Budget) -> Body:
        """Return the answer. Raises ApiError PROVIDER_ERROR when neither the index nor any change is known."""
        reasons: dict[str, str] = {}
        index = self._index(budget, reasons)
        table = self._board.table(budget)
        rows = [row for row in table.rows.values() if not table.followed or row.coin.asset_id in table.followed]
        current = [row for row in rows if row.current]
        days = [float(row.change_24h_pct) for row in current if row.change_24h_pct is not None]
        weeks = [float(row.snapshot.change_7d_pct) for row in current if _week_known(row)]  # type: ignore[union-attr, arg-type]
        if index is None and not days:
            raise self._upstream.error("sentiment", {**table.reasons, **reasons})
        now = self._parts.clock.now()
        stale = index is None or now - index.observed_at > NEW_WITHIN
        mood = overall(None if index is None else index.value, days, weeks, stale=stale)
        givers = [row.snapshot.source for row in current if row.snapshot is not None]
        source = joined([*([SOURCE] if index else []), *givers])
        observed = [row.observed_at for row in current if row.observed_at is not None]
        as_of = max([*observed, *([index.observed_at] if index else [])], default=now)
        content = {
            "success": True,
            "data": {
                "fearGreed": {
                    "value": index.value if index else None,
                    "classification": index.classification if index else None,
                    "timestamp": to_millis(index.observed_at) if index else None,
                },
                "news": {"bullish": 0, "bearish": 0, "neutral": 0, "total": 0},
                "overall": {"sentiment": mood.sentiment, "score": mood.score, "confidence": mood.confidence},
            },
            "timestamp": iso(now),
            "source": source,
            "stale": stale,
            "asOf": iso(as_of),
        }
        return Body(orjson.dumps(content), source=source, as_of=as_of, stale=stale)

    def _index(self, budget: Budget, reasons: dict[str, str]) -> Sentiment | None:
        """Return the newest day of the index: a stored one of today, else the provider's, else a stored one."""
        stored = self._stored.read_or(None, lambda quotes: quotes.latest_sentiment(SOURCE))
        if stored is not None and self._parts.clock.now() - stored.observed_at <= NEW_WITHIN:
            return stored
        try:
            given = self._upstream.ask(Job(source=SOURCE, dataset=Dataset.SENTIMENT), budget.share(2))
        except (VenueError, PayloadError) as error:
            reasons[SOURCE] = str(error)
            return stored
        days = [item for item in given if isinstance(item, Sentiment)]
        return max([*days, *([stored] if stored else [])], key=lambda item: item.observed_at, default=None)


def _week_known(row: Row) -> bool:
    return row.snapshot is not None and row.snapshot.change_7d_pct is not None
