"""The real providers, by hand: `python -m pytest -m live --force-enable-socket tests/live`. Never part of the suite."""

import pytest

from collector import wiring
from collector.checkup import check_source
from collector.clock import SystemClock
from collector.config import load_settings
from collector.records import Interval
from collector.sources import SOURCES

pytestmark = [pytest.mark.live, pytest.mark.enable_socket, pytest.mark.timeout(300)]


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_every_dataset_of_a_live_source_is_fresh(name):
    settings, _ = load_settings(environment={})
    intervals = (Interval.H4,) if name == "coingecko" else (Interval.M1,)
    with wiring.one_source(settings, name) as collector:
        findings = list(check_source(collector, intervals, SystemClock()))
    assert [(item.dataset, item.verdict, item.detail) for item in findings if not item.ok] == []
