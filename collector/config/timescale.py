"""The settings of `timescale`: what `db timescale enable` sets up where the server has TimescaleDB."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from collector.config.section import Section
from collector.config.values import Intervals
from collector.records import Interval

AGGREGATED = (Interval.M5, Interval.M15, Interval.H1, Interval.H4, Interval.D1)
# New rows are recognised by the transaction that wrote them, which compressed rows do not keep; the rows of a weekly
# bar are new for up to 15 days after its start, and a cycle may be told of an hour late.
YOUNGEST_COMPRESSED = 21


class TimescaleSettings(Section):
    """What `db timescale enable` sets up where the server has TimescaleDB."""

    chunk_days: int = Field(30, ge=1, le=366, description="Length of a hypertable's pieces, in days")
    compress_after_days: int = Field(
        45, ge=YOUNGEST_COMPRESSED, description="Age in days from which rows are compressed; older rows stay writable"
    )
    drop_after_days: dict[str, Annotated[int, Field(ge=YOUNGEST_COMPRESSED)]] = Field(
        {}, description="Table and age in days from which TimescaleDB deletes its rows for good; others are kept"
    )
    aggregates: Intervals = Field(
        AGGREGATED, description="Candles that are also worked out from 1m candles, as views candles_5m ... candles_1d"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        wrong = [str(interval) for interval in self.aggregates if interval not in AGGREGATED]
        if wrong:
            known = ", ".join(map(str, AGGREGATED))
            raise ValueError(f"aggregates: {', '.join(wrong)} cannot be worked out from 1m candles; use {known}")
        return self
