"""Text of a picture for people: no control bytes whatever a provider said, sizes and waits in short."""

import unicodedata
from datetime import datetime

from collector.printing import span

_UNITS = ("B", "kB", "MB", "GB", "TB")


def harmless(text: str) -> str:
    """Return a text on one line without what could steer or deceive a terminal: controls, escapes, direction marks.

    Line ends and tabs become spaces; everything else of the Unicode categories C* becomes `?`.
    """
    spaced = "".join(" " if char in "\t\n\r\v\f\u2028\u2029\x85" else char for char in text)
    return "".join("?" if unicodedata.category(char).startswith("C") else char for char in spaced)


def size(count: int | None) -> str:
    """Return a number of bytes in its largest unit of a thousand; `?` when it is not known."""
    if count is None:
        return "?"
    value, unit = float(count), 0
    while value >= 1000 and unit < len(_UNITS) - 1:  # noqa: PLR2004 - decimal units
        value, unit = value / 1000, unit + 1
    return f"{value:.0f} {_UNITS[unit]}" if unit == 0 or value >= 100 else f"{value:.1f} {_UNITS[unit]}"  # noqa: PLR2004


def ago(since: datetime | None, now: datetime) -> str:
    """Return how long ago a moment was, in its two largest units; `never` for none."""
    return "never" if since is None else span(now - since)


def window(seconds: int) -> str:
    """Return the length of a limit's window, as 1m, 1h, 31d."""
    for width, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds % width == 0:
            return f"{seconds // width}{unit}"
    return f"{seconds}s"
