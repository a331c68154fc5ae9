"""The simulated universe: which coins exist and which contracts each venue lists, including the awkward ones.

The universe depends only on the number of assets, never on the seed, so names in tests stay put when prices change.
Every coin name ends in " (simulated)".
"""

from __future__ import annotations

import dataclasses
import math
from datetime import UTC, date, datetime, timedelta

from collector.simulator.noise import key, pick

MIN_ASSETS = 45
MAX_ASSETS = 600
DAY_MS = 86_400_000
HOUR_MS = 3_600_000
EPOCH_2020_MS = 1_577_836_800_000
NEVER_MS = 4_133_404_800_000
"""The delivery date (year 2100) that Binance writes for a contract that never expires."""

DELISTED = {"binance_futures": "MATICUSDT", "okx": "MATIC-USDT-SWAP"}
"""Symbols that existed once and are in no list any more; asking for them is an error."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Coin:
    """One asset as CoinGecko lists it. `anchor_usd` is the centre its price moves around; supplies are whole coins.

    `quirk` is empty or names the awkward property of the row: no_cap, zero_cap, no_changes, dead.
    """

    id: str
    symbol: str
    name: str
    anchor_usd: float
    supply: int
    max_supply: int | None = None
    volatility: float = 1.0
    turnover: float = 0.05
    listed_ms: int = EPOCH_2020_MS
    quirk: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Underlying:
    """What a contract follows: a coin, a stock or an index, with the centre and the width of its price moves."""

    name: str
    anchor: float
    volatility: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """One tradable instrument. All sizes are whole numbers of lots and all prices whole numbers of ticks.

    A tick is 10**tick_exp quote units, a lot is 10**lot_exp venue units (contracts at OKX, base units at Binance) and
    one venue unit is 10**unit_exp coins (USD, for an inverse contract). `multiplier` is the number of coins one unit of
    `base` stands for (1000 for 1000PEPE). `kind` is perpetual, dated, stock or index; `quiet` is the share of minutes
    without a trade.
    """

    venue: str
    symbol: str
    base: str
    quote: str
    settle: str
    underlying: int
    coin_id: str | None
    kind: str = "perpetual"
    inverse: bool = False
    multiplier: int = 1
    tick_exp: int
    lot_exp: int
    unit_exp: int = 0
    listed_ms: int = EPOCH_2020_MS
    expires_ms: int | None = None
    funding_hours: int = 8
    quiet: float = 0.0
    daily_lots: float
    premium: float = 0.0
    key: int

    @property
    def base_exp(self) -> int:
        """Power of ten of one counted base unit."""
        return -8 if self.inverse else self.lot_exp + self.unit_exp

    @property
    def quote_exp(self) -> int:
        """Power of ten of one counted quote unit."""
        return self.lot_exp + self.unit_exp if self.inverse else self.tick_exp + self.base_exp


# id, symbol, name, anchor price, circulating supply, maximum supply
_KNOWN: tuple[tuple[str, str, str, float, int, int | None], ...] = (
    ("bitcoin", "btc", "Bitcoin", 61_000, 19_900_000, 21_000_000),
    ("ethereum", "eth", "Ethereum", 3_000, 120_500_000, None),
    ("tether", "usdt", "Tether", 1, 120_000_000_000, None),
    ("ripple", "xrp", "XRP", 1.1, 57_000_000_000, 100_000_000_000),
    ("binancecoin", "bnb", "BNB", 580, 145_000_000, 200_000_000),
    ("solana", "sol", "Solana", 150, 470_000_000, None),
    ("usd-coin", "usdc", "USDC", 1, 35_000_000_000, None),
    ("dogecoin", "doge", "Dogecoin", 0.14, 146_000_000_000, None),
    ("tron", "trx", "TRON", 0.16, 87_000_000_000, None),
    ("cardano", "ada", "Cardano", 0.45, 35_800_000_000, 45_000_000_000),
    ("avalanche-2", "avax", "Avalanche", 28, 407_000_000, 715_748_719),
    ("shiba-inu", "shib", "Shiba Inu", 0.00002, 589_000_000_000_000, 589_552_695_333_683),
    ("chainlink", "link", "Chainlink", 14, 626_000_000, 1_000_000_000),
    ("bitcoin-cash", "bch", "Bitcoin Cash", 390, 19_800_000, 21_000_000),
    ("polkadot", "dot", "Polkadot", 5.2, 1_480_000_000, None),
    ("near", "near", "NEAR Protocol", 5, 1_200_000_000, None),
    ("litecoin", "ltc", "Litecoin", 78, 75_000_000, 84_000_000),
    ("uniswap", "uni", "Uniswap", 8.4, 600_000_000, 1_000_000_000),
    ("pepe", "pepe", "Pepe", 0.000011, 420_690_000_000_000, 420_690_000_000_000),
    ("internet-computer", "icp", "Internet Computer", 9, 470_000_000, None),
    ("aptos", "apt", "Aptos", 8, 500_000_000, None),
    ("polygon-ecosystem-token", "pol", "POL (ex-MATIC)", 0.42, 8_000_000_000, None),
    ("stellar", "xlm", "Stellar", 0.11, 29_600_000_000, 50_001_806_812),
    ("ethereum-classic", "etc", "Ethereum Classic", 21, 149_000_000, 210_700_000),
    ("sui", "sui", "Sui", 1.4, 2_300_000_000, 10_000_000_000),
    ("hedera-hashgraph", "hbar", "Hedera", 0.06, 36_000_000_000, 50_000_000_000),
    ("cosmos", "atom", "Cosmos Hub", 5, 390_000_000, None),
    ("filecoin", "fil", "Filecoin", 4.1, 570_000_000, 1_960_000_000),
    ("arbitrum", "arb", "Arbitrum", 0.6, 3_300_000_000, 10_000_000_000),
    ("bonk", "bonk", "Bonk", 0.000019, 70_000_000_000_000, 88_872_106_568_286),
)
_STABLE = {"tether", "usd-coin"}

_TRAPS: tuple[Coin, ...] = (
    Coin(id="pepe-classic", symbol="pepe", name="Pepe Classic", anchor_usd=4.2, supply=21_000_000),
    Coin(id="mstr-meme", symbol="mstr", name="MSTR Meme", anchor_usd=0.031, supply=900_000_000),
    Coin(id="unicode-coin", symbol="ünï", name="Ünïcødé 币 Coin", anchor_usd=1.7, supply=11_000_000),
    Coin(id="markup-coin", symbol="mkup", name='<b>Markup</b> & "Quotes"', anchor_usd=0.27, supply=66_000_000),
    Coin(id="newborn-coin", symbol="newb", name="Newborn", anchor_usd=0.8, supply=12_000_000, quirk="no_changes"),
    Coin(id="unranked-coin", symbol="unrk", name="Unranked", anchor_usd=0.0042, supply=0, quirk="no_cap"),
    Coin(id="zero-cap-coin", symbol="zcap", name="Zero Cap", anchor_usd=0.09, supply=0, quirk="zero_cap"),
    Coin(id="dead-coin", symbol="dead", name="Dead", anchor_usd=0.001, supply=0, quirk="dead"),
)
_WITHOUT_CONTRACT = _STABLE | {coin.id for coin in _TRAPS}
_CONSONANTS = "bdfgklmnprstvxz"
_VOWELS = "aeiou"
_EXTREMES = {3: -8.0, 7: 4.0}  # powers of ten of two made-up coins at the ends of the price range
_IN_USDC = 3
_MAJORS = 12
"""So many assets at the front are on both venues and settle funding every 8 hours."""
_MISSING_AT_KRAKEN = (3, 2)
KRAKEN_CODES = {"BTC": "XBT", "DOGE": "XDG"}
KRAKEN_OLD = {"BTC": "XXBT", "ETH": "XETH", "LTC": "XLTC", "XRP": "XXRP", "XLM": "XXLM", "ETC": "XETC"}
"""The names of assets that Kraken had before 2018, with their prefix; newer ones have none."""
_MISSING_AT_BINANCE, _MISSING_AT_OKX = (9, 5), (6, 4)  # (one in, at remainder)
_FOUR_HOURLY_PCT, _HOURLY_PCT = 15, 8
_IN_THOUSANDS_BELOW, _IN_MILLIONS_BELOW = 1e-4, 1e-6


def _known(row: tuple[str, str, str, float, int, int | None]) -> Coin:
    id_, symbol, name, anchor, supply, max_supply = row
    return Coin(
        id=id_,
        symbol=symbol,
        name=f"{name} (simulated)",
        anchor_usd=float(anchor),
        supply=supply,
        max_supply=max_supply,
        volatility=0.002 if id_ in _STABLE else 1.0,
    )


def _letters(number: int) -> str:
    """Return a pronounceable five-letter word; distinct for distinct numbers below 84,375."""
    rest = (number * 7_919 + 12_345) % 84_375
    word = ""
    for position in range(5):
        alphabet = _CONSONANTS if position % 2 == 0 else _VOWELS
        rest, letter = divmod(rest, len(alphabet))
        word += alphabet[letter]
    return word


def _synthetic(number: int) -> Coin:
    """Return made-up coin `number` (from 0); prices run from 1e-8 to about 1e4, market caps fall with the number."""
    word = _letters(number)
    power = _EXTREMES[number] if number in _EXTREMES else -5.0 + pick(77, number, 8_000) / 1_000
    anchor = round(10.0**power, 12)
    cap = 9.0e8 / (1 + number) ** 0.9
    return Coin(
        id=f"sim-{word}",
        symbol=word,
        name=f"{word.capitalize()} (simulated)",
        anchor_usd=anchor,
        supply=max(1_000, int(cap / anchor)),
        volatility=0.8 + pick(78, number, 500) / 1_000,
        listed_ms=EPOCH_2020_MS + pick(79, number, 1_500) * DAY_MS,
    )


def build_coins(assets: int) -> tuple[Coin, ...]:
    """Return `assets` coins, biggest first as far as their central prices tell; the awkward ones close the list."""
    if not MIN_ASSETS <= assets <= MAX_ASSETS:
        raise ValueError(f"assets must be {MIN_ASSETS}..{MAX_ASSETS}, got {assets}")
    traps = tuple(dataclasses.replace(coin, name=f"{coin.name} (simulated)") for coin in _TRAPS)
    known = tuple(_known(row) for row in _KNOWN)
    made_up = tuple(_synthetic(number) for number in range(assets - len(known) - len(traps)))
    return known + made_up + traps


def build_underlyings(coins: tuple[Coin, ...]) -> tuple[Underlying, ...]:
    """Return what contracts follow: every coin in the same order, then a stock and an index."""
    followed = [Underlying(name=c.id, anchor=c.anchor_usd, volatility=c.volatility) for c in coins]
    stock = Underlying(name="stock:MSTR", anchor=350.0, volatility=0.5)
    index = Underlying(name="index:BTCDOM", anchor=2_300.0, volatility=0.2)
    return (*followed, stock, index)


def tick_exp_for(price: float) -> int:
    """Return the power of ten of a tick that gives a price about six significant digits."""
    return math.floor(math.log10(price)) - 5


def _funding_hours(position: int) -> int:
    """Return 8 for the first twelve assets; of the others about 15 % have 4 hours and 8 % have 1 hour."""
    if position < _MAJORS:
        return 8
    roll = pick(80, position, 100)
    return 4 if roll < _FOUR_HOURLY_PCT else 1 if roll < _FOUR_HOURLY_PCT + _HOURLY_PCT else 8


def _turnover_usd(coin: Coin) -> float:
    return max(200_000.0, coin.anchor_usd * coin.supply * coin.turnover)


def binance_perpetual(coin: Coin, position: int, quote: str = "USDT", thin: bool = False) -> Contract:
    """Return the Binance perpetual of a coin; very cheap coins trade in thousands or millions, as at the venue."""
    cheap, tiny = coin.anchor_usd < _IN_THOUSANDS_BELOW, coin.anchor_usd < _IN_MILLIONS_BELOW
    multiplier = 1_000_000 if tiny else 1_000 if cheap else 1
    price = coin.anchor_usd * multiplier
    base = (str(multiplier) if multiplier > 1 else "") + coin.symbol.upper()
    lot_exp = min(0, math.floor(math.log10(60.0 / price)))
    symbol = base + quote
    return Contract(
        venue="binance_futures",
        symbol=symbol,
        base=base,
        quote=quote,
        settle=quote,
        underlying=position,
        coin_id=coin.id,
        multiplier=multiplier,
        tick_exp=tick_exp_for(price),
        lot_exp=lot_exp,
        listed_ms=coin.listed_ms,
        funding_hours=_funding_hours(position),
        quiet=0.06 if thin else 0.0,
        daily_lots=_turnover_usd(coin) * 0.3 / price / 10.0**lot_exp,
        key=key("binance_futures", symbol),
    )


def spot_pair(venue: str, coin: Coin, position: int, symbol: str, quote: str, thin: bool = False) -> Contract:
    """Return the spot market of a coin at a venue: one unit of the base is one coin, whatever it is worth."""
    lot_exp = math.floor(
        math.log10(10.0 / coin.anchor_usd)
    )  # of a coin worth nothing, thousands: trades stay countable
    return Contract(
        venue=venue,
        symbol=symbol,
        base=coin.symbol.upper(),
        quote=quote,
        settle=quote,
        underlying=position,
        coin_id=coin.id,
        kind="spot",
        tick_exp=tick_exp_for(coin.anchor_usd),
        lot_exp=lot_exp,
        listed_ms=coin.listed_ms,
        quiet=0.06 if thin else 0.0,
        daily_lots=_turnover_usd(coin) * 0.1 / coin.anchor_usd / 10.0**lot_exp,
        key=key(venue, symbol),
    )


def okx_swap(coin: Coin, position: int, settle: str = "USDT", thin: bool = False) -> Contract:
    """Return the OKX swap of a coin; settlement in USD means the coin-margined (inverse) kind."""
    inverse = settle == "USD"
    unit_exp = 2 if inverse else round(math.log10(250.0 / coin.anchor_usd))
    lot_exp = 0 if inverse else -2 if coin.anchor_usd >= 1 else -1
    symbol = f"{coin.symbol.upper()}-{settle}-SWAP"
    lot_usd = 10.0 ** (unit_exp + lot_exp) * (1.0 if inverse else coin.anchor_usd)
    return Contract(
        venue="okx",
        symbol=symbol,
        base=coin.symbol.upper(),
        quote=settle,
        settle=coin.symbol.upper() if inverse else settle,
        underlying=position,
        coin_id=coin.id,
        inverse=inverse,
        tick_exp=tick_exp_for(coin.anchor_usd),
        lot_exp=lot_exp,
        unit_exp=unit_exp,
        listed_ms=coin.listed_ms,
        funding_hours=_funding_hours(position),
        quiet=0.08 if thin else 0.0,
        daily_lots=_turnover_usd(coin) * 0.12 / lot_usd,
        key=key("okx", symbol),
    )


def _stock_and_index(coins: tuple[Coin, ...]) -> list[Contract]:
    """Return the contracts that are not on coins although their symbols look like it."""
    stock, index = len(coins), len(coins) + 1
    made: list[Contract] = []
    for venue, symbol, unit_exp in (("binance_futures", "MSTRUSDT", 0), ("okx", "MSTR-USDT-SWAP", -1)):
        made.append(
            Contract(
                venue=venue,
                symbol=symbol,
                base="MSTR",
                quote="USDT",
                settle="USDT",
                underlying=stock,
                coin_id=None,
                kind="stock",
                tick_exp=-2,
                lot_exp=-2,
                unit_exp=unit_exp,
                daily_lots=150_000.0,
                quiet=0.05,
                key=key(venue, symbol),
            )
        )
    made.append(
        Contract(
            venue="binance_futures",
            symbol="BTCDOMUSDT",
            base="BTCDOM",
            quote="USDT",
            settle="USDT",
            underlying=index,
            coin_id=None,
            kind="index",
            tick_exp=-1,
            lot_exp=-3,
            daily_lots=4_000_000.0,
            key=key("binance_futures", "BTCDOMUSDT"),
        )
    )
    return made


def _listed(position: int, missing: tuple[int, int]) -> bool:
    one_in, remainder = missing
    return position < _MAJORS or position % one_in != remainder


def build_contracts(coins: tuple[Coin, ...], binance: int | None, okx: int | None) -> tuple[Contract, ...]:
    """Return every lasting contract of both venues; `binance` and `okx` cap the plain USDT contracts of each.

    After the first twelve one asset in nine is absent from Binance, one in six from OKX: some have one venue only.
    """
    made: list[Contract] = []
    counts = {"binance": 0, "okx": 0}
    for position, coin in enumerate(coins):
        if coin.id in _WITHOUT_CONTRACT:
            continue
        thin = position > 0.6 * len(coins)
        if _listed(position, _MISSING_AT_BINANCE) and (binance is None or counts["binance"] < binance):
            counts["binance"] += 1
            made.append(binance_perpetual(coin, position, thin=thin))
        if _listed(position, _MISSING_AT_OKX) and (okx is None or counts["okx"] < okx):
            counts["okx"] += 1
            made.append(okx_swap(coin, position, thin=thin))
    made.extend(binance_perpetual(coins[position], position, quote="USDC") for position in (0, 1, 5))
    for position in (0, 1):
        made.append(okx_swap(coins[position], position, settle="USDC"))
        made.append(okx_swap(coins[position], position, settle="USD"))
    return (*made, *_stock_and_index(coins), *_binance_spot(coins), *_kraken(coins))


def _kraken(coins: tuple[Coin, ...]) -> list[Contract]:
    """Return Kraken's pairs under their oldest names: two thirds of the coins in dollars, three in USDT as well."""
    made: list[Contract] = []
    for position, coin in enumerate(coins):
        if coin.id in _WITHOUT_CONTRACT or not _listed(position, _MISSING_AT_KRAKEN):
            continue
        thin, symbol = position > 0.5 * len(coins), coin.symbol.upper()
        code = KRAKEN_CODES.get(symbol, symbol)
        old = KRAKEN_OLD.get(symbol)
        made.append(spot_pair("kraken", coin, position, f"{old}ZUSD" if old else f"{code}USD", "USD", thin))
        if position < _IN_USDC:
            made.append(spot_pair("kraken", coin, position, f"{code}USDT", "USDT", thin))
    return made


