"""The settings of `alerts`: what is told to whom when something is wrong."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Any, Self
from zoneinfo import ZoneInfo

from apscheduler.triggers.cron import CronTrigger
from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator

from collector.config.section import Section
from collector.config.values import LONGEST_EVERY, PositiveDuration, Words

MOST_TURNS_READ = 2000  # of a cron line: those of a week, if it comes every five minutes


def _time_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (LookupError, ValueError, OSError) as error:
        raise ValueError("is no time zone; write UTC or a name as Europe/Berlin") from error
    return value


def _hour(value: str) -> str:
    if value and not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", value):
        raise ValueError("is no time of day; write 22:30")
    return value


def _address(value: SecretStr) -> SecretStr:
    if value.get_secret_value() and not re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", value.get_secret_value()):
        raise ValueError("is no address; write tgram://..., mailtos://..., json://..., or file:///path/alerts.jsonl")
    return value


def _http_address(value: SecretStr) -> SecretStr:
    if value.get_secret_value() and not re.match(r"https?://[^/\s]+", value.get_secret_value()):
        raise ValueError("is no http(s) address; write https://hc-ping.com/...")
    return value


def _name(value: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,30}", value):
        raise ValueError("is no name of a target; use lower-case letters, digits and _, at most 31")
    return value


HourOfDay = Annotated[str, AfterValidator(_hour)]
TargetName = Annotated[str, AfterValidator(_name)]


class TargetSettings(Section):
    """One place where alerts go."""

    url: Annotated[SecretStr, AfterValidator(_address)] = Field(
        SecretStr(""), description="Address as Apprise spells it, or file:///path/alerts.jsonl; a secret"
    )

    @model_validator(mode="before")
    @classmethod
    def _address_alone(cls, value: Any) -> Any:
        """Let an address stand for the group that has it, so that no message about a wrong form ever shows it."""
        return value if isinstance(value, Mapping | TargetSettings) else {"url": str(value)}


class PingSettings(Section):
    """The dead man's switch: an address that is called as long as all is well."""

    url: Annotated[SecretStr, AfterValidator(_http_address)] = Field(
        SecretStr(""),
        description="Called (GET) after each look that found the collector at work; empty: none; a secret",
    )


class QuietSettings(Section):
    """Hours in which only what is critical is told."""

    since: HourOfDay = Field("", description="Time of day from which it is quiet, as 22:30; empty: never")
    until: HourOfDay = Field("", description="Time of day until which it is quiet, as 07:00")
    time_zone: Annotated[str, AfterValidator(_time_zone)] = Field(
        "UTC", description="Time zone of both, as Europe/Berlin"
    )
    critical: bool = Field(True, description="Whether critical alerts are told at once all the same")

    @model_validator(mode="after")
    def _both(self) -> Self:
        if bool(self.since) != bool(self.until) or (self.since and self.since == self.until):
            raise ValueError("needs two different times, as since: 22:30 and until: 07:00, or none")
        return self

    def hours(self) -> tuple[time, time] | None:
        """Return both times; None when it is never quiet."""
        return (time.fromisoformat(self.since), time.fromisoformat(self.until)) if self.since else None


class AlertSettings(Section):
    """What is told to whom when something is wrong."""

    enabled: bool = Field(True, description="Whether the rules are looked at; what fires is logged and stored")
    targets: dict[TargetName, TargetSettings] = Field(
        {}, description="Where alerts go, by a name of your own; empty: nowhere"
    )
    every: PositiveDuration = Field(timedelta(minutes=1), description="Time between two looks")
    fire_after: int = Field(2, ge=1, le=100, description="Looks in a row that must find it before it is told")
    clear_after: int = Field(
        3, ge=1, le=100, description="Looks in a row that must not find it before it is over; more when it flaps"
    )
    remind_after: PositiveDuration = Field(
        timedelta(hours=12), description="Time after which what still lasts is told again"
    )
    quiet: QuietSettings = Field(QuietSettings(), description="Hours in which only what is critical is told")
    ping: PingSettings = Field(PingSettings(), description="The dead man's switch")
    self_test_every: PositiveDuration = Field(
        timedelta(days=1), description="Time between two test alerts that go the whole way to every target"
    )
    without: Words = Field((), description="Rules that are not looked at, as freshness, disk_horizon")
    stale_after: float = Field(
        3.0, ge=1, le=100, description="Age of a dataset, in times of how often it is collected, at which it is stale"
    )
    silent_after: PositiveDuration = Field(
        timedelta(minutes=15), description="Time without any cycle after which the collector is silent, if that is due"
    )
    overrun_after: PositiveDuration = Field(
        timedelta(minutes=5), description="Time beyond its deadline after which a running cycle is overrunning"
    )
    failing_pct: float = Field(
        50.0, gt=0, le=100, description="Share of failed jobs of the last hour at which a source is failing, percent"
    )
    missing_pct: float = Field(
        5.0, gt=0, le=100, description="Share of the last day's bars of a venue whose lack is told, percent"
    )
    divergent_subjects: int = Field(
        3, ge=1, description="Instruments or assets of a source that diverge within an hour, so that it is told"
    )
    rejected_pct: float = Field(
        5.0, gt=0, le=100, description="Share of refused rows of the last hour that is told, percent"
    )
    disk_days: float = Field(14.0, gt=0, description="Days left of free disk below which it is told")
    disk_free_mb: int = Field(2048, ge=0, description="Free disk in MB below which it is critical")
    backup_age: PositiveDuration = Field(
        timedelta(days=2), description="Age of the newest backup that is told, where backups are enabled"
    )
    sink_lag: PositiveDuration = Field(timedelta(hours=1), description="Lag of a sink that is told")
    keep: PositiveDuration = Field(timedelta(days=90), description="How long what is over is kept")

    @field_validator("targets", mode="before")
    @classmethod
    def _one_address(cls, value: Any) -> Any:
        """Let one address stand for a target of the name `default`, so that no message ever shows it."""
        return value if isinstance(value, Mapping) else {"default": str(value)}

    def addresses(self) -> Mapping[str, str]:
        """Return the address of each target that has one. They are secrets."""
        found = {name: target.url.get_secret_value() for name, target in self.targets.items()}
        return {name: url for name, url in found.items() if url}


def longest_gap(line: str) -> timedelta:
    """Return the longest time between two turns of a cron line, of two months or of the first MOST_TURNS_READ turns."""
    trigger = CronTrigger.from_crontab(line, timezone=UTC)
    start = at = trigger.get_next_fire_time(None, datetime(2026, 1, 1, tzinfo=UTC))
    longest = timedelta(0)
    for _ in range(MOST_TURNS_READ):
        following = trigger.get_next_fire_time(at, at)
        if following is None or following - start > 2 * LONGEST_EVERY:
            break
        longest, at = max(longest, following - at), following
    return longest or LONGEST_EVERY
