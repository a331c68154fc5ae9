"""Which recording answers which request, and from when on: the providers as they were recorded, body for body.

A provider knows only what had been recorded by the time of its clock, and of that the newest. A body is served whole
and unchanged, or not at all: when a row of it lies outside the window asked for, the venue's empty list comes instead.
What nobody recorded is answered with the venue's own error.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from collector.clock import to_millis

Query = Mapping[str, str]
Read = Callable[[str], bytes]


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One body, when it was recorded, and the values a query must have for it to be the answer."""

    at: datetime
    path: str
    file: str
    query: Query = field(default_factory=dict)


def _at(*numbers: int) -> datetime:
    return datetime(*numbers, tzinfo=UTC)  # type: ignore[arg-type]


COINGECKO, BINANCE, OKX = "/api/v3/", "/fapi/v1/", "/api/v5/"
_BTC, _BTC_SWAP = {"symbol": "BTCUSDT"}, {"instId": "BTC-USDT-SWAP"}

RECORDINGS = (
    # CoinGecko: 2021 are recordings; net2024 and net2025 are real bodies out of a client library's tests.
    Recording(at=_at(2021, 5, 15, 15, 43, 44), path=COINGECKO + "coins/list", file="coingecko/rec2021_coins_list.json"),
    Recording(
        at=_at(2021, 5, 15, 16, 1, 4),
        path=COINGECKO + "coins/markets",
        file="coingecko/rec2021_coins_markets_btc.json",
        query={"page": "1"},
    ),
    Recording(
        at=_at(2024, 4, 7, 16, 50),
        path=COINGECKO + "coins/markets",
        file="coingecko/net2024_coins_markets_btc.json",
        query={"page": "1"},
    ),
    Recording(at=_at(2021, 5, 18, 14, 1, 12), path=COINGECKO + "global", file="coingecko/rec2021_global.json"),
    Recording(at=_at(2025, 4, 7, 11, 30), path=COINGECKO + "global", file="coingecko/net2025_global.json"),
    Recording(
        at=_at(2021, 5, 15, 16, 0, 13),
        path=COINGECKO + "coins/bitcoin",
        file="coingecko/rec2021_coins_id_bitcoin_full.json",
    ),
    Recording(
        at=_at(2021, 5, 15, 14, 42, 23),
        path=COINGECKO + "coins/bitcoin/market_chart",
        file="coingecko/rec2021_market_chart_btc_30d_hourly.json",
        query={"days": "30"},
    ),
    # Asked with days=7, the collector asks for 30: both are answered with candles of four hours.
    Recording(
        at=_at(2021, 5, 15, 15, 34, 27),
        path=COINGECKO + "coins/bitcoin/ohlc",
        file="coingecko/rec2021_ohlc_btc_7d.json",
    ),
    # Binance futures. The whole list of 2021; that of 2022 is cut to three contracts, hence left out.
    Recording(
        at=_at(2021, 7, 21, 9, 4, 4),
        path=BINANCE + "exchangeInfo",
        file="binance/rec_fapi_exchangeInfo_2021-07-22.json",
    ),
    *(
        Recording(
            at=_at(2021, 7, 22, 22, 25, 42),
            path=BINANCE + "depth",
            file=f"binance/rec_fapi_depth_{symbol}_limit1000.json",
            query={"symbol": symbol, "limit": "1000"},
        )
        for symbol in ("AKROUSDT", "SUSHIUSDT")
    ),
    # No bars of the futures were recorded as a series: these were answered by the spot host, in the same shape.
    Recording(
        at=_at(2023, 1, 6, 9, 0, 1),
        path=BINANCE + "klines",
        file="binance/rec_spot_klines_1h_4rows_2023-01.json",
        query={**_BTC, "interval": "1h"},
    ),
    # Copied by hand from live answers: one symbol where the collector asks for all of them.
    Recording(
        at=_at(2026, 7, 6, 3, 16, 30),
        path=BINANCE + "klines",
        file="binance/live2026_fapi_klines_BTCUSDT_1d_1row.json",
        query={**_BTC, "interval": "1d"},
    ),
    Recording(
        at=_at(2026, 7, 6, 3, 16, 28),
        path=BINANCE + "premiumIndex",
        file="binance/live2026_fapi_premiumIndex_BTCUSDT.json",
    ),
    Recording(
        at=_at(2026, 7, 6, 3, 16, 24),
        path=BINANCE + "ticker/24hr",
        file="binance/live2026_fapi_ticker24hr_BTCUSDT.json",
    ),
    Recording(
        at=_at(2026, 7, 6, 3, 16, 24),
        path=BINANCE + "openInterest",
        file="binance/live2026_fapi_openInterest_BTCUSDT.json",
        query=_BTC,
    ),
    # Answered to a call without a symbol, so five of its six rows are about other contracts than the one asked for.
    Recording(
        at=_at(2026, 6, 10, 8, 0, 5),
        path=BINANCE + "fundingRate",
        file="binance/live2026_fapi_fundingRate_no_params_first6.json",
        query={"symbol": "THETAUSDT"},
    ),
    # OKX
    Recording(
        at=_at(2022, 5, 13, 16, 26),
        path=OKX + "public/instruments",
        file="okx/rec_public_instruments_SWAP_2022-05-13.json",
        query={"instType": "SWAP"},
    ),
    Recording(
        at=_at(2025, 5, 12, 23, 0),
        path=OKX + "public/instruments",
        file="okx/rec_public_instruments_SWAP_2025_trimmed.json",
        query={"instType": "SWAP"},
    ),
    Recording(
        at=_at(2024, 6, 17, 22, 0, 1),
        path=OKX + "market/candles",
        file="okx/rec_market_candles_SWAP_1H_4rows_2024-06.json",
        query={**_BTC_SWAP, "bar": "1H"},
    ),
    Recording(
        at=_at(2025, 5, 12, 23, 55, 1),
        path=OKX + "market/candles",
        file="okx/rec_market_candles_BTC-USDT-SWAP_1m_2rows.json",
        query={**_BTC_SWAP, "bar": "1m"},
    ),
    # Nothing is older than the candles above: an empty envelope, here that of another endpoint.
    Recording(at=_at(2021, 1, 1), path=OKX + "market/history-candles", file="okx/doc_system_status_empty.json"),
    Recording(
        at=_at(2025, 4, 14, 0, 25, 50),
        path=OKX + "public/mark-price",
        file="okx/rec_public_mark_price_BTC-USDT-SWAP.json",
    ),
    # Documentation whose values look real, then two live answers copied by hand (the open interest of the demo venue).
    Recording(
        at=_at(2025, 4, 2, 10, 11, 27), path=OKX + "public/funding-rate", file="okx/doc_public_funding_rate_2026.json"
    ),
    Recording(
        at=_at(2025, 12, 5, 3, 41, 57),
        path=OKX + "public/open-interest",
        file="okx/live2025_public_open_interest_DEMO_BTC-USDT-SWAP.json",
    ),
    Recording(
        at=_at(2026, 9, 4, 0, 0, 5),
        path=OKX + "public/funding-rate-history",
        file="okx/live2026_public_funding_rate_history_1row.json",
        query=_BTC_SWAP,
    ),
)
"""Order books and tickers of OKX swaps were recorded from its WebSocket only, Binance's fundingInfo not at all."""

