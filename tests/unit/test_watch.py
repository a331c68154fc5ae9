"""The live view as values: what a picture says, how it is drawn in any size, and which lines a pipe gets."""

import unicodedata
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from collector.alerts.expected import expected
from collector.alerts.rules import look
from collector.cli_watch import waited
from collector.config import load_settings
from collector.records import CycleState, Dataset
from collector.storage.progress import CycleInShort, Done, FailedJob, LimitInUse, OpenAlert
from collector.storage.providers import ProviderState
from collector.watch.changes import changes
from collector.watch.picture import (
    Disk,
    Due,
    Picture,
    budgets_of,
    freshness_of,
    pauses_of,
    progress_of,
)
from collector.watch.screen import draw
from collector.watch.words import ago, harmless, size, window
from tests.alerts.vitals_samples import WELL

NOW = datetime(2026, 3, 11, 14, 37, 42, tzinfo=UTC)
HOSTILE = "bad\x1b]0;owned\x07\x1b[2J\r\nnext\u202egnp.exe\x9b31m\ud800"
M5 = timedelta(minutes=5)
DUE = Due(every=M5, stale_from=timedelta(minutes=16))


def cycle(number, state=CycleState.OK, **values):
    ended = None if state is CycleState.RUNNING else NOW - timedelta(seconds=30)
    own = {"cadence": "market", "rows": 1200, "jobs_failed": 0, "jobs_skipped": 0, "folder": "f", "jobs": {}}
    own |= {"started_at": NOW - timedelta(seconds=90), "finished_at": ended}
    return CycleInShort(**{**own, "cycle_id": number, "state": state, **values})


def failure(number, error="HTTP 500", **values):
    own = {"source": "okx", "dataset": "candles", "subject": "okx:BTC-USDT:perp", "at": NOW}
    return FailedJob(**{**own, "job_id": number, "error": error, **values})


def full(**values):
    """A picture with something in every section, and hostile text wherever a provider's words are shown."""
    own = {
        "at": NOW,
        "seen_at": NOW,
        "collecting": True,
        "stage": "120/400 jobs",
        "cycles": [cycle(9, CycleState.RUNNING), *(cycle(number) for number in range(8, 0, -1))],
        "progress": progress_of(
            [Done(source="okx", jobs_ok=40, jobs_failed=2, jobs_skipped=0, rows=4000, rejects=1)],
            {"okx": 80, "kraken": 20},
        ),
        "budgets": budgets_of([limit("okx", 10, 100), limit("kraken", 95, 100)]),
        "pauses": pauses_of([state("binance_futures", NOW + M5, HOSTILE, banned=True)], NOW),
        "freshness": freshness_of({}, {("okx", Dataset.CANDLES): DUE}, NOW, NOW - timedelta(hours=1)),
        "failures": [failure(number, HOSTILE) for number in range(30, 10, -1)],
        "alerts": [OpenAlert(rule="ban", subject="okx", severity="critical", detail=HOSTILE, since=NOW - M5)],
        "disk": Disk(database_bytes=4_400_000_000, free_bytes=61_000_000_000, total_bytes=None, spool_bytes=2048),
    }
    return Picture(**{**own, **values})


def limit(source, used, capacity, **values):
    return LimitInUse(
        **{"account": "address", "scope": "weight", "window_s": 60, **values},
        source=source,
        used=used,
        capacity=capacity,
    )


def state(source, until, reason="", *, banned=False, denied=False):
    return ProviderState(source=source, paused_until=until, reason=reason, banned=banned, denied=denied, updated_at=NOW)


def drawn(picture, width=80, height=24, **options):
    return [line.plain for line in draw(picture, width, height, **options)]


# --------------------------------------------------------------------------- what a picture says


def test_a_source_without_an_ended_job_is_shown_at_zero_of_what_the_last_cycle_had():
    rows = {row.source: (row.done, row.expected) for row in full().progress}
    assert rows == {"okx": (42, 80), "kraken": (0, 20)}


def test_the_most_used_limit_comes_first():
    assert [(row.source, row.share) for row in full().budgets] == [("kraken", 0.95), ("okx", 0.1)]


def test_a_pause_that_is_over_is_no_pause():
    states = [state("okx", NOW), state("kraken", None), state("coincap", NOW + M5, denied=True)]
    assert [(row.source, row.kind) for row in pauses_of(states, NOW)] == [("coincap", "denied")]


