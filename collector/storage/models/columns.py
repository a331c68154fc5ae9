"""The words the tables are written in: column kinds with their comment, shared columns, and value checks."""

from typing import Any

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, DateTime, Double, Integer, MetaData, Numeric, Text

METADATA = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    }
)


def text(name: str, comment: str, *, null: bool = False) -> Column[str]:
    """Return a text column."""
    return Column(name, Text(), nullable=null, comment=comment)


def number(name: str, comment: str, *, null: bool = False) -> Column[object]:
    """Return an exact number: money, prices, sizes, rates."""
    return Column(name, Numeric(), nullable=null, comment=comment)


def real(name: str, comment: str) -> Column[float]:
    """Return a computed number; NULL where it cannot be computed."""
    return Column(name, Double(), nullable=True, comment=comment)


def whole(name: str, comment: str, *, null: bool = False, default: str | None = None) -> Column[int]:
    """Return a count or a number given by a sequence."""
    return Column(name, BigInteger(), nullable=null, autoincrement=False, server_default=default, comment=comment)


def small(name: str, comment: str, *, null: bool = False, default: str | None = None) -> Column[int]:
    """Return a count that stays small."""
    return Column(name, Integer(), nullable=null, autoincrement=False, server_default=default, comment=comment)


def flag(name: str, comment: str, *, null: bool = False, default: str | None = None) -> Column[bool]:
    """Return a truth value."""
    return Column(name, Boolean(), nullable=null, server_default=default, comment=comment)


def moment(name: str, comment: str, *, null: bool = False) -> Column[object]:
    """Return a moment; PostgreSQL stores it in UTC."""
    return Column(name, DateTime(timezone=True), nullable=null, comment=comment)


def instrument_id() -> Column[int]:
    """Return the short stand-in for an instrument's canonical id.

    No foreign key: checking it would cost more than the insert of a narrow row, and the writer, the only way in,
    takes every id from `instruments`.
    """
    return Column("instrument_id", Integer(), nullable=False, autoincrement=False, comment="instruments.instrument_id")


def provenance(observed: str = "time of the observation, by the provider's clock (UTC)") -> tuple[Column[Any], ...]:
    """Return the columns that every market row carries."""
    return (
        text("source", "who the value came from, e.g. coingecko, binance_futures"),
        moment("observed_at", observed),
        moment("received_at", "when we received it (UTC)"),
        whole("cycle_id", "the cycle that stored or last changed the row (cycles.cycle_id)"),
    )


# NaN is greater than Infinity for NUMERIC, so one upper bound refuses both.
def positive(*names: str) -> CheckConstraint:
    """Refuse zero, negative numbers, NaN and Infinity; NULL passes."""
    return CheckConstraint(" AND ".join(f"{name} > 0 AND {name} < 'Infinity'" for name in names), name="positive")


def not_negative(*names: str) -> CheckConstraint:
    """Refuse negative numbers, NaN and Infinity; NULL passes."""
    return CheckConstraint(" AND ".join(f"{name} >= 0 AND {name} < 'Infinity'" for name in names), name="not_negative")


def finite(*names: str) -> CheckConstraint:
    """Refuse NaN and both infinities; NULL passes."""
    condition = " AND ".join(f"{name} > '-Infinity' AND {name} < 'Infinity'" for name in names)
    return CheckConstraint(condition, name="finite")


def one_of(column: str, *values: str, name: str | None = None) -> CheckConstraint:
    """Allow only the named words (and NULL where the column allows it)."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=name or f"{column}_known")
