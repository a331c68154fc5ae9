"""The report as a file: whole, without a network, names as text, and its numbers are the result's."""

import re
from datetime import timedelta
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from collector.analytics.backtest.engine import backtest
from collector.analytics.backtest.market import Market
from collector.analytics.backtest.parameters import BacktestParameters
from collector.analytics.backtest.report import html_report
from collector.analytics.backtest.strategies import Decided, EmaCross, FixedWeights, Hold

MARKUP = '<img src=x onerror="alert(1)">'
CLOSER = "</script><script>alert(2)</script>"
NAMES = ["bitcoin", MARKUP, CLOSER]


def market_of(bars=150, freq="D"):
    index = pd.date_range("2024-11-01", periods=bars, freq=freq, tz="UTC")
    steps = np.random.default_rng(4).normal(0, 0.03, (bars, 3))
    closes = pd.DataFrame(100 * np.exp(np.cumsum(steps, axis=0)), index=index, columns=NAMES)
    return Market(closes=closes, opens=closes.shift(1).fillna(100.0), volumes=closes * 0 + 1, caps=closes)


def result_of(strategy, market=None, **more):
    market = market_of() if market is None else market
    index = market.index
    given = {"start": index[5].to_pydatetime(), "end": index[-1].to_pydatetime(), "rebalance": "1w"}
    return backtest(market, strategy, BacktestParameters(**{**given, **more}))


class Reader(HTMLParser):
    """The elements, references and visible words of a document, as a browser's parser sees them."""

    def __init__(self, document):
        super().__init__(convert_charrefs=True)
        self.tags, self.references, self.words, self.inside = [], [], [], None
        self.feed(document)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.inside = tag if tag in {"script", "style"} else self.inside
        self.references += [value for name, value in attrs if name in {"src", "href", "action", "data"}]

    def handle_endtag(self, tag):
        self.inside = None if tag == self.inside else self.inside

    def handle_data(self, data):
        if self.inside is None and data.strip():
            self.words.append(data.strip())


@pytest.fixture(scope="module")
def result():
    return result_of(FixedWeights(shares={MARKUP: 0.5, CLOSER: 0.3}))


@pytest.fixture(scope="module")
def document(result):
    return html_report(result, title="A <b>title</b>", simulated=True)


def test_the_file_refers_to_nothing_outside_and_forbids_every_connection(document):
    assert Reader(document).references == []
    assert "default-src 'none'" in document
    assert "connect-src" not in document
    assert "plotly.js v" in document  # the library itself is inside


def test_names_with_markup_are_text_wherever_they_stand(document):
    reader = Reader(document)
    assert "img" not in reader.tags
    assert any(MARKUP in word for word in reader.words)
    assert any(CLOSER in word for word in reader.words)
    assert "A <b>title</b>" in reader.words
    assert CLOSER not in document
    assert MARKUP not in document
    # Lines of a chart: JSON whose names plotly reads as markup, so they carry references there too.
    assert re.search(r"name[\"']:\s*[\"'](\\u0026|&)lt;img src=x", document)


def test_simulated_data_is_said_on_top_and_only_then(document, result):
    words = Reader(document).words
    assert "Simulated data: these prices were made up and say nothing of any market." in words[:6]
    assert "made up" not in " ".join(Reader(html_report(result, title="t", simulated=False)).words)


def test_figures_parameters_and_hashes_of_the_result_are_in_the_file(document, result):
    words = Reader(document).words
    assert f"{result.metrics.total_return:.1%}" in words
    assert f"{result.metrics.sharpe:,.2f}" in words
    assert f"{result.costs.fees:,.2f}" in words
    assert {result.data_hash, result.result_key, result.code_version} <= set(words)
    assert {"hold bitcoin (without costs)", "cap-weighted market (without costs)"} <= set(words)
    assert "Passed." in words


def test_monthly_returns_multiply_to_the_total(document, result):
    equity = result.equity
    # Bars end on 6 November 2024 and later; the bar that ends on 1 December at 00:00 is November's.
    november = equity.loc["2024-12-01"] / equity.iloc[0] - 1
    december = equity.loc["2025-01-01"] / equity.loc["2024-12-01"] - 1
    row = next(row for row in re.findall(r"<tr>.*?</tr>", document) if '<th scope="row">2024</th>' in row)
    cells = [unescape(cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row)]
    assert cells[:10] == ["\u2013"] * 10
    assert cells[10:] == [
        f"{november:.1%}",
        f"{december:.1%}",
        f"{(1 + november) * (1 + december) - 1:.1%}",
    ]


def test_a_failed_look_ahead_test_is_said_on_top_with_its_differences():
    closes = market_of().closes

    def peek(known, t):
        later = closes.loc[t + timedelta(days=1) :]
        return {"bitcoin": 1.0} if len(later) and later.iloc[0, 0] > known.closes.iloc[-1, 0] else {}

    words = Reader(html_report(result_of(Decided(name="peek", function=peek)), title="t", simulated=False)).words
    assert "The look-ahead test failed: these results cannot be believed." in words[:6]
    assert any("keeps rows until" in word for word in words)


def test_holes_waits_and_warnings_are_told():
    market = market_of()
    closes, opens = market.closes.copy(), market.opens.copy()
    closes.iloc[10:14, 1], opens.iloc[10:14, 1] = np.nan, np.nan
    holed = Market(closes=closes, opens=opens, volumes=market.volumes)
    words = Reader(html_report(result_of(FixedWeights(shares={MARKUP: 1.0}), holed), title="t", simulated=False)).words
    assert any(word.startswith(f"{MARKUP} has 97.2% of its bars") for word in words)
    assert any(word.startswith("not compared with the cap-weighted market") for word in words)
    assert any("orders waited for a price" in word for word in words)


def test_a_run_that_holds_nothing_has_a_report():
    words = Reader(
        html_report(result_of(Decided(name="none", function=lambda *_: None)), title="t", simulated=False)
    ).words
    assert "Nothing was held." in words
    assert "no order was filled: the curve is the initial money" in words


def test_a_short_portfolio_and_a_few_bars_have_a_report():
    few = result_of(FixedWeights(shares={"bitcoin": -0.5}), market_of(12), short=True)
    words = Reader(html_report(few, title="t", simulated=False)).words
    assert any(word.startswith("Fewer bars than the window") for word in words)


def test_long_runs_are_thinned_and_say_so():
    market = market_of(4_500, "h")
    words = Reader(html_report(result_of(Hold("bitcoin"), market), title="t", simulated=False)).words
    assert any(word.endswith("One bar of 3 is drawn.") for word in words)


def test_equal_results_give_equal_files(result, document):
    assert html_report(result, title="A <b>title</b>", simulated=True) == document


def test_the_trend_of_three_assets_has_a_report_of_bounded_size():
    assert len(html_report(result_of(EmaCross()), title="t", simulated=True)) < 6_000_000
