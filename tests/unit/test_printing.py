"""Text for people: tables line up, moments and spans are short."""

from datetime import UTC, datetime, timedelta

import pytest

from collector.printing import moment, span, table


def test_columns_are_as_wide_as_their_widest_cell_and_no_line_ends_in_spaces():
    assert table(("name", "n"), [("okx", "1"), ("binance_futures", "")]) == [
        "  name             n",
        "  okx              1",
        "  binance_futures",
    ]


def test_a_table_without_rows_is_its_head():
    assert table(("a", "b"), []) == ["  a  b"]


def test_a_row_with_a_missing_cell_is_a_defect():
    with pytest.raises((ValueError, IndexError)):
        table(("a", "b"), [("1",)])


def test_a_moment_is_shown_to_the_second():
    assert moment(datetime(2026, 1, 2, 3, 4, 5, 999_999, tzinfo=UTC)) == "2026-01-02 03:04:05"
    assert moment(None) == "-"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.9, "0s"),
        (-5, "0s"),  # a provider's clock that runs ahead
        (59, "59s"),
        (60, "1m"),
        (3599, "59m 59s"),
        (3600, "1h"),
        (7505, "2h 5m"),
        (86_400, "1d"),
        (90_061, "1d 1h"),
        (86_400 * 400, "400d"),
    ],
)
def test_a_span_has_its_two_largest_units(seconds, text):
    assert span(timedelta(seconds=seconds)) == text
