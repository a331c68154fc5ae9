import { expect, test } from "vitest";

import type { Instrument, Ticker } from "../../api";
import { basisBps, changePct, heatRows, per8h, perCoin, spotOf, standsFor, yearly } from "./figures";

test("rates of different intervals are brought to eight hours", () => {
  expect(per8h("0.0001", 8)).toBeCloseTo(0.01, 12);
  expect(per8h("0.0001", 1)).toBeCloseTo(0.08, 12);
  expect(per8h("-0.0002", 4)).toBeCloseTo(-0.04, 12);
  expect(per8h("0", 8)).toBe(0);
});

test("a rate without its interval, or no rate, is not known", () => {
  expect(per8h("0.0001", null)).toBeNull();
  expect(per8h("0.0001", 0)).toBeNull();
  expect(per8h(null, 8)).toBeNull();
});

test("0.01 % each eight hours is 10.95 % a year", () => {
  expect(yearly(0.01)).toBeCloseTo(10.95, 10);
  expect(yearly(null)).toBeNull();
});

test("the basis is in basis points and has a sign", () => {
  expect(basisBps(101, 100)).toBeCloseTo(100, 9);
  expect(basisBps(99.5, 100)).toBeCloseTo(-50, 9);
  expect(basisBps(1, 0)).toBeNull();
  expect(basisBps(null, 1)).toBeNull();
});

test("a contract of a thousand coins is priced for one", () => {
  expect(perCoin("0.012", "1000")).toBeCloseTo(0.000012, 15);
  expect(perCoin("5", null)).toBe(5);
});

test("a change from nothing is not known, one to nothing is a whole loss", () => {
  expect(changePct(120, 100)).toBeCloseTo(20, 9);
  expect(changePct(0, 100)).toBe(-100);
  expect(changePct(5, 0)).toBeNull();
});

test("only a row near the start of a period stands for it", () => {
  const start = Date.parse("2026-01-31T12:00:00Z");
  expect(standsFor("2026-01-31T12:00:00Z", start, 3_600_000)).toBe(true);
  expect(standsFor("2026-01-31T11:30:00Z", start, 3_600_000)).toBe(true);
  expect(standsFor("2026-01-31T11:29:59Z", start, 3_600_000)).toBe(false);
  expect(standsFor("2026-01-31T12:00:01Z", start, 3_600_000)).toBe(false);
});

test("a perpetual is compared with a spot market of the same asset and quote that has a price", () => {
  const make = (instrument: string, kind: string, quote: string, asset_id: string | null) =>
    ({ instrument, kind, quote, asset_id }) as Instrument;
  const perpetual = make("v:BTC-USDT:perp", "perp", "USDT", "bitcoin");
  const all = [
    perpetual,
    make("b:BTC-USDT:spot", "spot", "USDT", "bitcoin"),
    make("a:BTC-USDT:spot", "spot", "USDT", "bitcoin"),
    make("a:BTC-USD:spot", "spot", "USD", "bitcoin"),
  ];
  const said = (instrument: string, last_price: string | null) => ({ instrument, last_price }) as Ticker;
  const tickers = new Map([
    ["a:BTC-USD:spot", said("a:BTC-USD:spot", "1")],
    ["a:BTC-USDT:spot", said("a:BTC-USDT:spot", null)],
    ["b:BTC-USDT:spot", said("b:BTC-USDT:spot", "2")],
  ]);
  expect(spotOf(perpetual, all, tickers)?.instrument).toBe("b:BTC-USDT:spot");
  expect(spotOf(make("v:X-USDT:perp", "perp", "USDT", null), all, tickers)).toBeNull();
});

test("two perpetuals of one asset at the same venue in the same currency both have a place", () => {
  const make = (venue: string, base: string, asset_id: string | null) =>
    ({ instrument: `${venue}:${base}-USDT:perp`, venue, base, quote: "USDT", kind: "perp", asset_id }) as Instrument;
  const all = [
    make("okx", "PEPE", "pepe"),
    make("binance", "PEPE", "pepe"),
    make("binance", "1000PEPE", "pepe"),
    make("okx", "BTC", "bitcoin"),
    make("okx", "NEW", null),
  ];
  const { columns, rows } = heatRows(all);
  expect(columns).toEqual(["binance USDT", "okx USDT"]);
  expect(rows.map((row) => [row.name, ...row.cells.map((one) => one?.base ?? null)])).toEqual([
    ["bitcoin", null, "BTC"],
    ["NEW", null, "NEW"],
    ["pepe", "1000PEPE", "PEPE"],
    ["pepe, binance:PEPE-USDT:perp", "PEPE", null],
  ]);
  expect(new Set(rows.map((row) => row.key)).size).toBe(4);
});
