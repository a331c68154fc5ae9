"""The settings of retention: what they accept, and the words in which they refuse."""

from datetime import timedelta

import pytest
from pydantic import ValidationError

from collector.config import load_settings
from collector.config.retention import KEPT_BY_AGE, RetentionSettings, read_floor, read_grid

DAY = timedelta(days=1)


def refused(**settings):
    with pytest.raises(ValidationError) as caught:
        RetentionSettings(**settings)
    return str(caught.value)


def test_by_default_everything_is_kept_for_ever_and_nothing_runs():
    settings = RetentionSettings()
    assert (settings.enabled, dict(settings.datasets), settings.floor) == (False, {}, "")
    assert settings.thin_order_books == settings.thin_tickers == ()


def test_what_becomes_of_a_dataset_has_to_be_said():
    assert "then" in refused(datasets={"candles": {"age": "90d"}})
    settings = RetentionSettings(datasets={"candles": {"age": "90d", "then": "seal"}})
    assert settings.datasets["candles"].age == 90 * DAY


def test_an_age_that_indicators_still_need_is_refused():
    assert "below 31d" in refused(datasets={"candles": {"age": "30d", "then": "seal"}})


def test_only_what_is_stored_by_month_has_an_age():
    assert "no such dataset 'funding_rates'" in refused(datasets={"funding_rates": {"age": "90d", "then": "seal"}})
    assert "raw_payloads" not in KEPT_BY_AGE


def test_grids_become_coarser_with_age():
    assert read_grid("7d/1m") == (7 * DAY, timedelta(minutes=1))
    assert RetentionSettings(thin_tickers="7d/1m, 30d/1h").thin_tickers == ("7d/1m", "30d/1h")
    assert "coarser" in refused(thin_tickers="7d/1h, 30d/1m")
    assert "coarser" in refused(thin_tickers="7d/4m, 30d/5m")
    assert "divide a day" in refused(thin_tickers="7d/7m")
    assert "write 7d/1m" in refused(thin_order_books="1m")


def test_a_floor_is_megabytes_or_a_share():
    assert read_floor("2048MB") == (2048 * 1024 * 1024, 0.0)
    assert read_floor("5 %") == (0, 0.05)
    assert read_floor("") == (0, 0.0)
    assert "write 2048MB or 5%" in refused(floor="95%")
    assert "write 2048MB or 5%" in refused(floor="2 GB")


def test_the_environment_can_say_it_too():
    environment = {
        "COLLECTOR_RETENTION__DATASETS__CANDLES__AGE": "90d",
        "COLLECTOR_RETENTION__DATASETS__CANDLES__THEN": "delete",
        "COLLECTOR_RETENTION__THIN_ORDER_BOOKS": "7d/1m, 30d/1h",
        "COLLECTOR_RETENTION__FOLDER": "",
    }
    settings, _ = load_settings(environment=environment)
    assert settings.retention.datasets["candles"].then == "delete"
    assert settings.retention.thin_order_books == ("7d/1m", "30d/1h")
    assert settings.retention.folder is None
