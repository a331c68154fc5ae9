"""What clients call assets: BTC, BTCUSDT, BTC/USDT and BTC-USDT mean one thing; what is not supported is refused.

Pure. Supported are the symbols of the configuration and those of the assets that are followed. A symbol is shared by
many coins; the followed one of the best rank is meant.
"""

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from collector.api.errors import ApiError, Code

QUOTE = "USDT"
RENAMED = {"MATIC": "POL"}  # old symbols that clients still send
MOST_LETTERS = 40  # of a symbol as it is sent; longer than any that exists
NEAR = 3  # symbols that a refusal names at most
_FORM = re.compile(r"[^\s/\-]+(?:[/-]USDT)?", re.IGNORECASE)

# CoinGecko's ids and names of the assets that are answered for before the first listing has been stored.
WELL_KNOWN = {
    "BTC": ("bitcoin", "Bitcoin"),
    "ETH": ("ethereum", "Ethereum"),
    "SOL": ("solana", "Solana"),
    "XRP": ("ripple", "XRP"),
    "BNB": ("binancecoin", "BNB"),
    "ADA": ("cardano", "Cardano"),
    "DOT": ("polkadot", "Polkadot"),
    "LINK": ("chainlink", "Chainlink"),
    "LTC": ("litecoin", "Litecoin"),
    "BCH": ("bitcoin-cash", "Bitcoin Cash"),
    "POL": ("polygon-ecosystem-token", "POL (ex-MATIC)"),
    "AVAX": ("avalanche-2", "Avalanche"),
    "XLM": ("stellar", "Stellar"),
    "TRX": ("tron", "TRON"),
    "USDT": ("tether", "Tether"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Coin:
    """A supported asset. `asset_id` is None when neither a listing nor `WELL_KNOWN` knows it."""

    symbol: str  # upper case
    asset_id: str | None
    name: str | None
    rank: int | None = None


class Symbols:
    """The supported assets, in the order of their ranks; configured ones without a rank come last, in their order."""

    def __init__(self, configured: Iterable[str], followed: Iterable[Coin] = ()) -> None:
        coins: dict[str, Coin] = {}
        for coin in sorted(followed, key=lambda coin: (coin.rank is None, coin.rank or 0, coin.asset_id or "")):
            coins.setdefault(coin.symbol, coin)
        for word in configured:
            symbol = current(word)
            asset_id, name = WELL_KNOWN.get(symbol, (None, None))
            coins.setdefault(symbol, Coin(symbol=symbol, asset_id=asset_id, name=name))
        self._coins = coins

    def all(self) -> list[Coin]:
        """Return every supported asset."""
        return list(self._coins.values())

    def one(self, text: str) -> Coin:
        """Return the asset that a client means; raises ApiError INVALID_SYMBOL."""
        for symbol in _readings(text):
            if symbol in self._coins:
                return self._coins[symbol]
        raise self._refusal([text])

    def several(self, text: str | None) -> list[Coin]:
        """Return the assets of a list separated by commas, each once; all of them for None and an empty list."""
        words = [word for word in (text or "").split(",") if word.strip()]
        if not words:
            return self.all()
        found: dict[str, Coin] = {}
        unknown = []
        for word in words:
            coin = next((self._coins[name] for name in _readings(word) if name in self._coins), None)
            if coin is None:
                unknown.append(word)
            else:
                found.setdefault(coin.symbol, coin)
        if unknown:
            raise self._refusal(unknown)
        return list(found.values())

    def near(self, text: str) -> list[str]:
        """Return the supported symbols that a wrong one may stand for, best first."""
        wanted = next(iter(_readings(text[:MOST_LETTERS])), "")
        found = difflib.get_close_matches(wanted, self._coins, NEAR, 0.5)
        starts = [symbol for symbol in self._coins if wanted and symbol.startswith(wanted)]
        return list(dict.fromkeys([*found, *starts]))[:NEAR]

    def _refusal(self, words: Sequence[str]) -> ApiError:
        shown = [_shown(word) for word in words[:NEAR]]
        near = {name: self.near(word) for name, word in zip(shown, words, strict=False)}
        hints = sorted({symbol for found in near.values() for symbol in found})
        hint = f"; near ones: {', '.join(hints)}" if hints else ""
        more = f" and {len(words) - NEAR} more" if len(words) > NEAR else ""
        verb = "is" if len(words) == 1 else "are"
        text = f"{', '.join(shown)}{more} {verb} not supported{hint}"
        return ApiError(Code.INVALID_SYMBOL, text, details={"near": near})


def current(word: str) -> str:
    """Return a symbol as it is spelled today, in upper case."""
    symbol = word.strip().upper()
    return RENAMED.get(symbol, symbol)


def pair(coin: Coin) -> str:
    """Return an asset as its market against USDT is spelled in answers, as BTCUSDT."""
    return coin.symbol + QUOTE


def _readings(text: str) -> list[str]:
    """Return what a text can mean, likeliest first: USDT is an asset, and also the end of BTCUSDT."""
    word = text.strip()
    if len(word) > MOST_LETTERS or not _FORM.fullmatch(word):
        return []
    word = word.upper()
    base = word.replace("/", "-").removesuffix(f"-{QUOTE}")
    if base != word:
        return [current(base)]
    short = word.removesuffix(QUOTE)
    return [current(word), *([current(short)] if short and short != word else [])]


def _shown(word: str) -> str:
    """Return a client's word for an error text: short, and printable."""
    return "".join(letter if letter.isprintable() else "?" for letter in word.strip()[:MOST_LETTERS]) or "''"
