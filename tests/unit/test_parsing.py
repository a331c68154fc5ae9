"""Readers of provider JSON: exact numbers, and PayloadError with a path for anything else."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from collector.errors import PayloadError
from collector.parsing import (
    Fields,
    decode_json,
    objects,
    pairs,
    rows,
    to_decimal,
    to_decimals,
    to_integer,
    to_integers,
    to_iso_time,
    to_millis_time,
)


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


NUMBERS = st.one_of(
    st.decimals(allow_nan=False, allow_infinity=False).map(str),
    st.integers(-(10**30), 10**30).map(str),
    st.sampled_from(["1.", "0.10", "9.04e-07", "1E5", "-0"]),
)


ODD = st.text(max_size=6) | st.sampled_from(["NaN", "1_000", "1\n2", "1\n", "", None, 1, 2.5, True])


@given(st.lists(NUMBERS | ODD, min_size=1))
@example(["1\n2"])
def test_a_column_of_numbers_is_what_they_are_one_by_one_or_nothing(values):
    try:
        expected = [to_decimal(value, "$") for value in values if isinstance(value, str)]
    except PayloadError:
        expected = None
    if expected is None or len(expected) < len(values):
        assert to_decimals(values) is None
    else:
        assert [number.as_tuple() for number in to_decimals(values)] == [number.as_tuple() for number in expected]


@pytest.mark.parametrize(
    ("values", "found"),
    [((1, -2, 0), [1, -2, 0]), ((1, True), None), (("1",), None), ((1, 10**24), None), ((1, -(10**24)), None)],
)
def test_a_column_of_integers_holds_nothing_else(values, found):
    assert to_integers(values) == found


def test_levels_are_pairs_of_numbers_whatever_else_a_row_has():
    assert pairs([["100.10", "2", "0", 7], ["99", "1e1", "0", 9]]) == [
        (Decimal("100.10"), Decimal(2)),
        (Decimal(99), Decimal(10)),
    ]
    assert pairs([["1", "2"], [3, "4"]]) == [(Decimal(1), Decimal(2)), (Decimal(3), Decimal(4))]
    assert pairs([]) == []


@pytest.mark.parametrize(
    ("value", "path"),
    [([["1", "2"], ["1"]], "$[1]"), ([["1", "2"], ["1", "x"]], "$[1][1]"), ([["1", "2"], {}], "$[1]"), ({}, "$")],
)
def test_levels_of_another_shape_are_a_payload_error_with_its_path(value, path):
    with pytest.raises(PayloadError) as failure:
        pairs(value)
    assert str(failure.value).endswith(f"at {path}") or f"{path}:" in str(failure.value)


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
def test_a_body_is_an_exact_document_or_a_payload_error(body):
    try:
        document = decode_json(body)
    except PayloadError:
        return
    assert document is None or isinstance(document, dict | list | str | int | Decimal)  # a float would have lost digits


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8), lambda kids: st.lists(kids, max_size=3)
    )
)
def test_a_reader_returns_its_type_or_names_the_path(value):
    for read, kind in ((to_decimal, Decimal), (to_integer, int), (to_millis_time, datetime), (to_iso_time, datetime)):
        assert outcome(read, value) in (kind, "$.a[3]")


def outcome(read, value):
    """Return the type of what is read, or the path of the refusal."""
    try:
        return type(read(value, "$.a[3]"))
    except PayloadError as refused:
        return refused.path


# --------------------------------------------------------------------------- unusual stamps


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-31T24:00:00Z", datetime(2026, 2, 1, tzinfo=UTC)),
        ("2026-12-31 24:00Z", datetime(2027, 1, 1, tzinfo=UTC)),
        ("2026-01-31T24:00:00.000+01:00", datetime(2026, 1, 31, 23, tzinfo=UTC)),
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC)),
        ("2016-12-31T23:59:60.999999Z", datetime(2017, 1, 1, tzinfo=UTC)),
        ("2017-01-01T05:29:60+05:30", datetime(2017, 1, 1, tzinfo=UTC)),
    ],
)
def test_the_end_of_a_day_and_a_leap_second_are_the_moment_after_them(text, moment):
    assert to_iso_time(text, "$.at") == moment


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31T24:00:01Z",
        "2026-01-31T24:01:00Z",
        "2026-01-31T25:00:00Z",
        "2026-01-31T12:30:60Z",
        "2026-01-31T23:59:61Z",
        "2026-01-31T24:00:00",
        "2026-02-30T24:00:00Z",
        "9999-12-31T24:00:00Z",
        "2026-01-31T24:00:00+99:99",
    ],
)
def test_times_that_no_clock_shows_are_payload_errors(text):
    with pytest.raises(PayloadError):
        to_iso_time(text, "$.at")


SECOND = 1_767_225_600  # 2026-01-01T00:00:00Z
UNITS = [("seconds", 1), ("milliseconds", 1000), ("microseconds", 10**6), ("nanoseconds", 10**9)]


@pytest.mark.parametrize(("unit", "factor"), UNITS)
@pytest.mark.parametrize("value", [SECOND, -SECOND, 4_133_980_800])  # the last one is in 2101
def test_a_stamp_in_a_wrong_unit_is_refused_by_the_reader_or_lies_outside_every_market(unit, factor, value):
    if unit == "milliseconds" and value == SECOND:
        assert to_millis_time(value * factor, "$.t") == datetime(2026, 1, 1, tzinfo=UTC)
        return
    try:
        moment = to_millis_time(value * factor, "$.t")
    except PayloadError:
        return
    assert not datetime(2009, 1, 1, tzinfo=UTC) <= moment <= datetime(2100, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("value", [10**24, -(10**24), 10**400])
def test_an_integer_of_more_than_24_digits_is_refused_also_outside_of_text(value):
    with pytest.raises(PayloadError):
        to_integer(value, "$.n")


def test_a_deeply_nested_value_in_the_wrong_place_is_named_without_being_spelled_out():
    nested = []
    for _ in range(5000):
        nested = [nested]
    with pytest.raises(PayloadError, match="list of 1"):
        to_decimal(nested, "$.px")
