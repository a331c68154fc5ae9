"""`gaps` and `backfill` as a person uses them: what they print, where, and their exit status."""

import re
import signal
from datetime import timedelta

import pytest

from collector.clock import SystemClock
from tests.acceptance.program import NOBODY, wait_until

SERIES = "okx:BTC-USDT:perp/1m"
# The same program with a daemon that heals, which the schedule has to leave room for.
HEALING = {"COLLECTOR_HTTP__HEALING_PCT": "10", "COLLECTOR_CADENCES__MARKET__EVERY": "5s"}


@pytest.fixture(scope="module")
def collected(install, venues):
    """A program that has run one cycle."""
    program = install(venues.base_urls)
    assert program.run("once").status == 0
    return program


def hours_ago(hours):
    now = SystemClock().now().replace(minute=0, second=0, microsecond=0)
    return (now - timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M")


def test_after_a_good_cycle_every_series_is_one_observed_window(collected):
    states = collected.rows(
        "SELECT state, count(*), count(DISTINCT (instrument_id, interval)) FROM coverage GROUP BY 1"
    )
    assert [state for state, *_ in states] == ["observed"]
    assert states[0][1] == states[0][2] == 8 * 3
    result = collected.run("gaps")
    assert result.status == 0
    assert "gaps: 0 windows missing (0 bars), 0 that the provider does not have" in result.out


def test_gaps_of_a_series_show_all_its_windows_as_text_and_as_json(collected):
    result = collected.run("gaps", SERIES)
    assert re.search(rf"{re.escape(SERIES)}  .* 250 +observed +okx", result.out)
    (window,) = collected.run("gaps", SERIES, "--json").json["windows"]
    assert (window["series"], window["bars"], window["state"], window["reason"]) == (SERIES, 250, "observed", "")


def test_a_series_that_does_not_exist_is_refused_in_one_line(collected):
    result = collected.run("gaps", "okx:NOPE")
    assert result.status == 2
    assert "no series begins like this" in result.complaint


def test_a_deleted_bar_is_found_by_a_rescan_and_fetched_by_backfill(collected):
    collected.rows(
        "DELETE FROM candles c USING instruments i WHERE i.instrument_id = c.instrument_id AND c.interval = '1m' "
        "AND i.instrument = 'okx:BTC-USDT:perp' AND c.open_time = (SELECT min(open_time) + interval '7 min' "
        "FROM candles d WHERE d.instrument_id = c.instrument_id AND d.interval = '1m')"
    )
    found = collected.run("gaps", "--rescan", "--json").json["windows"]
    assert [(item["series"], item["bars"], item["state"]) for item in found] == [(SERIES, 1, "missing")]
    result = collected.run("backfill", SERIES, "--from", found[0]["since"][:19].replace(" ", "T"), "--to", hours_ago(0))
    assert result.status == 0, result.err
    assert "1 rows stored or changed" in result.out
    assert collected.run("gaps", "--json").json["windows"] == []


def test_backfill_fetches_further_back_and_shows_how_far_it_is(collected):
    result = collected.run("backfill", SERIES, "--from", hours_ago(60), "--to", hours_ago(20))
    assert result.status == 0, result.err
    assert "(100 %)" in result.err
    assert "bars/s" in result.err
    assert f"{SERIES}: 2,400 rows stored or changed" in result.out
    assert collected.cycles()[-1] == ("backfill", "ok")
    again = collected.run("backfill", SERIES, "--from", hours_ago(60), "--to", hours_ago(20))
    assert (again.status, "0 rows stored" in again.out) == (0, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["okx:BTC-USDT:perp", "--from", "2026-01-01"], "names no series; write it like okx:BTC-USDT:perp/1m"),
        ([SERIES, "--from", "yesterday"], "--from: 'yesterday' is no date"),
        (["okx:NO-NO:perp/1m", "--from", "2026-01-01"], "no such instrument is known"),
        (
            [SERIES, "--from", "2026-01-02", "--to", "2026-01-01"],
            "--from: 2026-01-02 is after --to 2026-01-01; swap them",
        ),
        (
            [SERIES, "--from", "2026-01-01", "--source", "nowhere"],
            "--source: 'nowhere' is no source that is enabled; use",
        ),
        (
            [SERIES, "--from", "2026-01-01", "--source", "coingecko"],
            "the same as okx:BTC-USDT:perp/1m; use one of okx, b",
        ),
    ],
)
def test_a_range_that_cannot_be_meant_is_refused_in_one_line(collected, words, said):
    result = collected.run("backfill", *words)
    assert result.status == 2
    assert said in result.complaint


