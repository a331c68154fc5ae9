"""Tables against records: same columns, same keys, and an explanation on everything."""

import dataclasses

import pytest

from collector import records
from collector.records import Asset, InstrumentListing, Record
from collector.storage.models import INDICATORS, METADATA, TABLES
from collector.storage.timeseries import PARTITIONED

LISTED = {Asset, InstrumentListing}  # these have seen/gone times in place of observation and cycle


def stored_name(name):
    return "instrument_id" if name == "instrument" else name


def test_every_record_type_has_a_table():
    assert {kind for kind in vars(records).values() if isinstance(kind, type) and issubclass(kind, Record)} == {
        Record,
        *TABLES,
    }


@pytest.mark.parametrize("kind", [kind for kind in TABLES if kind not in LISTED])
def test_fields_and_columns_have_the_same_names(kind):
    fields = {stored_name(field.name) for field in dataclasses.fields(kind)}
    columns = {column.name for column in TABLES[kind].columns}
    not_stored = {"closed", "bids", "asks"}
    computed = ("bid_", "ask_", "best_", "spread_", "imbalance", "depth_", "reach_") if "bids" in fields else ()
    assert fields - columns <= not_stored
    assert {name for name in columns - fields if not (computed and name.startswith(computed))} == {"cycle_id"}


@pytest.mark.parametrize("kind", list(TABLES))
def test_the_natural_key_is_the_primary_key(kind):
    if kind is InstrumentListing:  # its natural key is unique; the short number is what other tables hold
        unique = [list(item.columns.keys()) for item in TABLES[kind].constraints if type(item).__name__[:2] == "Un"]
        assert unique == [["instrument"]]
    else:
        key = {column.name for column in TABLES[kind].primary_key.columns}
        assert key == {stored_name(name) for name in kind.KEY}


@pytest.mark.parametrize("kind", list(TABLES))
def test_a_column_may_be_null_exactly_where_a_field_may_be_none(kind):
    for field in dataclasses.fields(kind):
        column = TABLES[kind].columns.get(stored_name(field.name))
        if column is not None and kind is not InstrumentListing:
            assert column.nullable == ("None" in str(field.type)), field.name


@pytest.mark.parametrize("table", list(METADATA.tables.values()), ids=lambda table: table.name)
def test_every_table_and_column_explains_itself(table):
    assert table.comment
    assert [column.name for column in table.columns if not column.comment] == []


@pytest.mark.parametrize("table", list(METADATA.tables.values()), ids=lambda table: table.name)
def test_the_big_tables_and_no_others_are_cut_by_their_time(table):
    wanted = PARTITIONED.get(table.name)
    assert table.dialect_options["postgresql"]["partition_by"] == (wanted and f"RANGE ({wanted})")
    assert wanted is None or wanted in table.primary_key.columns


def test_indicator_columns_are_those_the_product_promises():
    promised = (
        "rsi_14 macd macd_signal macd_hist sma_20 sma_50 sma_200 ema_12 ema_26 ema_50 ema_200 bb_upper bb_middle "
        "bb_lower atr_14 adx_14 stoch_k stoch_d obv pivot pivot_r1 pivot_r2 pivot_r3 pivot_s1 pivot_s2 pivot_s3 "
        "swing_high swing_low fib_236 fib_382 fib_500 fib_618 fib_786"
    )
    own = "instrument_id interval open_time extra warm computed_at cycle_id"
    assert sorted(INDICATORS.columns.keys()) == sorted(f"{promised} {own}".split(" "))