@pytest.mark.parametrize(
    ("last", "since", "stale"),
    [
        (NOW - timedelta(minutes=16), NOW - timedelta(days=9), False),
        (NOW - timedelta(minutes=16, seconds=1), NOW - timedelta(days=9), True),
        (None, NOW - timedelta(minutes=15), False),  # it may still come
        (None, NOW - timedelta(minutes=17), True),
        (None, None, False),  # no cycle has begun
    ],
)
def test_a_dataset_is_stale_when_it_is_older_than_it_may_be(last, since, stale):
    key = ("okx", Dataset.CANDLES)
    (row,) = freshness_of({} if last is None else {key: last}, {key: DUE}, NOW, since)
    assert row.stale is stale


def test_stale_is_what_the_alert_of_freshness_calls_so():
    """Hourly bars asked for every five minutes are new once an hour."""
    changes = {"COLLECTOR_SOURCES__OKX__DATASETS__CANDLES__INTERVALS": "1h, 1d", "COLLECTOR_ALERTS__STALE_AFTER": "2"}
    settings, _ = load_settings(environment=changes)
    key = ("okx", Dataset.CANDLES)
    for age, judged in ((timedelta(hours=2, minutes=1), False), (timedelta(hours=2, minutes=1, seconds=1), True)):
        (row,) = freshness_of({key: NOW - age}, {key: waited(settings)[key]}, NOW, None)
        vitals = replace(WELL, at=NOW, freshness={key: NOW - age})
        wanted = replace(expected(settings), datasets={key: expected(settings).datasets[key]})
        found = [item for item in look(vitals, settings.alerts, wanted).findings if item.rule == "freshness"]
        assert (row.stale, bool(found)) == (judged, judged)


def test_what_was_not_fetched_yet_is_not_called_fresh():
    keys = [("okx", Dataset.CANDLES), ("okx", Dataset.TICKERS)]
    rows = freshness_of({keys[0]: NOW}, dict.fromkeys(keys, DUE), NOW, NOW)
    text = "\n".join(drawn(full(freshness=rows)))
    assert "datasets: 1 not fetched yet of 2" in text
    assert "all fresh" not in text


def test_stale_datasets_come_before_fresh_ones():
    keys = [("okx", Dataset.CANDLES), ("okx", Dataset.TICKERS)]
    last = {keys[0]: NOW, keys[1]: NOW - timedelta(hours=1)}
    rows = freshness_of(last, dict.fromkeys(keys, DUE), NOW, NOW - timedelta(days=1))
    assert [(row.dataset, row.stale) for row in rows] == [("tickers", True), ("candles", False)]


# --------------------------------------------------------------------------- how it is drawn


@given(width=st.integers(1, 300), height=st.integers(1, 120), unicode=st.booleans(), keys=st.booleans())
def test_no_size_is_too_small_and_no_line_too_long(width, height, unicode, keys):
    lines = drawn(full(), width, height, unicode=unicode, keys=keys)
    assert 1 <= len(lines) <= height
    assert max(cell_len(line) for line in lines) <= width


def test_an_ordinary_terminal_shows_something_of_every_section():
    text = "\n".join(drawn(full()))
    for part in (
        "collecting",
        "CRITICAL ban",
        "cycle 9 market",
        "okx",
        "limits in use",
        "datasets: 1 stale",
        "last failures",
        "cycles",
        "q: quit",
    ):
        assert part in text, part
    assert "42/~80 jobs" in text


def test_a_wide_terminal_shows_two_columns_side_by_side():
    assert any("cycle 9" in line and "datasets:" in line for line in drawn(full(), 160, 30))


@pytest.mark.parametrize("width", [80, 200])
def test_no_control_byte_of_a_provider_reaches_the_terminal(width):
    text = "".join(drawn(full(away=HOSTILE), width, 50))
    assert [char for char in text if ord(char) < 32 or 127 <= ord(char) < 160 or char in "\u202e\ud800"] == []
    assert "bad?]0;owned" in text


def test_a_terminal_without_unicode_gets_ascii_only():
    lines = drawn(full(failures=[failure(1, "прайс — нет")]), unicode=False)
    assert all(line.isascii() for line in lines)


