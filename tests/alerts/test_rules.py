"""The rules: what each finds, at the bound, one step before it, and when nothing can be told."""

from dataclasses import replace

import pytest

from collector.alerts import rules
from collector.config.alerts import AlertSettings
from collector.records import Dataset
from collector.storage.vitals import Doubt, SinkVitals, Work
from tests.alerts.vitals_samples import (
    DAY,
    DISK,
    EXPECTED,
    HELD,
    HOUR,
    LIMITS,
    MARKET,
    MINUTE,
    NOW,
    OKX,
    WELL,
    source,
)


def found(vitals, limits=LIMITS, expected=EXPECTED):
    return {(item.rule, item.subject): item for item in rules.look(vitals, limits, expected).findings}


def silent(minutes, **changes):
    old = NOW - minutes * MINUTE
    return replace(WELL, cadences=[replace(MARKET, last_started_at=old, last_finished_at=old)], **changes)


def test_a_healthy_collector_has_no_findings():
    assert found(WELL) == {}


def test_every_rule_of_the_table_has_a_sample_here_that_makes_it_fire():
    fired = {rule for vitals in FIRING for rule, _ in found(vitals)}
    assert fired == set(rules.RULES)


FIRING = [
    silent(60),
    replace(WELL, cadences=[replace(MARKET, running_since=NOW - 10 * MINUTE)]),
    replace(WELL, freshness={("okx", Dataset.TICKERS): NOW - HOUR}),
    source(failing="no answer"),
    source(banned=True, paused_until=NOW + HOUR, reason="stop"),
    source(recent=replace(OKX.recent, rejects=500)),
    replace(WELL, doubts=[Doubt(source="okx", dataset="tickers", kind="divergence", rows=9, subjects=3)]),
    replace(WELL, coverage=[replace(HELD, recent_missing_s=86_400.0)]),
    replace(WELL, disk=replace(DISK, days_left=10.0)),
    replace(WELL, backup_at=NOW - 3 * DAY),
    replace(WELL, sinks=[SinkVitals(sink="bigquery", source="okx", lag_s=7200.0)]),
]


def test_a_collector_is_silent_only_after_the_set_time_and_two_of_its_shortest_cadences():
    assert found(silent(15)) == {}
    assert ("collector_silent", "-") in found(silent(15.1))
    hourly = replace(EXPECTED, cadences={"market": HOUR}, datasets={})
    assert found(silent(119), expected=hourly) == {}
    assert ("collector_silent", "-") in found(silent(121), expected=hourly)


@pytest.mark.parametrize(("collecting", "words"), [(True, "its process lives"), (False, "its process is gone")])
def test_a_hung_collector_and_a_dead_one_are_told_apart(collecting, words):
    assert words in found(silent(60, collecting=collecting))["collector_silent", "-"].detail


def test_a_cycle_that_runs_is_a_sign_of_life():
    assert found(replace(silent(60), cadences=[replace(MARKET, running_since=NOW - MINUTE)])) == {}


def test_a_database_without_cycles_is_not_called_silent():
    assert found(replace(WELL, cadences=[], first_cycle_at=None, freshness={})) == {}


def test_what_follows_from_a_silent_collector_is_neither_told_nor_taken_back():
    look = rules.look(replace(silent(60), freshness={}), LIMITS, EXPECTED)
    assert {item.rule for item in look.findings} == {"collector_silent"}
    assert not look.judged & rules.CONSEQUENCES
    assert not rules.alive(look)


def test_a_clock_that_went_back_makes_nothing_old():
    assert found(replace(WELL, at=NOW - DAY)) == {}


def test_a_dead_collector_does_not_overrun():
    running = [replace(MARKET, running_since=NOW - 10 * MINUTE)]
    assert found(replace(WELL, cadences=running, collecting=False)) == {}
    assert found(replace(WELL, cadences=[replace(MARKET, running_since=NOW - 9 * MINUTE)])) == {}


def test_a_dataset_is_stale_after_three_of_its_periods_and_a_minute():
    allowed = {("okx", Dataset.TICKERS): NOW - 16 * MINUTE}
    assert found(replace(WELL, freshness=allowed)) == {}
    late = {("okx", Dataset.TICKERS): NOW - 16.1 * MINUTE}
    assert "16m" in found(replace(WELL, freshness=late))["freshness", "okx/tickers"].detail


def test_a_dataset_that_never_came_counts_from_the_first_cycle():
    assert found(replace(WELL, freshness={}, first_cycle_at=NOW - 10 * MINUTE)) == {}
    assert "never came" in found(replace(WELL, freshness={}))["freshness", "okx/tickers"].detail


def test_half_of_the_jobs_failing_is_a_failing_source_but_not_of_a_few():
    half = found(source(recent=Work(jobs_ok=5, jobs_failed=5)))
    assert "50 % of 10 jobs" in half["source_failing", "okx"].detail
    assert found(source(recent=Work(jobs_ok=51, jobs_failed=49))) == {}
    assert found(source(recent=Work(jobs_ok=0, jobs_failed=4))) == {}


