"""The kinds of values that settings hold: durations, cron lines, addresses, folders, lists.

Each check raises ValueError with words that continue "key: value ...".
"""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

from apscheduler.triggers.cron import CronTrigger
from pydantic import AfterValidator, BeforeValidator, PlainSerializer, SecretStr

from collector.records import Interval

LONGEST = timedelta(days=3660)  # ten years: longer is a slip of the finger, and far longer overflows dates
LONGEST_EVERY = timedelta(days=31)
MOST_TURNS_READ = 200  # of a cron line; one with more in two months is counted by its shortest gap
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def parse_duration(value: Any) -> Any:
    """Return a timedelta of at most LONGEST from `90`, `90s`, `5m`, `1h`, `1d` or `1w`; ValueError otherwise."""
    if isinstance(value, timedelta):
        return value
    match = re.fullmatch(r"\s*(\d{1,9})\s*([smhdw]?)\s*", str(value))
    if isinstance(value, bool) or not match:
        raise ValueError("is not a duration; write a number with a unit, as 30s, 5m, 1h, 1d or 1w")
    seconds = int(match[1]) * _UNITS[match[2] or "s"]
    if seconds > LONGEST.total_seconds():
        raise ValueError(f"is too long; the most is {LONGEST.days}d")
    return timedelta(seconds=seconds)


def format_duration(value: timedelta) -> str:
    """Return the shortest spelling that `parse_duration` reads."""
    seconds = int(value.total_seconds())
    for unit in "wdhm":
        if seconds and seconds % _UNITS[unit] == 0:
            return f"{seconds // _UNITS[unit]}{unit}"
    return f"{seconds}s"


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("must be longer than zero, as 30s or 5m")
    return value


def not_too_rare(value: timedelta) -> timedelta:
    """Refuse what is longer than LONGEST_EVERY."""
    if value > LONGEST_EVERY:
        raise ValueError(f"is too long; a cadence runs at least every {LONGEST_EVERY.days}d")
    return value


def cron_line(value: str) -> str:
    """Refuse what is no cron line, or never comes."""
    try:
        trigger = CronTrigger.from_crontab(value, timezone=UTC)
    except ValueError as error:
        raise ValueError("is not a cron line of five fields (minute hour day month weekday, UTC)") from error
    if trigger.get_next_fire_time(None, datetime(2026, 1, 1, tzinfo=UTC)) is None:  # any start: the calendar repeats
        raise ValueError("never comes: no month of it has that day; mend day or month, as 20 0 * * *")
    return value


def cron_turns(line: str) -> tuple[timedelta, int]:
    """Return the shortest time between two turns of a cron line, and how many fit into 31 days at most."""
    trigger = CronTrigger.from_crontab(line, timezone=UTC)
    first = trigger.get_next_fire_time(None, datetime(2026, 1, 1, tzinfo=UTC))
    turns, gap = [first], LONGEST_EVERY
    while len(turns) < MOST_TURNS_READ and turns[-1] - first < 2 * LONGEST_EVERY:
        following = trigger.get_next_fire_time(turns[-1], turns[-1])
        if following is None:
            break
        gap = min(gap, following - turns[-1])
        turns.append(following)
    if len(turns) == MOST_TURNS_READ:
        return gap, -(-LONGEST_EVERY // gap)
    return gap, max(sum(start <= turn < start + LONGEST_EVERY for turn in turns) for start in turns)


def http_url(value: str) -> str:
    """Refuse what is no http(s) address; cut a slash at the end."""
    match = re.fullmatch(r"https?://(?:[A-Za-z0-9.\-_]+|\[[0-9A-Fa-f:.]+\])(?::(\d{1,5}))?(?:/[^\s?#]*)?", value)
    if not match or not _is_port(match[1]):
        raise ValueError("is not an http(s) address without query, as https://host or http://127.0.0.1:8000/path")
    return value.rstrip("/")


def database_url(value: SecretStr) -> SecretStr:
    """Refuse what is no PostgreSQL address; empty is allowed."""
    text = value.get_secret_value()
    if text and not re.match(r"postgres(ql)?(\+psycopg2)?://", text):
        raise ValueError("is not a PostgreSQL address; write postgresql://user:password@host:5432/name")
    place = r"[a-z2+]+://(?:[^:/]*(?::[^@]*)?@)?(?:\[[^/?]+\]|[^/:?]+)?(?::(\d{1,5}))?(?:[/?].*)?"
    match = re.fullmatch(place, text)
    if text and not (match and _is_port(match[1])):
        raise ValueError(
            "has no usable port; write postgresql://user:password@host:5432/name (%40 for @ in a password)"
        )
    return value


def _is_port(text: str | None) -> bool:
    return text is None or 1 <= int(text) < 1 << 16


def _folder(value: Any) -> Any:
    if isinstance(value, str) and (not value.strip() or "\0" in value):
        raise ValueError("is not a folder; name one, or remove the setting for the usual one")
    return value


def no_switch(value: Any) -> Any:
    """Refuse true and false where another kind of value is wanted."""
    if isinstance(value, bool):  # YAML reads yes, no, on and off so
        raise ValueError("is a switch, but another kind of value is wanted; quote a text")  # noqa: TRY004 - pydantic's contract
    return value


def _listed(value: Any) -> Any:
    """Let lists be written as `a, b` where only text fits: in the environment."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Words = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Intervals = Annotated[tuple[Interval, ...], BeforeValidator(_listed)]
Wholes = Annotated[tuple[int, ...], BeforeValidator(_listed)]
Duration = Annotated[timedelta, BeforeValidator(parse_duration), PlainSerializer(format_duration)]
PositiveDuration = Annotated[Duration, AfterValidator(_positive)]
Durations = Annotated[tuple[PositiveDuration, ...], BeforeValidator(_listed)]
CronLine = Annotated[str, AfterValidator(cron_line)]
HttpUrl = Annotated[str, AfterValidator(http_url)]
Folder = Annotated[Path, BeforeValidator(_folder)]