def test_an_absent_value_is_not_shown_as_zero():
    assert "free 61.0 GB of ?" in "\n".join(drawn(full(), 80, 60))
    nothing = progress_of([Done(source="okx", jobs_ok=1, jobs_failed=0, jobs_skipped=0, rows=0, rejects=0)], {})
    assert "1/? jobs" in "\n".join(drawn(full(progress=nothing)))


def test_what_is_hidden_on_a_small_screen_is_counted():
    titles = [line for line in drawn(full()) if "more)" in line]
    shown = len([line for line in drawn(full()) if "bad?" in line and "okx candles" in line])
    assert f"last failures ({20 - shown} more)" in titles


def test_a_database_that_is_away_is_said_and_the_age_of_the_rest_with_it():
    gone = full(away="connection refused", seen_at=NOW - timedelta(minutes=3), collecting=False)
    head = drawn(gone)[:2]
    assert "database away" in head[0]
    assert head[1] == "seen 3m ago; connection refused"


def test_simulated_data_is_marked_first():
    assert drawn(full(simulated=True))[0].startswith("SIMULATED ")


# --------------------------------------------------------------------------- lines for a pipe


def said(before, now):
    return [line.split(" ", 1)[1] for line in changes(before, now)]


def test_nothing_is_said_while_nothing_changes():
    assert said(full(), replace(full(), at=NOW + timedelta(seconds=2))) == []


def test_a_cycle_is_said_at_its_start_and_at_its_end():
    idle = Picture(at=NOW, seen_at=NOW, collecting=True, cycles=[cycle(8)])
    begun = replace(idle, cycles=[cycle(9, CycleState.RUNNING), cycle(8)])
    over = replace(idle, cycles=[cycle(9, CycleState.PARTIAL, jobs_failed=3), cycle(8)])
    assert said(idle, begun) == ["cycle 9 market started"]
    assert said(begun, over) == ["cycle 9 market partial after 60.0 s rows=1200 failed=3 skipped=0"]


def test_progress_failures_and_pauses_are_said_once():
    before = full(progress=[], failures=[failure(10)], pauses=[])
    lines = said(before, full(failures=[failure(12, "HTTP 418"), failure(11), failure(10)]))
    assert "cycle 9 market jobs=42/~100 rows=4000 failed=2" in lines
    assert [line for line in lines if line.startswith("failed:")] == [
        "failed: okx candles okx:BTC-USDT:perp: HTTP 500",
        "failed: okx candles okx:BTC-USDT:perp: HTTP 418",
    ]
    assert any(line.startswith("binance_futures banned for 5m") for line in lines)
    assert said(full(), full(pauses=[])) == ["binance_futures may be asked again"]


def test_a_database_that_goes_and_comes_back_is_said_twice():
    gone = full(away="no route", collecting=False)
    assert said(full(), gone) == ["database away: no route"]
    assert said(gone, gone) == []
    assert said(gone, full())[0] == "database is back"


def test_alerts_and_stale_data_are_said_when_they_begin_and_when_they_are_over():
    well = full(alerts=[], freshness=[])
    assert "stale: okx candles" in said(well, full())
    assert "fresh again: okx candles" in said(full(), well)
    assert "alert over: ban okx" in said(full(), well)


def test_a_pipe_gets_no_control_bytes_and_one_line_per_change():
    lines = changes(Picture(at=NOW), full())
    assert all(line.isprintable() for line in lines)
    assert any("alert critical ban okx: bad?]0;owned" in line for line in lines)


# --------------------------------------------------------------------------- words


@given(st.text())
def test_any_text_becomes_one_line_without_controls(text):
    assert [char for char in harmless(text) if unicodedata.category(char).startswith("C")] == []
    assert len(harmless(text).splitlines()) <= 1


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (14_800_000, "14.8 MB"), (271_000_000_000, "271 GB")],
)
def test_sizes_are_short(count, text):
    assert size(count) == text
    assert size(None) == "?"


def test_times_are_short():
    assert ago(None, NOW) == "never"
    assert ago(NOW - timedelta(hours=2, minutes=5, seconds=9), NOW) == "2h 5m"
    assert [window(seconds) for seconds in (1, 60, 300, 3600, 2_678_400)] == ["1s", "1m", "5m", "1h", "31d"]
