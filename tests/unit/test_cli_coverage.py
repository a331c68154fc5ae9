"""The words of `backfill`, and how its progress is shown: over one line of a terminal, rarely anywhere else."""

import io
from argparse import Namespace
from datetime import UTC, datetime

import pytest

from collector.cli_coverage import Screen, read_moment, read_request
from collector.clock import ManualClock
from collector.errors import ConfigError

NOW = datetime(2026, 2, 10, 12, 30, tzinfo=UTC)


def words(since, until=None, series="okx:BTC-USDT:perp/1m", source=None):
    return Namespace(series=series, since=since, until=until, source=source)


def test_a_range_without_an_end_is_to_now_and_its_moments_are_utc():
    request = read_request(words("2026-01-31T01:00+01:00"), NOW)
    assert (request.since, request.until) == (datetime(2026, 1, 31, tzinfo=UTC), NOW)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("2026-02-02", "2026-01-01"), "--from: 2026-02-02 is after --to 2026-01-01; swap them"),
        (("2026-01-01", "2026-01-01"), "--to: 2026-01-01 is --from as well, and exclusive; name a later one"),
        (("2027-01-01", None), "--from: 2027-01-01 is in the future; name a moment that has passed, in UTC"),
        (("2027-01-01", "2028-01-01"), "--from: 2027-01-01 is in the future; name a moment that has passed, in UTC"),
        (("soon", None), "--from: 'soon' is no date; write 2026-01-31 or 2026-01-31T12:00"),
        (("2026-01-01", ""), "--to: '' is no date; write 2026-01-31 or 2026-01-31T12:00"),
    ],
)
def test_a_range_that_cannot_be_meant_is_refused_by_its_words_alone(given, said):
    with pytest.raises(ConfigError) as refused:
        read_request(words(*given), NOW)
    assert str(refused.value) == said


@pytest.mark.parametrize("text", ["0001-01-01T00:00+05:00", "9999-12-31T23:00-05:00"])
def test_a_moment_outside_of_all_years_is_no_date(text):
    with pytest.raises(ConfigError, match="is no date"):
        read_moment("--to", text)


@pytest.mark.parametrize("series", ["okx:BTC-USDT:perp", "okx:BTC-USDT:perp/2m", "/1m/", ""])
def test_a_series_that_is_none_is_refused_with_how_one_is_written(series):
    with pytest.raises(ConfigError) as refused:
        read_request(words("2026-01-01", series=series), NOW)
    assert str(refused.value).startswith(f"SERIES: {series!r} names no series; write it like okx:BTC-USDT:perp/1m")


# --------------------------------------------------------------------------- progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_on_a_terminal_each_state_replaces_the_last_and_notes_stay(monkeypatch):
    monkeypatch.setenv("COLUMNS", "11")
    stream = Terminal()
    screen = Screen(stream, ManualClock(NOW))
    screen.show("1 of 3 and more than fits")
    screen.show("2 of 3")
    screen.tell("a note")
    screen.show("3 of 3")
    screen.end()
    screen.end()
    assert stream.getvalue() == "\r\x1b[K1 of 3 and\r\x1b[K2 of 3\ncollector: a note\n\r\x1b[K3 of 3\n"


def test_where_nobody_watches_a_line_comes_every_ten_seconds_and_the_last_one_always():
    clock, stream = ManualClock(NOW), io.StringIO()
    screen = Screen(stream, clock)
    for second in range(25):
        screen.show(f"second {second}")
        clock.advance(1)
    screen.end()
    screen.end()
    assert stream.getvalue().split("\n") == ["second 0", "second 10", "second 20", "second 24", ""]
