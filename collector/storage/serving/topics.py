"""What a topic is: columns with their form, where they come from, what they are ordered and chosen by (no I/O).

Statements are made of the fixed texts in here; what a client sends is only ever bound as a value.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sqlalchemy import ARRAY, BigInteger, Boolean, DateTime, Double, Integer, Numeric, Table, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeEngine

from collector.records import Dataset


class Form(StrEnum):
    """What the values of a column are."""

    TEXT = "text"
    NUMBER = "number"  # exact decimal
    REAL = "real"  # computed
    WHOLE = "whole"
    FLAG = "flag"
    MOMENT = "moment"
    JSON = "json"  # read as text
    TEXTS = "texts"
    NUMBERS = "numbers"  # exact decimals


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One value of a row; `sql` reads it."""

    name: str
    form: Form
    sql: str
    null: bool = False
    comment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A part of what rows are ordered by. `column` names the column that shows it to its last digit; empty: none."""

    sql: str
    form: Form
    column: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """One table (or the newest rows of one) as it is read in pages.

    `{inside}` in `origin` stands for the conditions, the order and the limit, where each source gives its newest rows.
    """

    name: str
    origin: str  # what follows FROM
    columns: Sequence[Column]
    keys: Sequence[Key]  # natural key, in the order of an index
    filters: Mapping[str, str] = field(default_factory=dict)  # parameter -> condition
    needs: Sequence[str] = ()  # parameters without which no index could be used
    always: Sequence[str] = ()  # conditions
    time: str = ""  # what `since` and `until` bound; empty: nothing
    time_end: str = ""  # for windows: their ends, so that those are found that overlap
    newest_first: bool = True
    dataset: Dataset | None = None  # how often it should change; None: nobody can say
    as_of: str = ""  # column that tells the age of a row
    latest: bool = False  # one row of each subject, the newest
    chosen: bool = False  # columns can be chosen
    most_rows: int = 0  # of a page; 0: as configured

    @property
    def bars(self) -> bool:
        """Return whether rows are bars of an interval."""
        return "interval" in self.needs

    def column(self, name: str) -> Column:
        """Return a column by its name."""
        return next(column for column in self.columns if column.name == name)


_FORMS: Sequence[tuple[type[TypeEngine[Any]], Form]] = (
    (Text, Form.TEXT),
    (Double, Form.REAL),  # before Numeric, whose kind it is
    (Numeric, Form.NUMBER),
    (BigInteger, Form.WHOLE),
    (Integer, Form.WHOLE),
    (Boolean, Form.FLAG),
    (DateTime, Form.MOMENT),
    (JSONB, Form.JSON),
)
FIRST = ("interval", "open_time", "funding_time", "observed_at")
LAST = ("source", "received_at", "computed_at", "cycle_id")


def form_of(kind: TypeEngine[Any]) -> Form:
    """Return the form of a column type of `models`."""
    if isinstance(kind, ARRAY):
        return Form.TEXTS if form_of(kind.item_type) is Form.TEXT else Form.NUMBERS
    return next(form for sort, form in _FORMS if isinstance(kind, sort))


def columns_of(table: Table, *, without: Sequence[str] = (), alias: str = "t") -> list[Column]:
    """Return the columns of a table in its own order, with the database's own comments."""
    return [
        Column(
            name=str(column.name),  # SQLAlchemy's own kind of text is no key for JSON
            form=form_of(column.type),
            sql=f"{alias}.{column.name}",
            null=bool(column.nullable),
            comment=(column.comment or "").replace("NULL", "null"),
        )
        for column in table.columns
        if column.name not in without
    ]


def as_read(columns: Sequence[Column]) -> list[Column]:
    """Return columns as a person reads them: when, the values, then where they came from."""
    by_name = {column.name: column for column in columns}
    first = [by_name[name] for name in FIRST if name in by_name]
    last = [by_name[name] for name in LAST if name in by_name]
    return [*first, *(column for column in columns if column.name not in FIRST + LAST), *last]


def plain(name: str, form: Form, comment: str, *, sql: str = "", null: bool = False) -> Column:
    """Return a column that is in no table as it is."""
    return Column(name=name, form=form, sql=sql or f"t.{name}", null=null, comment=comment)
