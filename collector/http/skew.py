"""How far a provider's clock is from ours, from the Date header of its answers.

The header has whole seconds, so one answer says it to within half a second and half the time the call took; the
median of the last answers is what counts. Caches hand out old answers with their old date: an answer with `Age` is
passed over.
"""

import threading
from collections import deque
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache
from statistics import median

from collector.records import Answer

ANSWERS = 15
HALF_A_SECOND = timedelta(seconds=0.5)  # what the header has cut off, on average


class Skew:
    """Listens to the answers of one provider; shared by its threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._offsets: deque[float] = deque(maxlen=ANSWERS)

    def hear(self, answer: Answer, took_s: float) -> None:
        """Learn from one answer, which took so long; one without a usable date says nothing."""
        told = _date(answer.headers.get("date", ""))
        if told is None or answer.headers.get("age", "0").strip() not in ("", "0"):
            return
        ours = answer.received_at - timedelta(seconds=took_s / 2)
        with self._lock:
            self._offsets.append((told + HALF_A_SECOND - ours).total_seconds())

    def offset_s(self) -> float | None:
        """Return the provider's clock less ours in seconds; None when it told no time."""
        with self._lock:
            return median(self._offsets) if self._offsets else None


@lru_cache(maxsize=16)  # all answers of a second say the same
def _date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
