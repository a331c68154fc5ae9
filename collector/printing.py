"""Text for people: aligned tables, moments and spans of time, and what an interrupted command leaves behind."""

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table with aligned columns, indented by two."""
    widths = [max(len(row[index]) for row in (head, *rows)) for index in range(len(head))]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, *rows)
    ]


def moment(value: datetime | None) -> str:
    """Return a moment to the second; `-` for none."""
    return "-" if value is None else f"{value:%Y-%m-%d %H:%M:%S}"


def span(value: timedelta) -> str:
    """Return a duration in its two largest units, as `2h 5m`."""
    seconds = max(0, int(value.total_seconds()))
    parts = [(seconds // 86400, "d"), (seconds // 3600 % 24, "h"), (seconds // 60 % 60, "m"), (seconds % 60, "s")]
    filled = [f"{count}{unit}" for count, unit in parts if count][:2]
    return " ".join(filled) or "0s"


@contextmanager
def stoppable(left: Callable[[], str]) -> Iterator[None]:
    """Let SIGTERM end the work as Ctrl+C does, and say on stderr in one line what either of them leaves."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        sys.stderr.write(f"collector: stopped: {left()}\n")
        sys.stderr.flush()
        raise
