"""The bodies of CoinGecko answers: a row of the truth in, the documented JSON object out."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from collector.simulator.coin_market import MarketRow
from collector.simulator.noise import key, pick
from collector.simulator.series import DAY_MS, HOUR_MS
from collector.simulator.universe import Coin

IMAGES = "https://coin-images.coingecko.com/coins/images"
_HOURLY_UP_TO_DAYS = 90


def whole(value: int | None) -> Decimal | None:
    """Return a whole number as a Decimal; None stays None."""
    return None if value is None else Decimal(value)


def in_currency(value: Decimal | None, rate: Decimal) -> Decimal | None:
    """Return a USD value in another currency, to 12 significant digits; USD values stay exact."""
    if value is None or rate == 1:
        return value
    return Decimal(f"{value / rate:.11e}")


def image_number(coin: Coin) -> int:
    """Return the number a coin has in image addresses."""
    return 1 + pick(key("coin number", coin.id), 0, 60_000)


def market_body(row: MarketRow, rate: Decimal) -> dict[str, object]:
    """Return one row of /coins/markets, without the windows asked for; `rate` is the worth of the currency in USD."""
    coin = row.coin
    return {
        "id": coin.id,
        "symbol": coin.symbol,
        "name": coin.name,
        "image": f"{IMAGES}/{image_number(coin)}/large/coin.png",
        "current_price": in_currency(row.price, rate),
        "market_cap": in_currency(whole(row.market_cap), rate),
        "market_cap_rank": row.rank,
        "fully_diluted_valuation": in_currency(whole(row.fully_diluted), rate),
        "total_volume": in_currency(whole(row.volume_24h), rate),
        "high_24h": in_currency(row.high_24h, rate),
        "low_24h": in_currency(row.low_24h, rate),
        "price_change_24h": in_currency(row.change_24h, rate),
        "price_change_percentage_24h": row.changes_pct["24h"],
        "market_cap_change_24h": in_currency(whole(row.cap_change_24h), rate),
        "market_cap_change_percentage_24h": row.cap_change_24h_pct,
        "circulating_supply": None if row.circulating is None else float(row.circulating),
        "total_supply": None if row.total_supply is None else float(row.total_supply),
        "max_supply": None if row.max_supply is None else float(row.max_supply),
        "ath": in_currency(row.ath, rate),
        "ath_change_percentage": row.ath_change_pct,
        "ath_date": None if row.ath_ms is None else iso(row.ath_ms),
        "atl": in_currency(row.atl, rate),
        "atl_change_percentage": row.atl_change_pct,
        "atl_date": None if row.atl_ms is None else iso(row.atl_ms),
        "roi": None,
        "last_updated": None if row.last_updated_ms is None else iso(row.last_updated_ms),
    }


def trend_nft(number: int) -> dict[str, object]:
    """Return one made-up collection of /search/trending."""
    return {
        "id": f"sim-nft-{number}",
        "name": f"Collection {number} (simulated)",
        "symbol": f"NFT{number}",
        "thumb": f"https://coin-images.coingecko.com/nft_contracts/images/{number}/standard/nft.png",
        "nft_contract_id": 4_000 + number,
        "native_currency_symbol": "eth",
        "floor_price_in_native_currency": 0.25,
        "floor_price_24h_percentage_change": -1.5,
        "data": {
            "floor_price": "0.25 ETH",
            "floor_price_in_usd_24h_percentage_change": "-1.5",
            "h24_volume": "12.5 ETH",
            "h24_average_sale_price": "0.26 ETH",
            "sparkline": f"https://www.coingecko.com/nft/{4_000 + number}/sparkline.svg",
            "content": None,
        },
    }


def trend_category(number: int) -> dict[str, object]:
    """Return one made-up category of /search/trending."""
    return {
        "id": 200 + number,
        "name": f"Category {number} (simulated)",
        "market_cap_1h_change": 0.1,
        "slug": f"sim-category-{number}",
        "coins_count": "12",
        "data": {
            "market_cap": 1000000.5,
            "market_cap_btc": 16.5,
            "total_volume": 50000.25,
            "total_volume_btc": "0.8",
            "market_cap_change_percentage_24h": {"usd": -0.5},
            "sparkline": f"https://www.coingecko.com/categories/{200 + number}/sparkline.svg",
        },
    }


def iso(time_ms: int, *, offset: bool = False) -> str:
    """Return ISO text with milliseconds, ending in Z (or +00:00)."""
    text = datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")
    return text if offset else text.replace("+00:00", "Z")


def chart_times(coin: Coin, days: int, interval: str, grid_ms: int) -> list[int]:
    """Return the times of chart points without the last one: days exactly at midnight, shorter steps off the grid."""
    if interval == "daily" or (days > _HOURLY_UP_TO_DAYS and interval != "hourly"):
        step, wander = DAY_MS, 0
    elif interval == "hourly" or days > 1:
        step, wander = HOUR_MS, 900_000
    else:
        step, wander = 300_000, 60_000
    first = max(grid_ms - days * DAY_MS, coin.listed_ms) // step + 1
    if coin.quirk == "no_changes":
        first = max(first, grid_ms // step - 3)
    own = key("chart", coin.id)
    return [n * step + (pick(own, n, wander) if wander else 0) for n in range(first, grid_ms // step + 1)]


def trend_item(row: MarketRow, score: int, btc: Decimal) -> dict[str, object]:
    """Return the item of one coin of /search/trending; money is display text there."""
    coin, price = row.coin, row.price or Decimal(0)
    in_btc = (price / btc).quantize(Decimal("1E-20"))
    image = f"{IMAGES}/{image_number(coin)}"
    change = row.changes_pct["24h"]
    return {
        "id": coin.id,
        "coin_id": image_number(coin),
        "name": coin.name,
        "symbol": coin.symbol.upper(),
        "market_cap_rank": row.rank,
        "thumb": f"{image}/standard/coin.png",
        "small": f"{image}/small/coin.png",
        "large": f"{image}/large/coin.png",
        "slug": coin.id,
        "price_btc": in_btc,
        "score": score,
        "data": {
            "price": price,
            "price_btc": format(in_btc, "f"),
            "price_change_percentage_24h": {} if change is None else {"usd": change, "eur": change},
            "market_cap": f"${row.market_cap or 0:,}",
            "market_cap_btc": format((row.market_cap or 0) / btc, "f"),
            "total_volume": f"${row.volume_24h or 0:,}",
            "total_volume_btc": format((row.volume_24h or 0) / btc, "f"),
            "sparkline": f"https://www.coingecko.com/coins/{image_number(coin)}/sparkline.svg",
            "content": None,
        },
    }