def _binance_spot(coins: tuple[Coin, ...]) -> list[Contract]:
    """Return the spot markets of Binance: in USDT what has a perpetual there too, the three largest in USDC as well."""
    made: list[Contract] = []
    for position, coin in enumerate(coins):
        if coin.id in _WITHOUT_CONTRACT or not _listed(position, _MISSING_AT_BINANCE):
            continue
        thin = position > 0.6 * len(coins)
        quotes = ("USDT", "USDC") if position < _IN_USDC else ("USDT",)
        name = coin.symbol.upper()
        made.extend(spot_pair("binance_spot", coin, position, name + quote, quote, thin) for quote in quotes)
    return made


def _last_friday(year: int, month: int) -> date:
    last = date(year + month // 12, month % 12 + 1, 1) - timedelta(days=1)
    return last - timedelta(days=(last.weekday() - 4) % 7)


def quarterly_contracts(coins: tuple[Coin, ...], at_ms: int) -> tuple[Contract, Contract]:
    """Return Binance's BTC futures of the running and the next quarter; they expire at 08:00 UTC on a Friday."""
    today = datetime.fromtimestamp(at_ms / 1000, UTC)
    ends: list[int] = []
    for step in range(4):
        quarter = (today.month - 1) // 3 + step
        day = _last_friday(today.year + quarter // 4, quarter % 4 * 3 + 3)
        ends.append(int(datetime(day.year, day.month, day.day, 8, tzinfo=UTC).timestamp() * 1000))
    first, second = [end for end in ends if end > at_ms][:2]
    return quarterly(coins, first), quarterly(coins, second)


def quarterly(coins: tuple[Coin, ...], expires_ms: int) -> Contract:
    """Return Binance's dated BTC future that is delivered at the given moment; it is listed 190 days before."""
    symbol = f"BTCUSDT_{datetime.fromtimestamp(expires_ms / 1000, UTC):%y%m%d}"
    model = binance_perpetual(coins[0], 0)
    return dataclasses.replace(
        model,
        symbol=symbol,
        kind="dated",
        listed_ms=expires_ms - 190 * DAY_MS,
        expires_ms=expires_ms,
        daily_lots=model.daily_lots / 200,
        premium=0.006,
        key=key("binance_futures", symbol),
    )
