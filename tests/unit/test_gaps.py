"""What `gaps` says: of windows, of snapshots that are lost for good, and of cycles that died; as text and as values."""

import json
from datetime import timedelta

import pytest

from collector.coverage import HAS_NONE, Series, State, Window
from collector.errors import ConfigError
from collector.gaps import Gaps, as_json, bars_of, load_gaps, render, render_windows
from collector.records import Dataset, Interval
from collector.storage.losses import LostCycle, LostJobs
from tests.storage.samples import NOON

MINUTE = timedelta(minutes=1)
BARS = Series(instrument="okx:BTC-USDT:perp", dataset=Dataset.CANDLES, interval=Interval.M1)
WEEKS = Series(instrument="okx:BTC-USDT:perp", dataset=Dataset.CANDLES, interval=Interval.W1)
PAYMENTS = Series(instrument="okx:BTC-USDT:perp", dataset=Dataset.FUNDING)


def window(first, last, state=State.MISSING, **changes):
    values = {"since": NOON + first * MINUTE, "until": NOON + last * MINUTE, "source": "okx"}
    return Window(**{**values, "state": state, "reason": "HTTP 500", **changes})


def gaps(*windows, prefix="", snapshots=(), cycles=()):
    return Gaps(now=NOON, prefix=prefix, windows=windows, snapshots=snapshots, cycles=cycles)


def lines(found):
    return [line.split() for line in render(found).splitlines()]


def test_without_gaps_one_line_says_so():
    assert render(gaps()) == "gaps: 0 windows missing (0 bars), 0 that the provider does not have"


def test_every_window_is_told_exactly_with_its_reason_and_its_next_try():
    hole = window(5, 8, attempts=1, next_try_at=NOON + 9 * MINUTE)
    head, names, row = lines(gaps((BARS, hole)))
    assert " ".join(head) == "gaps: 1 windows missing (3 bars), 0 that the provider does not have"
    assert names[:2] == ["series", "from"]
    assert row == [
        *("okx:BTC-USDT:perp/1m", "2026-01-31", "12:05:00", "2026-01-31", "12:08:00", "3", "missing", "okx"),
        *("2026-01-31", "12:09:00", "HTTP", "500"),
    ]


def test_bars_are_counted_in_their_own_length_and_payments_not_at_all():
    week = window(0, 14 * 24 * 60)
    assert bars_of(WEEKS, week) == 2
    assert bars_of(PAYMENTS, week) is None
    first, second = render_windows([(WEEKS, week), (PAYMENTS, week)])[1:]
    assert first.split()[5] == "2"
    assert second.split()[5] == "-"
    assert "1 bars" not in render(gaps((PAYMENTS, week)))
    assert lines(gaps((WEEKS, week), (PAYMENTS, week)))[0][4] == "(2"


def test_what_is_waited_for_is_counted_apart_from_what_the_provider_lacks():
    none = window(10, 11, State.PROVIDER_HAS_NONE, reason=HAS_NONE)
    pending = window(20, 24, State.PENDING)
    text = render(gaps((BARS, window(5, 8)), (BARS, none), (BARS, pending)))
    assert text.startswith("gaps: 2 windows missing (7 bars), 1 that the provider does not have\n")
    (line,) = [line for line in text.splitlines() if "provider_has_none" in line]
    assert line.split()[8] == "-"  # nobody waits for it
    assert line.endswith(HAS_NONE)


def test_of_a_named_series_the_held_windows_are_shown_but_counted_as_no_gap():
    held = window(0, 5, State.OBSERVED, reason="")
    found = gaps((BARS, held), prefix="okx:BTC")
    assert render(found).startswith("gaps of okx:BTC: 0 windows missing (0 bars), 0")
    assert lines(found)[2][6:8] == ["observed", "okx"]


def test_lost_snapshots_and_dead_cycles_have_tables_of_their_own():
    jobs = LostJobs(
        source="okx",
        dataset="order_books",
        error="no answer within 15 s",
        cycles=[7, 8],
        first_at=NOON,
        last_at=NOON + 5 * MINUTE,
    )
    cycle = LostCycle(cycle_id=9, cadence="market", started_at=NOON + 10 * MINUTE)
    text = render(gaps(snapshots=[jobs], cycles=[cycle]))
    lost, dead = text.split("\n\n")[1:]
    assert lost.splitlines()[0] == "snapshots of the last 7 days that cannot be fetched again:"
    assert lost.splitlines()[2].split() == [
        *("okx", "order_books", "2", "2026-01-31", "12:00:00", "2026-01-31", "12:05:00"),
        *("no", "answer", "within", "15", "s"),
    ]
    assert dead.splitlines()[0] == "cycles of the last 7 days whose process died:"
    assert dead.splitlines()[2].split() == ["9", "market", "2026-01-31", "12:10:00"]


def test_the_same_as_json_for_programs():
    hole = window(5, 8, attempts=2, next_try_at=NOON + 9 * MINUTE)
    jobs = LostJobs(source="okx", dataset="tickers", error="HTTP 500", cycles=[7], first_at=NOON, last_at=NOON)
    cycle = LostCycle(cycle_id=9, cadence="market", started_at=NOON)
    found = as_json(gaps((BARS, hole), (PAYMENTS, window(0, 480)), snapshots=[jobs], cycles=[cycle]))
    tree = json.loads(json.dumps(found, default=str))
    first, second = tree["windows"]
    assert first == {
        "series": "okx:BTC-USDT:perp/1m",
        "since": "2026-01-31 12:05:00+00:00",
        "until": "2026-01-31 12:08:00+00:00",
        "bars": 3,
        "state": "missing",
        "source": "okx",
        "reason": "HTTP 500",
        "attempts": 2,
        "next_try_at": "2026-01-31 12:09:00+00:00",
        "sealed_months": [],
    }
    assert (second["series"], second["bars"], second["next_try_at"]) == ("okx:BTC-USDT:perp/funding", None, None)
    assert [(item["dataset"], item["cycles"]) for item in tree["snapshots"]] == [("tickers", [7])]
    assert tree["cycles"] == [{"cycle_id": 9, "cadence": "market", "started_at": "2026-01-31 12:00:00+00:00"}]


class Known:
    """A store with one series; notes what it was asked."""

    def __init__(self, windows=(), snapshots=()):
        self.held, self.asked_since = None, None
        self._windows, self._snapshots = windows, snapshots

    def windows(self, _prefix, *, held):
        self.held = held
        return list(self._windows)

    def lost_jobs(self, since, _prefix):
        self.asked_since = since
        return list(self._snapshots)

    def lost_cycles(self, _since):
        return []

    def sealed(self):
        return []


def test_without_a_name_only_holes_are_asked_for_and_the_ledger_goes_back_a_week():
    store = Known()
    assert load_gaps(store, "", NOON).windows == []
    assert (store.held, store.asked_since) == (False, NOON - timedelta(days=7))


def test_a_name_that_nothing_begins_with_is_refused_in_words():
    with pytest.raises(ConfigError, match="okx:NO: no series begins like this; names are like okx:BTC-USDT:perp/1m"):
        load_gaps(Known(), "okx:NO", NOON)


def test_a_name_of_which_only_snapshots_are_lost_is_known():
    jobs = LostJobs(source="okx", dataset="tickers", error="x", cycles=[7], first_at=NOON, last_at=NOON)
    assert load_gaps(Known(snapshots=[jobs]), "okx:BTC", NOON).snapshots == [jobs]
