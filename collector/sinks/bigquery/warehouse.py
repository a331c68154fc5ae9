"""BigQuery through Google's own client: tables as they have to be, and jobs that are done exactly once.

A job has a name that follows from what it does. One that was sent before, whose answer got lost or whose sender died,
is found by its name (409) and waited for, never done again. A job that failed leaves its name used up; the next try
has the next number behind the name.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import IO, Any, TypeVar

from google.api_core.client_options import ClientOptions
from google.api_core.exceptions import Conflict, NotFound
from google.api_core.retry import Retry
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from collector.clock import Clock
from collector.config.bigquery import BigQuerySettings, loopback
from collector.errors import SinkError
from collector.sinks.bigquery.batch import Batch
from collector.sinks.bigquery.errors import WarehouseDown, of_job, passes, translated
from collector.sinks.bigquery.shape import KEY, SAME_TYPE, SENT_AT, Column, Shape, quoted

STAGED_FOR = timedelta(days=1)  # then BigQuery deletes a staging table that nobody did
_TRIES = 3  # of a job that fails for passing reasons, within one turn
_SHORT_S, _LONG_S = 1.0, 20.0  # pauses between tries
_POLL_S = (0.25, 5.0)  # pauses between two looks at a job
_ONCE = Retry(predicate=lambda _: False)  # the library repeats nothing by itself: `_call` does
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What a batch cost."""

    loaded: int  # bytes uploaded
    merged: int  # bytes that MERGE processed


