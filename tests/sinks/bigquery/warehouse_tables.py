"""The tables and jobs of a warehouse on this machine: BigQuery's schemas and SQL, executed by DuckDB."""

import base64
import itertools
import json
import re
import threading
from datetime import UTC, datetime
from decimal import Decimal

import duckdb
import pyarrow as pa
import sqlglot
from sqlglot import expressions as sql

STORED = {
    "STRING": pa.string(),
    "BIGNUMERIC": pa.string(),  # wider than any of DuckDB's decimals: kept as its canonical text
    "FLOAT": pa.float64(),
    "INTEGER": pa.int64(),
    "BOOLEAN": pa.bool_(),
    "TIMESTAMP": pa.timestamp("us", tz="UTC"),
    "JSON": pa.string(),
    "BYTES": pa.binary(),
}
DIGITS = 38


class Refused(Exception):
    """What the warehouse answers with instead of doing it."""

    def __init__(self, status, reason, message):
        super().__init__(message)
        self.status, self.reason, self.message = status, reason, message


class Warehouse:
    """Datasets, tables and jobs. Several threads may use it; each call is one step."""

    def __init__(self):
        self.datasets, self.tables, self.jobs = {}, {}, {}
        self.executed = []  # (kind, job id) of every job that did its work, in order
        self.next_polls = 0  # how often the next job is looked at before it is done
        self.next_failure = None  # the reason that the next job fails with
        self._database = duckdb.connect()
        self._run("SET TimeZone = 'UTC'")
        self._lock = threading.RLock()
        self._numbers = itertools.count(1)

    def _run(self, statement):
        """Execute a statement to its end and return its rows."""
        return self._database.execute(statement).fetchall()

    # ------------------------------------------------------------------ datasets and tables

    def get_dataset(self, dataset):
        with self._lock:
            if dataset not in self.datasets:
                raise Refused(404, "notFound", f"Not found: Dataset {dataset}")
            return self.datasets[dataset]

    def insert_dataset(self, resource):
        with self._lock:
            name = resource["datasetReference"]["datasetId"]
            if name in self.datasets:
                raise Refused(409, "duplicate", f"Already Exists: Dataset {name}")
            self.datasets[name] = resource
            return resource

    def get_table(self, name):
        with self._lock:
            if name not in self.tables:
                raise Refused(404, "notFound", f"Not found: Table {name}")
            return {**self.tables[name], "numRows": str(self.count(name)), "numBytes": str(100 * self.count(name))}

    def insert_table(self, resource):
        with self._lock:
            name, place = resource["tableReference"]["tableId"], resource["tableReference"]["datasetId"]
            self.get_dataset(place)
            if name in self.tables:
                raise Refused(409, "duplicate", f"Already Exists: Table {name}")
            columns = ", ".join(f"{quote(field['name'])} {kind(field)}" for field in resource["schema"]["fields"])
            self._run(f"CREATE TABLE {quote(name)} ({columns})")
            self.tables[name] = resource
            return resource

    def patch_table(self, name, resource):
        with self._lock:
            old = {field["name"]: field for field in self.get_table(name)["schema"]["fields"]}
            new = {field["name"]: field for field in resource["schema"]["fields"]}
            if set(old) - set(new) or any(new[column]["type"] != old[column]["type"] for column in old):
                raise Refused(400, "invalid", "Provided Schema does not match: a column was dropped or changed")
            for column in [column for column in new if column not in old]:
                if new[column].get("mode") == "REQUIRED":
                    raise Refused(400, "invalid", f"Cannot add required column {column}")
                self._run(f"ALTER TABLE {quote(name)} ADD COLUMN {quote(column)} {kind(new[column])}")
            self.tables[name] = {**self.tables[name], "schema": resource["schema"]}
            return self.get_table(name)

    def delete_table(self, name):
        with self._lock:
            self.get_table(name)
            del self.tables[name]
            self._run(f"DROP TABLE {quote(name)}")

    def count(self, name):
        with self._lock:
            return self._run(f"SELECT count(*) FROM {quote(name)}")[0][0]

    def rows(self, name):
        """All rows of a table as mappings, without what is NULL or an empty list."""
        with self._lock:
            if name not in self.tables:
                return []
            cursor = self._database.execute(f"SELECT * FROM {quote(name)}")
            names = [column[0] for column in cursor.description]
            found = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        return [{key: value for key, value in row.items() if value is not None and value != []} for row in found]

    def query(self, statement, name):
        """Run a statement in BigQuery's words on one table; for tests to look and to disturb."""
        with self._lock:
            return self._run(in_duckdb(statement.replace("TABLE", f"`{name}`")))

    # ------------------------------------------------------------------ jobs

    def insert_job(self, resource, body=None):
        """Take a job; its work is done when it has been looked at often enough. 409 when there is one of its name."""
        with self._lock:
            configuration = resource["configuration"]
            if configuration.get("dryRun"):
                return self._dry_run(resource)
            number = resource["jobReference"].get("jobId") or f"job_{next(self._numbers)}"
            if number in self.jobs:
                raise Refused(409, "duplicate", f"Already Exists: Job {number}")
            job = {
                **resource,
                "kind": "bigquery#job",
                "id": f"p:US.{number}",
                "status": {"state": "RUNNING"},
                "statistics": {"creationTime": "1"},
            }
            self.jobs[number] = {"resource": job, "body": body, "polls": self.next_polls, "fails": self.next_failure}
            self.next_polls, self.next_failure = 0, None
            if not self.jobs[number]["polls"]:
                self._finish(number)
            return job

    def get_job(self, number):
        with self._lock:
            if number not in self.jobs:
                raise Refused(404, "notFound", f"Not found: Job {number}")
            job = self.jobs[number]
            if job["resource"]["status"]["state"] != "DONE":
                job["polls"] -= 1
                if job["polls"] <= 0:
                    self._finish(number)
            return job["resource"]

    def _finish(self, number):
        job = self.jobs[number]
        resource, body = job["resource"], job["body"]
        try:
            if job["fails"]:
                raise Refused(500, job["fails"], "it was told to fail")
            if "load" in resource["configuration"]:
                self._load(resource["configuration"]["load"], body)
            else:
                resource["statistics"]["query"] = self._merge(resource["configuration"]["query"]["query"])
                resource["statistics"]["totalBytesProcessed"] = resource["statistics"]["query"]["totalBytesProcessed"]
        except (Refused, duckdb.Error, sqlglot.ParseError) as error:
            told = {"reason": getattr(error, "reason", "invalidQuery"), "message": str(error)}
            resource["status"] = {"state": "DONE", "errorResult": told, "errors": [told]}
        else:
            resource["status"] = {"state": "DONE"}
            self.executed.append(("load" if "load" in resource["configuration"] else "merge", number))

    def _load(self, configuration, body):
        name = configuration["destinationTable"]["tableId"]
        self.get_table(name)
        if configuration["writeDisposition"] != "WRITE_TRUNCATE":
            raise Refused(400, "invalid", "only WRITE_TRUNCATE is spoken here")
        fields = configuration["schema"]["fields"]
        rows = [json.loads(line, parse_float=Decimal) for line in body.splitlines()]
        known = {field["name"] for field in fields}
        for row in rows:
            if set(row) - known:
                raise Refused(400, "invalid", f"No such field: {min(set(row) - known)}")
        columns = {field["name"]: arrow(field, [row.get(field["name"]) for row in rows]) for field in fields}
        loaded = pa.table(columns)
        self._database.register("loaded", loaded)
        self._run("BEGIN")
        self._run(f"DELETE FROM {quote(name)}")
        names = ", ".join(map(quote, columns))
        self._run(f"INSERT INTO {quote(name)} ({names}) SELECT {names} FROM loaded")
        self._run("COMMIT")
        self._database.unregister("loaded")

    def _merge(self, statement):
        tree = sqlglot.parse_one(statement, read="bigquery")
        target, source = (table.name for table in list(tree.find_all(sql.Table))[:2])
        self.get_table(target)
        self.get_table(source)
        keys = [item.left.name for item in tree.args["on"].find_all(sql.EQ) if item.right.table == "S"]
        doubled = f"SELECT 1 FROM {quote(source)} GROUP BY {', '.join(map(quote, keys))} HAVING count(*) > 1"
        if self._run(doubled):
            raise Refused(400, "invalidQuery", "MERGE must match at most one source row for each target row")
        changed = self._run(in_duckdb(tree))[0][0]
        processed = 100 * (self.count(target) + self.count(source))
        return {"totalBytesProcessed": str(processed), "numDmlAffectedRows": str(changed), "statementType": "MERGE"}

    def _dry_run(self, resource):
        statement = resource["configuration"]["query"]["query"]
        tables = [table.name for table in sqlglot.parse_one(statement, read="bigquery").find_all(sql.Table)]
        processed = str(100 * sum(self.count(name) for name in tables if self.get_table(name)))
        query = {"totalBytesProcessed": processed, "statementType": "MERGE"}
        statistics = {"totalBytesProcessed": processed, "query": query}
        return {**resource, "status": {"state": "DONE"}, "statistics": statistics}