def test_a_banned_source_is_banned_and_not_also_failing():
    both = found(source(failing="no answer", banned=True, paused_until=NOW + HOUR, reason="stop"))
    assert list(both) == [("source_banned", "okx")]
    assert both["source_banned", "okx"].detail == "banned for another 1h: stop"


def test_a_short_pause_is_no_ban_and_a_long_one_is_told():
    assert found(source(paused_until=NOW + 10 * MINUTE)) == {}
    assert "paused" in found(source(paused_until=NOW + 11 * MINUTE))["source_banned", "okx"].detail


def test_a_ban_that_is_over_is_none():
    assert found(source(banned=True, paused_until=NOW)) == {}


def test_rejects_count_by_their_share_and_from_twenty_on():
    assert found(source(recent=Work(rows=380, rejects=20)))["rejects", "okx"].detail.startswith("20 of 400 rows")
    assert found(source(recent=Work(rows=381, rejects=20))) == {}
    assert found(source(recent=Work(rows=0, rejects=19))) == {}


def test_the_commonest_reason_of_rejects_is_named():
    vitals = replace(
        source(recent=Work(rows=1, rejects=30)),
        rejects={("okx", "negative"): 3, ("okx", "off_grid"): 27, ("kraken", "no_time"): 99},
    )
    assert found(vitals)["rejects", "okx"].detail.endswith("most for off_grid")


def test_a_single_diverging_price_and_jumps_are_not_told():
    few = [Doubt(source="okx", dataset="tickers", kind="divergence", rows=99, subjects=2)]
    jumps = [Doubt(source="okx", dataset="tickers", kind="jump", rows=99, subjects=50)]
    assert found(replace(WELL, doubts=[*few, *jumps])) == {}


def test_old_holes_and_a_late_bar_are_not_gap_growth():
    assert found(replace(WELL, coverage=[replace(HELD, missing_s=9e9, holes=4000)])) == {}
    assert found(replace(WELL, coverage=[replace(HELD, recent_held_s=600.0, recent_missing_s=300.0)])) == {}
    grown = found(replace(WELL, coverage=[replace(HELD, recent_held_s=9500.0, recent_missing_s=500.0)]))
    assert grown["gap_growth", "okx/1m"].detail.startswith("5.0 %")


def test_funding_has_no_interval_and_is_named_by_its_dataset():
    funding = replace(HELD, dataset="funding", interval="", recent_missing_s=864_000.0)
    assert list(found(replace(WELL, coverage=[funding]))) == [("gap_growth", "okx/funding")]


@pytest.mark.parametrize(
    ("days", "free", "severity"),
    [
        (14.0, 10**11, None),
        (13.9, 10**11, "warning"),
        (1.9, 10**11, "critical"),
        (None, 2048000000, None),
        (1000.0, 2047999999, "critical"),
        (None, None, None),
        (0.0, None, None),
    ],
)
def test_disk_warns_by_days_and_is_critical_near_the_floor(days, free, severity):
    vitals = replace(WELL, disk=replace(DISK, days_left=days, free_bytes=free))
    assert [item.severity for item in found(vitals).values()] == ([severity] if severity else [])


def test_a_missing_backup_counts_from_the_first_cycle_and_only_where_backups_are_made():
    assert "none yet" in found(replace(WELL, backup_at=None))["backup_age", "-"].detail
    assert found(replace(WELL, backup_at=None, first_cycle_at=NOW - DAY)) == {}
    assert found(replace(WELL, backup_at=None), expected=replace(EXPECTED, backups=False)) == {}


def test_a_sink_that_is_switched_off_or_has_nothing_yet_does_not_lag():
    lag = [SinkVitals(sink="bigquery", source="okx", lag_s=7200.0)]
    assert found(replace(WELL, sinks=lag), expected=replace(EXPECTED, sinks=frozenset())) == {}
    assert found(replace(WELL, sinks=[SinkVitals(sink="bigquery", source="okx", lag_s=None)])) == {}


def test_rules_can_be_left_out_and_what_they_found_before_is_then_over():
    look = rules.look(silent(60), AlertSettings(without=("collector_silent", "freshness")), EXPECTED)
    assert look.findings == ()
    assert {"collector_silent", "freshness"} <= look.judged


def test_without_the_database_only_that_is_told():
    look = rules.database_away("connection refused")
    assert [(item.rule, item.severity) for item in look.findings] == [("database_away", "critical")]
    assert look.judged == {"database_away"}
    assert not rules.alive(look)


def test_a_thousand_things_at_once_are_a_thousand_findings():
    many = {("okx", str(number)): 5 * MINUTE for number in range(1000)}
    assert len(found(WELL, expected=replace(EXPECTED, datasets=many))) == 1000