def test_ends_that_cannot_be_had_are_said_in_a_line_each(collected):
    result = collected.run("backfill", "okx:BTC-USDT:perp/1w", "--from", "0001-01-01", "--to", "2999-01-01")
    assert result.status == 0, result.err
    first, second, *progress = result.err.splitlines()
    assert re.fullmatch(r"collector: --from 0001-01-01 00:00 UTC: fetched from 20.* UTC on, the listing of .*", first)
    assert re.fullmatch(r"collector: --to 2999-01-01 .* is in the future: fetched to 20.*, the last bar .*", second)
    assert all(line.startswith("okx:BTC-USDT:perp/1w  ") for line in progress)


def test_a_provider_that_is_away_is_told_window_by_window(collected):
    words = ["backfill", SERIES, "--from", hours_ago(100), "--to", hours_ago(99)]
    away = {f"COLLECTOR_SOURCES__{name.upper()}__BASE_URL": address for name, address in NOBODY.items()}
    result = collected.run(*words, **away)
    assert result.status == 1
    assert re.search(rf"{re.escape(SERIES)} .* 60 +missing +okx", result.out)
    assert collected.run(*words).status == 0


def rows_of(program):
    return program.value(
        "SELECT count(*) FROM candles JOIN instruments USING (instrument_id) "
        "WHERE instrument = 'okx:BTC-USDT:perp' AND interval = '1m'"
    )


def waiting(program):
    return program.value("SELECT count(*) FROM coverage WHERE state IN ('missing', 'pending')")


def test_a_backfill_that_was_killed_goes_on_ends_soon_by_ctrl_c_and_is_taken_back_by_another(collected):
    words = ["backfill", SERIES, "--from", hours_ago(24 * 300)]
    before = rows_of(collected)
    with collected.running(*words) as first:
        wait_until(lambda: rows_of(collected) > before, "rows of the first")
        first.kill()
    wait_until(  # until the server has seen that nobody holds it any more
        lambda: not collected.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"), "the writer's lock"
    )
    kept = rows_of(collected)
    with collected.running(*words) as second:
        wait_until(lambda: rows_of(collected) > kept, "rows of the second")
        second.send(signal.SIGINT)
        wait_until(lambda: "Ctrl+C within 3 s takes it back" in second.err, "the offer", 5)
        assert waiting(collected) > 0
        assert second.stop(signal.SIGINT, within_s=5) == 130
        told = re.search(r"/1m: ([\d,]+) rows stored or changed\nstopped; the same command goes on", second.err)
        assert int(told[1].replace(",", "")) == rows_of(collected) - kept
        assert re.search(r"taken back: [\d,]+ bars are not asked for any more\n$", second.err)
    assert waiting(collected) == 0
    assert collected.rows("SELECT cadence, state FROM cycles ORDER BY cycle_id DESC LIMIT 2") == [
        ("backfill", "partial"),
        ("backfill", "abandoned"),
    ]


def test_a_range_left_to_a_daemon_is_counted_and_can_be_taken_back(collected):
    with collected.running("run", **HEALING) as daemon:
        wait_until(lambda: "cadence=market state=ok" in daemon.err, "the daemon's first cycle")
        refused = collected.run("backfill", SERIES, "--from", hours_ago(9), "--source", "nowhere", **HEALING)
        assert (refused.status, "--source: 'nowhere' is no source" in refused.complaint) == (2, True)
        words = ["backfill", SERIES, "--from", hours_ago(24 * 400), "--to", hours_ago(24 * 400 - 2)]
        result = collected.run(*words, **HEALING)
        assert (result.status, result.out) == (
            0,
            f"{SERIES}: 120 rows stored since this command began, by the collector at work\n",
        )
        assert "Ctrl+C ends this display, twice takes the range back" in result.err
        with collected.running("backfill", SERIES, "--from", hours_ago(24 * 1500), **HEALING) as display:
            wait_until(lambda: " bars (" in display.err, "the display")
            display.send(signal.SIGINT)
            wait_until(lambda: "Ctrl+C within 3 s takes it back" in display.err, "the offer", 5)
            assert display.stop(signal.SIGINT, within_s=5) == 130
            assert "taken back: " in display.err
        wait_until(lambda: not waiting(collected), "the end of what was under way")
        assert daemon.alive()
        assert daemon.stop() == 0