def quote(name):
    return '"' + name.replace('"', '""') + '"'


def kind(field):
    names = {"STRING": "VARCHAR", "BIGNUMERIC": "VARCHAR", "JSON": "VARCHAR", "FLOAT": "DOUBLE", "INTEGER": "BIGINT"}
    found = {**names, "BOOLEAN": "BOOLEAN", "TIMESTAMP": "TIMESTAMPTZ", "BYTES": "BLOB"}[field["type"]]
    return f"{found}[]" if field.get("mode") == "REPEATED" else found


def arrow(field, values):
    repeated = field.get("mode") == "REPEATED"
    read = [[value_of(field, item) for item in row or ()] if repeated else value_of(field, row) for row in values]
    stored = STORED[field["type"]]
    return pa.array(read, pa.list_(stored) if repeated else stored)


def value_of(field, value):
    """A value as it is stored; what the column cannot take is refused, as BigQuery does."""
    if value is None:
        return None
    try:
        return READERS[field["type"]](value)
    except (ValueError, TypeError, ArithmeticError) as error:
        raise Refused(400, "invalid", f"Could not parse {value!r} as {field['type']} for {field['name']}") from error


def exact(value):
    """The canonical text of a number, as a BIGNUMERIC gives it back: without zeros behind."""
    text = format(Decimal(value), "f")
    whole, _, places = text.lstrip("-").partition(".")
    whole, places = whole.lstrip("0"), places.rstrip("0")
    if len(whole) > DIGITS or len(places) > DIGITS:
        raise ValueError(text)
    sign = "-" if text.startswith("-") and (whole or places) else ""
    return f"{sign}{whole or '0'}{'.' if places else ''}{places}"


def _string(value):
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _moment(value):
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z", value):
        raise ValueError(value)
    return datetime.fromisoformat(value).astimezone(UTC)


READERS = {
    "STRING": _string,
    "BIGNUMERIC": exact,
    "FLOAT": float,
    "INTEGER": int,
    "BOOLEAN": bool,
    "TIMESTAMP": _moment,
    "JSON": lambda value: json.dumps(value, sort_keys=True, default=float),
    "BYTES": base64.b64decode,
}


def in_duckdb(statement):
    """A statement in BigQuery's words as DuckDB understands it; a table's name is its last part."""
    tree = sqlglot.parse_one(statement, read="bigquery") if isinstance(statement, str) else statement.copy()
    for table in list(tree.find_all(sql.Table)):
        plain = sql.Table(this=sql.to_identifier(table.name, quoted=True))
        table.replace(sql.alias_(plain, table.alias, table=True) if table.alias else plain)
    return tree.sql("duckdb", identify=True)