class Warehouse:
    """One dataset of BigQuery; for one thread. Raises SinkError and its kinds, and nothing else on purpose."""

    def __init__(self, settings: BigQuerySettings, clock: Clock, *, first_pause_s: float = _SHORT_S) -> None:
        """Connect nothing yet. `first_pause_s` is the pause before the first repetition; each later one is longer."""
        self._settings, self._clock = settings, clock
        self._first_pause_s = first_pause_s
        self._made: bigquery.Client | None = None
        self._timeout_s = settings.timeout.total_seconds()

    def table_id(self, name: str) -> str:
        """Return a table's whole name."""
        return f"{self._settings.project}.{self._settings.dataset}.{name}"

    def close(self) -> None:
        """Close the connections."""
        if self._made is not None:
            self._made.close()  # type: ignore[no-untyped-call]

    # ------------------------------------------------------------------ tables

    def ensure(self, name: str, shape: Shape) -> bool:
        """Make the dataset and a table when they are missing, add columns that are; return whether it was made.

        Nothing is ever dropped, and columns that are not ours are left alone. Raises SinkError naming the column when
        one of ours has another type there.
        """
        doing = f"look at {name}"
        with translated(doing):
            try:
                table = self._call(lambda: self._client().get_table(self.table_id(name), retry=_ONCE, timeout=30))
            except NotFound:
                self._make(name, shape)
                return True
            wanted = (*shape.columns, SENT_AT)
            missing = _missing(name, wanted, table.schema)
            if missing:
                table.schema = [*table.schema, *map(_field, missing)]
                self._call(lambda: self._client().update_table(table, ["schema"], retry=_ONCE, timeout=30))
        return False

    def _make(self, name: str, shape: Shape) -> None:
        client = self._client()
        place = bigquery.Dataset(f"{self._settings.project}.{self._settings.dataset}")
        place.location = self._settings.location
        try:
            self._call(lambda: client.get_dataset(place.reference, retry=_ONCE, timeout=30))
        except NotFound:
            self._call(lambda: client.create_dataset(place, exists_ok=True, retry=_ONCE, timeout=30))
        table = bigquery.Table(self.table_id(name), schema=[_field(column) for column in (*shape.columns, SENT_AT)])
        kinds = bigquery.TimePartitioningType
        cut = kinds.DAY if self._settings.partitioning == "day" else kinds.MONTH
        table.time_partitioning = bigquery.TimePartitioning(type_=cut, field="row_time")
        table.clustering_fields = list(shape.clustering)
        table.description = shape.comment
        self._call(lambda: client.create_table(table, exists_ok=True, retry=_ONCE, timeout=30))

    # ------------------------------------------------------------------ batches

    def send(self, name: str, shape: Shape, batch: Batch, *, job: str, at: datetime) -> Sent:
        """Load a batch and merge it into a table; done when this returns, and only then.

        `job` names what is done. Rows that were read later than `at` are left as they are: a MERGE that was sent long
        ago and runs late changes nothing.
        """
        staging = f"_staging_{name}_{job[:16]}"
        file, size = batch.finished()
        self._stage(staging, shape)
        self._load(staging, shape, file, size, f"{name}_load_{job}")
        query = merge_sql(self.table_id(name), self.table_id(staging), shape, batch.ranges(), at)
        merged = self._done(f"merge into {name}", f"{name}_merge_{job}", lambda number: self._query(query, number))
        with translated(f"delete {staging}"):
            self._call(
                lambda: self._client().delete_table(self.table_id(staging), not_found_ok=True, retry=_ONCE, timeout=30)
            )
        return Sent(loaded=size, merged=int(merged.total_bytes_processed or 0))

    def merge_bytes(self, name: str, shape: Shape, ranges: Sequence[tuple[datetime, datetime]], at: datetime) -> int:
        """Return how many bytes a MERGE of rows of these days would process, by BigQuery's own estimate (dry run)."""
        staging = f"_staging_{name}_estimate"
        self._stage(staging, shape)
        query = merge_sql(self.table_id(name), self.table_id(staging), shape, ranges, at)
        config = bigquery.QueryJobConfig(dry_run=True, use_query_cache=False)
        with translated(f"estimate a MERGE into {name}"):
            found = self._call(
                lambda: self._client().query(query, job_config=config, location=self._settings.location, retry=_ONCE)
            )
        return int(found.total_bytes_processed or 0)

    def _stage(self, staging: str, shape: Shape) -> None:
        table = bigquery.Table(self.table_id(staging), schema=[_field(column) for column in shape.columns])
        table.expires = self._clock.now() + STAGED_FOR
        with translated(f"make {staging}"):
            self._call(lambda: self._client().create_table(table, exists_ok=True, retry=_ONCE, timeout=30))

    def _load(self, staging: str, shape: Shape, file: IO[bytes], size: int, job: str) -> None:
        config = bigquery.LoadJobConfig(
            source_format=bigquery.SourceFormat.NEWLINE_DELIMITED_JSON,
            schema=[_field(column) for column in shape.columns],
            write_disposition=bigquery.WriteDisposition.WRITE_TRUNCATE,
        )

        def submit(number: str) -> Any:
            return self._client().load_table_from_file(
                file,
                self.table_id(staging),
                rewind=True,
                size=size,
                num_retries=0,
                job_id=number,
                location=self._settings.location,
                job_config=config,
                timeout=self._timeout_s,
            )

        self._done(f"load {staging}", job, submit, still_there=lambda: self._has_rows(staging))

    def _query(self, query: str, number: str) -> Any:
        return self._client().query(
            query, job_id=number, location=self._settings.location, retry=_ONCE, timeout=30, job_retry=None
        )

    def _has_rows(self, staging: str) -> bool:
        """Return whether a staging table holds what an earlier load put there; it is made anew when it is gone."""
        found = self._call(lambda: self._client().get_table(self.table_id(staging), retry=_ONCE, timeout=30))
        return bool(found.num_rows)

    # ------------------------------------------------------------------ jobs

    def _done(
        self, doing: str, name: str, submit: Callable[[str], Any], still_there: Callable[[], bool] = lambda: True
    ) -> Any:
        """Have a job done and return it. `still_there`: whether what one of earlier left is still there."""
        number, tries = 0, 0
        while True:
            with translated(doing):
                job, before = self._submitted(submit, f"{name}_{number}")
                error = self._awaited(job, doing)
                if error is None and (not before or still_there()):
                    return job
            number += 1
            if error is None or before:
                continue  # its name is used up: take the next one
            tries += 1
            found = of_job(error, doing)
            if not isinstance(found, WarehouseDown) or tries == _TRIES:
                raise found
            self._clock.sleep(min(self._first_pause_s * 2**tries, _LONG_S))

    def _submitted(self, submit: Callable[[str], Any], number: str) -> tuple[Any, bool]:
        """Return the job of a name, and whether it was there before; otherwise send it."""
        sent = 0

        def send() -> tuple[Any, bool]:
            nonlocal sent
            sent += 1
            try:
                return submit(number), False
            except Conflict:
                known = self._client().get_job(number, location=self._settings.location, retry=_ONCE, timeout=30)
                return known, sent == 1  # at the second try it is ours: only the answer got lost

        return self._call(send)

    def _awaited(self, job: Any, doing: str) -> Any:
        """Wait for a job; return its error, None when it was done well."""
        until, pause = self._clock.monotonic() + self._timeout_s, _POLL_S[0]
        while job.state != "DONE":
            if self._clock.monotonic() > until:
                raise WarehouseDown(f"{doing}: the job {job.job_id} still runs; it is looked for at the next turn")
            self._clock.sleep(min(pause, self._first_pause_s))
            pause = min(pause * 2, _POLL_S[1])
            self._call(lambda: job.reload(retry=_ONCE, timeout=30))
        return job.error_result

    def _call(self, function: Callable[[], _Value]) -> _Value:
        """Call once, and again with growing pauses while it fails for passing reasons, for `timeout` at most."""
        policy = Retry(
            predicate=passes,
            initial=self._first_pause_s,
            maximum=_LONG_S,
            multiplier=2.0,
            timeout=self._timeout_s,
        )
        return policy(function)()

    def _client(self) -> bigquery.Client:
        """Return the client. Without credentials it speaks to this machine only, whatever the settings say."""
        if self._made is None:
            chosen: dict[str, Any] = {}
            if self._settings.endpoint:
                options = ClientOptions(api_endpoint=loopback(self._settings.endpoint))
                chosen = {"credentials": AnonymousCredentials(), "client_options": options}  # type: ignore[no-untyped-call]
            with translated("find Google credentials"):
                self._made = bigquery.Client(project=self._settings.project, location=self._settings.location, **chosen)
        return self._made


