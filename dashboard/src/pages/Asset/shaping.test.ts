import { expect, test } from "vitest";

import type { Indicators, Instrument, Market } from "../../api";
import { bookSides } from "./book";
import { assetOf, instrumentOf, possible } from "./choose";
import { columnsOf, drawings, overlaysOf } from "./overlays";

const market = (asset_id: string, symbol: string, rank: number | null) => ({ asset_id, symbol, rank }) as Market;
const markets = [
  market("fake", "BTC", 900),
  market("ethereum", "ETH", 2),
  market("bitcoin", "BTC", 1),
  market("new", "NEW", null),
];

test("an address names an asset by its id or its symbol, of several the best-ranked one", () => {
  expect(assetOf(markets, "fake")?.asset_id).toBe("fake");
  expect(assetOf(markets, "btc")?.asset_id).toBe("bitcoin");
  expect(assetOf(markets, undefined)?.asset_id).toBe("bitcoin");
  expect(assetOf(markets, "nothing")).toBeNull();
});

test("the instrument of the address is taken when it is one of the asset", () => {
  const one = (instrument: string, asset_id: string) =>
    ({ instrument, asset_id, venue: instrument.split(":")[0], quote: "USDT", gone_at: null }) as Instrument;
  const all = [
    one("okx:BTC-USDT:perp", "bitcoin"),
    one("binance_futures:BTC-USDT:perp", "bitcoin"),
    one("okx:ETH-USDT:perp", "ethereum"),
  ];
  expect(instrumentOf(all, "bitcoin", "okx:BTC-USDT:perp")?.instrument).toBe("okx:BTC-USDT:perp");
  expect(instrumentOf(all, "bitcoin", "okx:ETH-USDT:perp")?.instrument).toBe("binance_futures:BTC-USDT:perp");
  expect(instrumentOf(all, "solana", null)).toBeNull();
});

test("an interval can be drawn when it or its parts are stored", () => {
  expect([...possible(["1m", "1h"])]).toEqual(["1m", "5m", "15m", "1h", "4h"]);
});

test("only known overlays are drawn, and their columns asked for", () => {
  expect(overlaysOf(null)).toEqual(["sma"]);
  expect(overlaysOf("none")).toEqual([]);
  expect(overlaysOf("macd,rsi,<script>")).toEqual(["rsi", "macd"]);
  expect(columnsOf(["rsi", "bb"])).toBe("rsi_14,bb_upper,bb_middle,bb_lower");
});

test("an indicator that is not warm has no point, and levels are those of the newest bar", () => {
  const rows = [
    { open_time: "2026-01-31T15:00:00.000Z", rsi_14: 55.5, pivot: 100, pivot_r1: null },
    { open_time: "2026-01-31T14:00:00.000Z", rsi_14: null, pivot: 90 },
  ] as unknown as Indicators[];
  const { panes, levels, lines } = drawings(["pivots", "rsi"], rows);
  expect([...(panes[0]?.lines[0]?.values ?? [])]).toEqual([[Date.parse("2026-01-31T15:00:00.000Z"), 55.5]]);
  expect(levels).toEqual([{ name: "Pivot", price: 100, colour: "series-7" }]);
  expect(lines).toEqual([]);
});

test("a book is added up from the middle outwards, by rising price", () => {
  const { bids, asks } = bookSides({
    bid_prices: ["99", "98"],
    bid_sizes: ["1", "2.5"],
    ask_prices: ["101", "102"],
    ask_sizes: ["4", "1"],
  });
  expect(bids).toEqual([
    { x: 98, y: 3.5 },
    { x: 99, y: 1 },
  ]);
  expect(asks).toEqual([
    { x: 101, y: 4 },
    { x: 102, y: 5 },
  ]);
});