TIME_COLUMNS = {BINANCE + "fundingRate": "fundingTime", OKX + "public/funding-rate-history": "fundingTime"}
NO_ROWS = {BINANCE: b"[]", OKX: b'{"code":"0","data":[],"msg":""}'}


def answer(read: Read, now: datetime, path: str, query: Query) -> tuple[int, bytes, str]:
    """Return status, body, and the file the body is from ("" where it is not a recording)."""
    known = [
        item
        for item in RECORDINGS
        if item.path == path and item.at <= now and all(query.get(key) == value for key, value in item.query.items())
    ]
    if not known:
        return _refusal(read, path)
    found = max(known, key=lambda item: item.at)
    body = read(found.file)
    if any(not _in_window(moment, query) for moment in _times(path, body)):
        return 200, next(empty for start, empty in NO_ROWS.items() if path.startswith(start)), ""
    return 200, body, found.file


def _refusal(read: Read, path: str) -> tuple[int, bytes, str]:
    """Return what the venue says to an unknown symbol; CoinGecko's is from its documentation, nobody recorded it."""
    if path.startswith(BINANCE):
        return 400, read("binance/err_400_-1121.json"), "binance/err_400_-1121.json"
    if path.startswith(OKX):
        return 200, read("okx/err_51001_instrument.json"), "okx/err_51001_instrument.json"
    return 404, b'{"error":"coin not found"}', ""


def _times(path: str, body: bytes) -> Iterator[int]:
    """Yield the times of the rows of a list that is asked for by window, in milliseconds."""
    if not path.endswith(("klines", "candles")) and path not in TIME_COLUMNS:
        return
    document = json.loads(body)
    for row in document["data"] if isinstance(document, dict) else document:
        yield int(row[0] if isinstance(row, list) else row[TIME_COLUMNS[path]])


def _in_window(moment: int, query: Query) -> bool:
    """Tell whether a row may come: from `startTime` on, or older than `after`.

    `endTime` is not looked at, so that a forming bar comes although the collector does not ask for it.
    """
    return int(query.get("startTime", 0)) <= moment < int(query.get("after", to_millis(_at(9999, 1, 1))))
