"""The settings of `bigquery`: what goes to BigQuery, and how."""

import re
from datetime import timedelta
from decimal import Decimal
from ipaddress import ip_address
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from collector.config.section import Section
from collector.config.values import PositiveDuration, Words

KNOWN_CONTENTS = ("derived", "raw")


def _name(pattern: str, example: str) -> AfterValidator:
    def check(value: str) -> str:
        if value and not re.fullmatch(pattern, value):
            raise ValueError(f"is no name that BigQuery takes; write it like {example}")
        return value

    return AfterValidator(check)


def _contents(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value or set(value) - set(KNOWN_CONTENTS):
        raise ValueError(f"takes one or both of {', '.join(KNOWN_CONTENTS)}")
    return value


def loopback(value: str) -> str:
    """Refuse an address that is not this machine's own: nothing is sent there without credentials."""
    if not value:
        return value
    parts = urlsplit(value)
    try:
        own = parts.scheme == "http" and ip_address(parts.hostname or "").is_loopback
    except ValueError:
        own = False
    if not own or parts.username or parts.path not in {"", "/"}:
        raise ValueError("is for tests on this machine only, as http://127.0.0.1:9050; leave it empty for BigQuery")
    return value.rstrip("/")


class BigQuerySettings(Section):
    """What goes to BigQuery, and how. Credentials are no settings: Google's libraries find them."""

    enabled: bool = Field(False, description="Whether rows are sent to BigQuery")
    project: Annotated[str, _name(r"([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]", "my-project-123")] = Field(
        "", description="Google Cloud project that holds the dataset and pays for the jobs"
    )
    dataset: Annotated[str, _name(r"\w{1,1024}", "crypto_market")] = Field(
        "crypto_market", min_length=1, description="Dataset of the tables; made when it is missing"
    )
    location: Annotated[str, _name(r"[A-Za-z0-9-]{2,40}", "EU or us-central1")] = Field(
        "US", min_length=1, description="Where the dataset is, as EU or us-central1; it can never be moved"
    )
    contents: Annotated[Words, AfterValidator(_contents)] = Field(
        KNOWN_CONTENTS, description="What is sent of each source: derived (rows), raw (answers), or both"
    )
    partitioning: Literal["day", "month"] = Field(
        "day", description="How new tables are cut by time; a day makes each MERGE cheapest"
    )
    buffer_size: int = Field(
        50_000, ge=1, le=5_000_000, description="Rows that wait for a batch to go, and the most that one load job takes"
    )
    buffer_age: PositiveDuration = Field(
        timedelta(minutes=15), description="How long the oldest row waits at most before a batch goes"
    )
    check_every: PositiveDuration = Field(timedelta(minutes=1), description="How often waiting rows are counted")
    full_look_every: PositiveDuration = Field(
        timedelta(hours=6), description="How often rows of all times are looked through for late ones and revisions"
    )
    timeout: PositiveDuration = Field(
        timedelta(minutes=5), description="Longest time of one step (upload, job) with its repetitions"
    )
    usd_per_tib: Decimal = Field(
        Decimal("6.25"), ge=0, le=1000, description="Price of one TiB processed, in USD, for the estimate"
    )
    endpoint: Annotated[str, AfterValidator(loopback)] = Field(
        "", description="Address of a test server on this machine, used without credentials; empty: BigQuery"
    )

    @model_validator(mode="after")
    def _has_project(self) -> Self:
        if self.enabled and not self.project:
            raise ValueError("needs a project, as project: my-project-123")
        return self
