"""The settings of `export`: scheduled exports to a folder or a bucket."""

from datetime import UTC, datetime
from typing import Literal, Self

from apscheduler.triggers.cron import CronTrigger
from pydantic import Field, model_validator

from collector.config.section import Section
from collector.config.values import CronLine, PositiveDuration, Words


class ExportSettings(Section):
    """Scheduled exports to a folder or a bucket."""

    enabled: bool = Field(False, description="Whether this is done")
    cron: CronLine = Field("25 1 * * *", description="When: a cron line of five fields, UTC")
    datasets: Words = Field(("candles", "funding_rates"), description="Which datasets, as in `export DATASET`")
    format: Literal["parquet", "csv", "jsonl"] = Field("parquet", description="parquet, csv or jsonl")
    target: str = Field("", description="Where to: a folder, or a URL that fsspec knows, as s3://bucket/prefix")
    endpoint_url: str = Field("", description="Address of an S3-compatible store; empty: that of Amazon")
    period: Literal["day", "month"] = Field("day", description="What one file holds: a day or a month (UTC)")
    back: PositiveDuration = Field("31d", validate_default=True, description="How far back periods are exported")
    again: PositiveDuration = Field(
        "3d", validate_default=True, description="Periods that ended less than this ago are exported anew: late rows"
    )

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if self.enabled and not self.target:
            raise ValueError("has no target; name a folder or a URL, as s3://bucket/prefix")
        if "@" in self.target.partition("://")[2].partition("/")[0]:
            raise ValueError("has a target with a password in it; credentials come from the usual places of the store")
        return self

    def next_turn(self, after: datetime) -> datetime:
        """Return the first turn of the cron line after a moment."""
        trigger = CronTrigger.from_crontab(self.cron, timezone=UTC)
        found: datetime | None = trigger.get_next_fire_time(after, after)
        return found or datetime.max.replace(tzinfo=UTC)
