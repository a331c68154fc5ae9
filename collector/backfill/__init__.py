"""Backfill: fetches a range of one series, here and now or through the collector that works on the database."""

from collector.backfill.beside import follow, refuse_source
from collector.backfill.direct import CADENCE, Backfill
from collector.backfill.ranges import Bounded, Offer, Outcome, Request, bounded, is_waited_for, whom, windows_of

__all__ = [
    "CADENCE",
    "Backfill",
    "Bounded",
    "Offer",
    "Outcome",
    "Request",
    "bounded",
    "follow",
    "is_waited_for",
    "refuse_source",
    "whom",
    "windows_of",
]