def _field(column: Column) -> bigquery.SchemaField:
    return bigquery.SchemaField(column.name, column.type, mode=column.mode, description=column.comment)


def _missing(name: str, wanted: Iterable[Column], there: Sequence[bigquery.SchemaField]) -> list[Column]:
    """Return our columns that a table does not have; raise SinkError for one that is of another type."""
    known = {field.name.lower(): field for field in there}  # names are the same in any case
    missing = []
    for column in wanted:
        field = known.get(column.name.lower())
        if field is None:
            missing.append(column)
            continue
        theirs = SAME_TYPE.get(field.field_type, field.field_type)
        if theirs != column.type or (field.mode == "REPEATED") != (column.mode == "REPEATED"):
            raise SinkError(
                f"{name}.{column.name} is {field.mode} {theirs} in BigQuery and {column.mode} {column.type} here: "
                "rename that column there, or name another dataset in bigquery.dataset"
            )
    return missing


def merge_sql(
    target: str, staging: str, shape: Shape, ranges: Sequence[tuple[datetime, datetime]], at: datetime
) -> str:
    """Return the MERGE of a staging table; the ranges let BigQuery read the partitions of these days only."""
    days = " OR ".join(f"(T.`row_time` >= {_moment(start)} AND T.`row_time` < {_moment(end)})" for start, end in ranges)
    same = " AND ".join(f"T.`{name}` = S.`{name}`" for name in KEY)
    values = [name for name in shape.names if name not in KEY]
    sets = ", ".join([*(f"`{name}` = S.`{name}`" for name in values), f"`{SENT_AT.name}` = {_moment(at)}"])
    return (
        f"MERGE `{target}` AS T USING `{staging}` AS S ON {same} AND ({days}) "
        f"WHEN MATCHED AND (T.`{SENT_AT.name}` IS NULL OR T.`{SENT_AT.name}` <= {_moment(at)}) "
        f"THEN UPDATE SET {sets} "
        f"WHEN NOT MATCHED THEN INSERT ({quoted([*shape.names, SENT_AT.name])}) "
        f"VALUES ({quoted(shape.names, 'S.')}, {_moment(at)})"
    )


def _moment(value: datetime) -> str:
    return f"TIMESTAMP '{value:%Y-%m-%d %H:%M:%S.%f}+00'"


__all__ = ["Sent", "Warehouse", "merge_sql"]
