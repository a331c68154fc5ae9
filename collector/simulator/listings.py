"""The instrument lists of the venues: one contract in, the documented row out."""

from __future__ import annotations

from collections.abc import Sequence

from collector.simulator.universe import NEVER_MS, Contract
from collector.simulator.wire import fixed

PENDING_SYMBOL = "SOONUSDT"
"""A Binance contract that is announced but does not trade yet: only listed, with an empty contractType."""
_CONTRACT_TYPES = {"perpetual": "PERPETUAL", "index": "PERPETUAL", "stock": "TRADIFI_PERPETUAL"}


def binance_symbols(contracts: Sequence[Contract]) -> list[dict[str, object]]:
    """Return the entries of exchangeInfo; the dated contracts must come in the order of their delivery."""
    quarters = iter(("CURRENT_QUARTER", "NEXT_QUARTER"))
    rows = [_binance_symbol(c, next(quarters) if c.kind == "dated" else _CONTRACT_TYPES[c.kind]) for c in contracts]
    return [*rows, _binance_pending(rows[0])]


def _binance_symbol(contract: Contract, contract_type: str) -> dict[str, object]:
    """Return one entry of exchangeInfo; precisions differ from tick and step on purpose, as at the venue."""
    tick, step = fixed(1, contract.tick_exp), fixed(1, contract.lot_exp)
    return {
        "symbol": contract.symbol,
        "pair": contract.base + contract.quote,
        "contractType": contract_type,
        "deliveryDate": contract.expires_ms or NEVER_MS,
        "onboardDate": contract.listed_ms,
        "status": "TRADING",
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": contract.base,
        "quoteAsset": contract.quote,
        "marginAsset": contract.settle,
        "pricePrecision": max(0, -contract.tick_exp) + 1,
        "quantityPrecision": max(0, -contract.lot_exp),
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": {"stock": "EQUITY", "index": "INDEX"}.get(contract.kind, "COIN"),
        "underlyingSubType": [],
        "settlePlan": 0,
        "triggerProtect": "0.0500",
        "liquidationFee": "0.012000",
        "marketTakeBound": "0.30",
        "filters": [
            {"minPrice": tick, "maxPrice": "1000000", "filterType": "PRICE_FILTER", "tickSize": tick},
            {"stepSize": step, "filterType": "LOT_SIZE", "maxQty": "10000000", "minQty": step},
            {"stepSize": step, "filterType": "MARKET_LOT_SIZE", "maxQty": "1000000", "minQty": step},
            {"limit": 200, "filterType": "MAX_NUM_ORDERS"},
            {"limit": 10, "filterType": "MAX_NUM_ALGO_ORDERS"},
            {"notional": "5", "filterType": "MIN_NOTIONAL"},
            {
                "multiplierDown": "0.8500",
                "multiplierUp": "1.1500",
                "multiplierDecimal": "4",
                "filterType": "PERCENT_PRICE",
            },
        ],
        "orderTypes": ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET"],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX"],
    }


def _binance_pending(model: dict[str, object]) -> dict[str, object]:
    return model | {
        "symbol": PENDING_SYMBOL,
        "pair": PENDING_SYMBOL,
        "contractType": "",
        "status": "PENDING_TRADING",
        "baseAsset": "SOON",
    }


def okx_family(contract: Contract) -> str:
    """Return the instrument family, which is also the name of the index: BTC-USDT for BTC-USDT-SWAP."""
    return contract.symbol.removesuffix("-SWAP")


def okx_instrument(contract: Contract) -> dict[str, object]:
    """Return one row of the instrument list; base and quote currency stay empty for swaps."""
    size = "100000000.0000000000000000"
    return {
        "alias": "",
        "auctionEndTime": "",
        "baseCcy": "",
        "category": "1",
        "contTdSwTime": "",
        "ctMult": "1",
        "ctType": "inverse" if contract.inverse else "linear",
        "ctVal": fixed(1, contract.unit_exp),
        "ctValCcy": "USD" if contract.inverse else contract.base,
        "expTime": "",
        "floatPxLmtPct": "0.05",
        "futureSettlement": False,
        "groupId": "1",
        "initPxLmtPct": "0.05",
        "instCategory": "3" if contract.kind == "stock" else "1",
        "instFamily": okx_family(contract),
        "instId": contract.symbol,
        "instIdCode": 10_000 + contract.key % 1_000_000,
        "instType": "SWAP",
        "lever": "50",
        "listTime": str(contract.listed_ms),
        "lotSz": fixed(1, contract.lot_exp),
        "maxIcebergSz": size,
        "maxLmtAmt": "20000000",
        "maxLmtSz": "100000000",
        "maxMktAmt": "",
        "maxMktSz": "20000",
        "maxPxLmtPct": "0.15",
        "maxStopSz": "20000",
        "maxTriggerSz": size,
        "maxTwapSz": size,
        "minSz": fixed(1, contract.lot_exp),
        "openType": "",
        "optType": "",
        "preMktSwTime": "",
        "quoteCcy": "",
        "ruleType": "normal",
        "settleCcy": contract.settle,
        "state": "live",
        "stk": "",
        "tickSz": fixed(1, contract.tick_exp),
        "tradeQuoteCcyList": [],
        "uly": okx_family(contract),
        "upcChg": [],
    }


def okx_preopen(model: dict[str, object]) -> dict[str, object]:
    """Return the almost empty row of a contract before its opening: it has not even an instId."""
    bare = {name: "" if isinstance(value, str) else value for name, value in model.items() if name != "instId"}
    return bare | {"instType": "SWAP", "state": "preopen", "instIdCode": None}
