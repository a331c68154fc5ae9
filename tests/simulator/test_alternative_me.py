"""The simulated Fear & Greed Index: the documented shape, and the same days whenever they are asked for."""

import json

from collector.simulator.alternative_me import AlternativeMe

NOON = 20_454 * 86_400_000 + 43_200_000  # 2026-01-01 12:00 UTC


def days(limit, now_ms=NOON, seed=3):
    response = AlternativeMe(seed).answer("/fng/", {"limit": str(limit)}, now_ms)
    assert response.status == 200
    return json.loads(response.body)["data"]


def test_the_newest_day_comes_first_and_says_when_the_next_one_comes():
    first, second = days(2)
    assert first["timestamp"] == "1767225600"
    assert first["time_until_update"] == "43200"
    assert second["timestamp"] == "1767139200"
    assert "time_until_update" not in second


def test_zero_asks_for_everything_since_2018_with_its_two_missing_days():
    found = days(0)
    assert found[-1]["timestamp"] == "1517443200"
    assert len(found) == 20_454 - 17_563 + 1 - 2
    assert {int(row["value"]) for row in found} <= set(range(101))
    assert {row["value_classification"] for row in found} == {
        "Extreme Fear",
        "Fear",
        "Neutral",
        "Greed",
        "Extreme Greed",
    }


def test_a_day_keeps_its_value():
    assert days(3)[1]["value"] == days(0, NOON - 86_400_000)[0]["value"]


def test_an_unknown_limit_is_an_error_with_status_200_and_an_unknown_path_is_not_found():
    response = AlternativeMe(3).answer("/fng/", {"limit": "all"}, NOON)
    assert (response.status, json.loads(response.body)["metadata"]["error"]) == (200, "limit")
    assert AlternativeMe(3).answer("/v2/ticker/", {}, NOON).status == 404
