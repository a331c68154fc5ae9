"""Readers of provider JSON: exact numbers, and PayloadError with a path for anything else."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.errors import PayloadError
from collector.parsing import Fields, decode_json, objects, rows, to_decimal, to_integer, to_iso_time, to_millis_time


def test_fractions_keep_every_digit_of_the_text():
    document = decode_json(b'{"a": 0.10000000000000000555, "b": 9.04e-07, "c": 3, "d": "1.50"}')
    fields = Fields(document)
    assert fields.decimal("a") == Decimal("0.10000000000000000555")
    assert fields.decimal("b") == Decimal("0.000000904")
    assert fields.decimal("c") == 3
    assert str(fields.decimal("d")) == "1.50"


@pytest.mark.parametrize(
    "body", [b'{"a": NaN}', b'{"a": Infinity}', b'{"a": -Infinity}', b'{"a": 1e400}', b"", b"{", b"\xff\xfe"]
)
def test_a_document_that_is_not_plain_json_is_a_payload_error(body):
    with pytest.raises(PayloadError):
        decode_json(body)


def test_brackets_nested_without_end_are_a_payload_error():
    with pytest.raises(PayloadError):
        decode_json(b"[" * 200_000)


def test_an_integer_of_thousands_of_digits_is_a_payload_error():
    with pytest.raises(PayloadError):
        decode_json(b"1" * 5000)


@pytest.mark.parametrize(
    "text",
    ["NaN", "Infinity", "1e400", "1_000", " 12 ", "", "１２", "0x10", "1,5", "+1", ".5", "1" * 70, True, None, [], {}],
)
def test_what_is_not_a_plain_number_is_refused_with_its_path(text):
    with pytest.raises(PayloadError) as caught:
        to_decimal(text, "$.px")
    assert caught.value.path == "$.px"
    assert str(caught.value).startswith("$.px: ")


def test_empty_text_and_null_are_none_and_zero_is_zero():
    fields = Fields({"empty": "", "null": None, "zero": "0", "number": 0})
    assert fields.optional_decimal("empty") is None
    assert fields.optional_decimal("null") is None
    assert fields.optional_decimal("absent") is None
    assert fields.optional_decimal("zero") == 0
    assert fields.optional_decimal("number") == 0
    assert fields.optional_integer("zero") == 0
    assert fields.optional_text("empty") is None


def test_a_missing_field_is_named_by_its_path():
    with pytest.raises(PayloadError, match=r"^\$\.data\[1\]\.px: missing$"):
        list(objects([{"px": "1"}, {}], "$.data"))[1].decimal("px")


def test_a_short_row_is_named_by_its_path():
    with pytest.raises(PayloadError, match=r"^\$\[0\]: expected at least 3 columns, got 2$"):
        list(rows([[1, 2]], 3))


@pytest.mark.parametrize("value", [1.5, "1.0", "abc", "", True, None, "9" * 30])
def test_an_integer_is_an_integer(value):
    with pytest.raises(PayloadError):
        to_integer(value, "$")


def test_milliseconds_are_read_from_numbers_and_text():
    expected = datetime(2025, 10, 9, 8, 53, 20, 123_000, tzinfo=UTC)
    assert to_millis_time(1760000000123, "$") == expected
    assert to_millis_time("1760000000123", "$") == expected


@pytest.mark.parametrize("value", [10**18, -(10**18), "99999999999999999999"])
def test_a_time_outside_the_calendar_is_a_payload_error(value):
    with pytest.raises(PayloadError):
        to_millis_time(value, "$")


def test_iso_times_need_a_zone_and_come_out_in_utc():
    assert to_iso_time("2026-01-01T01:00:00.500+01:00", "$") == datetime(2026, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)
    assert to_iso_time("2026-01-01T00:00:00.000Z", "$") == datetime(2026, 1, 1, tzinfo=UTC)
    for text in ("2026-01-01T00:00:00", "yesterday", "0001-01-01T00:00:00+14:00"):
        with pytest.raises(PayloadError):
            to_iso_time(text, "$")


@given(st.binary(max_size=60))
def test_no_body_makes_anything_but_a_payload_error(body):
    try:
        decode_json(body)
    except PayloadError:
        pass


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8), lambda kids: st.lists(kids, max_size=3)
    )
)
def test_no_value_makes_a_reader_raise_anything_but_a_payload_error(value):
    for read in (to_decimal, to_integer, to_millis_time, to_iso_time):
        try:
            read(value, "$")
        except PayloadError:
            pass
