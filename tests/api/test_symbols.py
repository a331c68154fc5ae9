import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.api.errors import ApiError, Code
from collector.api.symbols import Coin, Symbols, pair

CONFIGURED = ("BTC", "ETH", "MATIC", "XRP")


def coin(symbol, asset_id, rank):
    return Coin(symbol=symbol, asset_id=asset_id, name=symbol.title(), rank=rank)


SYMBOLS = Symbols(CONFIGURED, [coin("USDT", "tether", 3), coin("BTC", "bitcoin", 1), coin("BTC", "batcat", 900)])


@pytest.mark.parametrize("text", ["BTC", "btc", "BTCUSDT", "BTC/USDT", "BTC-USDT", " bTc-uSdT ", "btcusdt\t"])
def test_all_spellings_mean_the_same_asset(text):
    found = SYMBOLS.one(text)
    assert (found.symbol, found.asset_id) == ("BTC", "bitcoin")
    assert pair(found) == "BTCUSDT"


@pytest.mark.parametrize("text", ["MATIC", "maticusdt", "MATIC/USDT", "POL", "pol-usdt"])
def test_a_renamed_asset_is_found_under_both_symbols(text):
    found = SYMBOLS.one(text)
    assert (found.symbol, found.asset_id) == ("POL", "polygon-ecosystem-token")


def test_usdt_is_an_asset_and_not_an_empty_symbol_against_itself():
    assert SYMBOLS.one("USDT").asset_id == "tether"


@pytest.mark.parametrize(
    "text",
    ["", " ", "USDTUSDT/", "BTC/EUR", "BTC/USD", "BTC USDT", "BTC--USDT", "/USDT", "-", "BTC/", "B" * 41, "BTC\x00"],
)
def test_anything_else_is_refused(text):
    with pytest.raises(ApiError) as raised:
        SYMBOLS.one(text)
    assert (raised.value.code, raised.value.status) == (Code.INVALID_SYMBOL, 400)


def test_a_refusal_names_near_symbols():
    with pytest.raises(ApiError, match="XPR is not supported; near ones: XRP") as raised:
        SYMBOLS.one("XPR")
    assert raised.value.details == {"near": {"XPR": ["XRP"]}}


def test_the_best_ranked_of_several_followed_assets_with_one_symbol_is_meant():
    two = Symbols((), [coin("ABC", "worse", 80), coin("ABC", "better", 7), coin("ABC", "unranked", None)])
    assert two.one("abc").asset_id == "better"


def test_a_list_keeps_its_order_and_names_each_asset_once():
    assert [item.symbol for item in SYMBOLS.several("eth, BTCUSDT,btc,,MATIC")] == ["ETH", "BTC", "POL"]


def test_no_list_means_all_ranked_ones_first():
    assert [item.symbol for item in SYMBOLS.several(None)] == ["BTC", "USDT", "ETH", "POL", "XRP"]
    assert SYMBOLS.several(" , ") == SYMBOLS.all()


def test_one_wrong_word_refuses_the_whole_list():
    with pytest.raises(ApiError, match="NOPE is not supported"):
        SYMBOLS.several("BTC,NOPE")


def test_an_asset_nobody_knows_has_no_id():
    found = Symbols(("ZZZ",)).one("zzz")
    assert (found.asset_id, found.name) == (None, None)


@given(st.text(max_size=60))
def test_any_text_is_an_asset_or_a_refusal(text):
    try:
        found = SYMBOLS.one(text)
    except ApiError as error:
        found = error
    assert found in SYMBOLS.all() or (found.code is Code.INVALID_SYMBOL and found.message.isprintable())
