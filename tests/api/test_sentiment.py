"""The formula of the mood, with values worked out by hand."""

import pytest

from collector.api.sentiment import breadth, momentum, overall


def test_breadth_is_the_share_of_assets_that_rose():
    assert breadth([1.0, 2.0, -1.0, 0.0]) == 50.0  # two of four: unchanged is not risen
    assert breadth([-1.0]) == 0.0
    assert breadth([]) is None


def test_momentum_is_fifty_when_the_typical_asset_did_not_move():
    assert momentum([-3.0, 0.0, 9.0], [0.0]) == 50.0


def test_momentum_takes_the_mean_of_day_and_week():
    # day: median 2.5 % of 5 % is 0.5; week: median -3 % of 15 % is -0.2; mean 0.15; 50 + 50 x 0.15
    assert momentum([2.5], [-3.0]) == pytest.approx(57.5)


def test_momentum_stops_at_its_scale():
    assert momentum([80.0], [100.0]) == 100.0
    assert momentum([-80.0], [-100.0]) == 0.0


def test_momentum_of_one_span_alone():
    assert momentum([2.5], []) == pytest.approx(75.0)
    assert momentum([], []) is None


def test_everything_known_and_alike_is_certain():
    # fear & greed 100, all 20 rose, median day +5 % and week +15 %: all components are 100
    mood = overall(100, [5.0] * 20, [15.0] * 20)
    assert (mood.sentiment, mood.score, mood.confidence) == ("bullish", 100.0, 1.0)


def test_weights_are_a_half_and_two_quarters():
    # 0.5 x 20 + 0.25 x 75 (15 of 20 rose) + 0.25 x 60 (median day +1 % -> 0.2, week +3 % -> 0.2) = 43.75
    mood = overall(20, [1.0] * 15 + [-1.0] * 5, [3.0] * 20)
    assert mood.score == 43.8
    assert mood.sentiment == "bearish"
    # everything is known; the parts lie between 20 and 75: 1 - 55 / 100
    assert mood.confidence == 0.45


def test_few_assets_weigh_little():
    # five of twenty: quarter weights. (0.5 x 40 + 0.0625 x 100 + 0.0625 x 100) / 0.625 = 52; 0.625 x (1 - 60 / 100)
    mood = overall(40, [5.0] * 5, [15.0] * 5)
    assert (mood.sentiment, mood.score, mood.confidence) == ("neutral", 52.0, 0.25)


def test_without_the_index_breadth_and_momentum_decide_with_half_the_confidence():
    mood = overall(None, [5.0] * 20, [15.0] * 20)
    assert (mood.sentiment, mood.score, mood.confidence) == ("bullish", 100.0, 0.5)


def test_the_index_alone():
    mood = overall(30, [], [])
    assert (mood.sentiment, mood.score, mood.confidence) == ("bearish", 30.0, 0.5)


def test_an_old_index_weighs_half():
    # 0.25 x 0 + 0.25 x 100 + 0.25 x 100 over 0.75
    mood = overall(0, [5.0] * 20, [15.0] * 20, stale=True)
    assert mood.score == 66.7
    assert mood.confidence == 0.0  # the parts contradict each other completely


def test_an_index_of_zero_is_a_value():
    assert overall(0, [], []).score == 0.0


def test_nothing_known_is_neutral_without_a_score():
    mood = overall(None, [], [])
    assert (mood.sentiment, mood.score, mood.confidence) == ("neutral", None, 0.0)


@pytest.mark.parametrize(("index", "word"), [(55, "bullish"), (54, "neutral"), (46, "neutral"), (45, "bearish")])
def test_the_bounds_of_the_words(index, word):
    assert overall(index, [], []).sentiment == word
