"""The scheduled backup: when it is due, and what it says."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from collector.backups import Backups, backups_in
from collector.clock import ManualClock
from collector.config.backups import BackupSettings
from collector.errors import CollectorError, StorageUnavailable
from tests.backups.samples import put

SETTINGS = BackupSettings(enabled=True, cron="40 2 * * *")
TWO = datetime(2026, 3, 11, 2, 0, tzinfo=UTC)


def chore(wish, database=None, settings=SETTINGS):
    return Backups(settings, wish, database, ManualClock(TWO))


def test_the_first_one_is_due_at_once(wish):
    assert chore(wish).due(TWO)


def test_the_next_one_is_due_at_the_turn_after_the_newest(wish):
    put(wish.folder, TWO - timedelta(days=1))  # before yesterday's turn: one was missed
    assert chore(wish).due(TWO)
    put(wish.folder, TWO - timedelta(hours=1))
    fresh = chore(wish)
    assert not fresh.due(TWO)
    assert not fresh.due(TWO + timedelta(minutes=39))
    assert fresh.due(TWO + timedelta(minutes=40))


def test_one_that_is_not_verified_does_not_count_where_it_should_be(wish):
    put(wish.folder, TWO - timedelta(hours=1), verified=False)
    assert chore(wish).due(TWO)
    assert not chore(replace(wish, verify=False)).due(TWO)


def test_it_makes_one_and_is_not_due_again_before_the_next_turn(wish, filled):
    clock = ManualClock(TWO)
    made = Backups(SETTINGS, replace(wish, verify=False), filled, clock)
    assert made.due(clock.now())
    said = made.run(clock.now())
    assert said["verified"] is False
    assert said["rows"] > 0
    (stored,) = backups_in(wish.folder)
    assert (stored.path.name, stored.manifest.created_at) == (said["backup"], TWO)
    assert not made.due(TWO + timedelta(minutes=39))
    assert made.due(TWO + timedelta(minutes=41))


def test_one_made_by_hand_meanwhile_is_enough(wish):
    waiting = chore(wish)
    put(wish.folder, TWO - timedelta(days=2))
    assert waiting.due(TWO)
    put(wish.folder, TWO - timedelta(minutes=1))
    assert waiting.run(TWO) == {}
    assert not waiting.due(TWO)


def test_one_that_failed_is_tried_again_after_half_an_hour_and_not_at_once(wish, filled):
    failing = Backups(SETTINGS, replace(wish, free_bytes=1 << 60), filled, ManualClock(TWO))
    assert failing.due(TWO)
    with pytest.raises(StorageUnavailable) as caught:
        failing.run(TWO)
    assert isinstance(caught.value, CollectorError)
    assert not failing.due(TWO + timedelta(minutes=29))
    assert failing.due(TWO + timedelta(minutes=30))


def test_turns_are_in_utc_whatever_the_moment_s_zone():
    assert SETTINGS.next_turn(TWO) == datetime(2026, 3, 11, 2, 40, tzinfo=UTC)
    assert SETTINGS.next_turn(TWO + timedelta(minutes=40)) == datetime(2026, 3, 12, 2, 40, tzinfo=UTC)
