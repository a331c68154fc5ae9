"""The address of the disk: what the tables take and grow, what is free, and for how many days that lasts."""

import shutil
from datetime import datetime
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from collector.api.v1.formats import TYPES, tagged
from collector.api.v1.pages import AWAY, US, Pages, unavailable
from collector.api.v1.schemas import one_model, responses_of
from collector.clock import iso
from collector.storage.serving import DiskUse, disk_use, server_folder

_EXAMPLE = {
    "database_bytes": 5_368_709_120,
    "tables": [
        {
            "table": "order_books",
            "total_bytes": 3_221_225_472,
            "rows": 2_592_000,
            "bytes_a_day": 107_374_182.4,
            "how": "size of its partitions of this and last month over the days collected in them",
        }
    ],
    "free_bytes": 85_899_345_920,
    "capacity_bytes": 214_748_364_800,
    "free_unknown": "",
    "bytes_a_day": 142_606_336.0,
    "days_left": 602.3,
    "days_left_unknown": "",
    "first_cycle_at": "2026-01-01T00:00:05.000Z",
    "last_cycle_at": "2026-01-31T12:00:05.000Z",
}


class Nothing(BaseModel):
    """No parameters."""

    model_config = ConfigDict(extra="forbid")


class TableRow(BaseModel):
    """What one table takes."""

    table: str = Field(description="Its name")
    total_bytes: int = Field(description="With its indexes, its out-of-line values and all of its partitions")
    rows: int | None = Field(description="Rows as the server last counted them; null before it did")
    bytes_a_day: float | None = Field(description="By how much it grows, estimated; null: not known or not counted")
    how: str = Field(description="Where that estimate comes from, or why there is none")


class DiskRow(BaseModel):
    """What everything takes, and what is left."""

    database_bytes: int = Field(description="The whole database")
    tables: list[TableRow] = Field(description="Its tables, the largest first")
    free_bytes: int | None = Field(description="Free where the database is stored; null when that cannot be told")
    capacity_bytes: int | None = Field(description="Size of that file system; null when that cannot be told")
    free_unknown: str = Field(description="Why it cannot be told; empty when it is")
    bytes_a_day: float | None = Field(description="Growth of all counted tables, estimated; null when one is not known")
    days_left: float | None = Field(description="Days until the free space is used up at that rate; null: not known")
    days_left_unknown: str = Field(description="Why that is not known; empty when it is")
    first_cycle_at: datetime | None = Field(description="Start of the first cycle (UTC); null: none")
    last_cycle_at: datetime | None = Field(description="Start of the newest cycle (UTC); null: none")


def add(router: APIRouter, pages: Pages) -> None:
    """Add the address."""

    @router.get(
        "/disk",
        name="v1Disk",
        summary="Disk use by table, free space and days left",
        response_model=one_model("DiskAnswer", DiskRow),
        responses=responses_of(_EXAMPLE, paged=False),
    )
    def disk(_query: Annotated[Nothing, Query()], request: Request) -> Response:
        """Nothing is measured by reading rows; what cannot be told is null, with the reason."""
        now = pages.parts.clock.now()
        told = {
            "data": _row(pages),
            "source": [US],
            "as_of": iso(now),
            "stale": False,
            "simulated": pages.parts.simulated,
        }
        return tagged(orjson.dumps(told), {"Content-Type": TYPES["json"]}, request)


def _row(pages: Pages) -> dict[str, Any]:
    try:
        use = disk_use(pages.parts.database)
        folder, reason = str(pages.parts.data_folder), ""
        if pages.parts.data_folder is None:
            found, reason = server_folder(pages.parts.database)
            folder = found or ""
    except AWAY as error:
        raise unavailable() from error
    free, capacity = None, None
    if folder:
        free, capacity, reason = _space(folder)
    return {**_tables(use), "free_bytes": free, "capacity_bytes": capacity, "free_unknown": reason, **_left(use, free)}


def _space(folder: str) -> tuple[int | None, int | None, str]:
    """Return the free bytes and all bytes of the file system of a folder, or why they are not known."""
    try:
        space = shutil.disk_usage(folder)
    except OSError:
        return None, None, "the folder of the database cannot be looked at from here"
    return space.free, space.total, ""


def _tables(use: DiskUse) -> dict[str, Any]:
    rows = [
        {
            "table": table.table,
            "total_bytes": table.total_bytes,
            "rows": table.rows,
            "bytes_a_day": table.bytes_a_day,
            "how": table.how,
        }
        for table in use.tables
    ]
    moments = {"first_cycle_at": use.first_cycle_at, "last_cycle_at": use.last_cycle_at}
    told = {name: None if moment is None else iso(moment) for name, moment in moments.items()}
    return {"database_bytes": use.database_bytes, "tables": rows, **told}


def _left(use: DiskUse, free: int | None) -> dict[str, Any]:
    missing = [table for table in use.tables if table.missing]
    rate = None if missing else sum(table.bytes_a_day or 0.0 for table in use.tables)
    days, reason = None, ""
    if missing:
        reason = f"the growth of {missing[0].table} is {missing[0].how}"
    elif free is None:
        reason = "the free space is not known"
    elif not rate:
        reason = "nothing grows"
    else:
        days = free / rate
    return {"bytes_a_day": rate, "days_left": days, "days_left_unknown": reason}
