import { expect, test } from "vitest";

import { ApiFailure, type Candle } from "../../api";
import { doubts, shaped, type Part } from "./load";

const bar = (open_time: string, close: string) => ({ open_time, close }) as Candle;
const part = (data: Candle[], stale = false, as_of: string | null = null): Part => ({
  page: { data, count: data.length, next: null, source: [], as_of, stale, simulated: true },
  error: null,
});
const refused = (): Part => ({ page: null, error: new ApiFailure("NOT_FOUND", "never stored", 404, null) });
const old = (asOf: string | null) => (asOf === null ? "?" : "3 h");

test("all begin at the first bar that they have in common, oldest first", () => {
  const parts = [
    part([bar("2026-01-03T00:00:00Z", "3"), bar("2026-01-02T00:00:00Z", "2"), bar("2026-01-01T00:00:00Z", "1")]),
    part([bar("2026-01-03T00:00:00Z", "30"), bar("2026-01-02T00:00:00Z", "20")]),
  ];
  const [first, second] = shaped(["bitcoin", "ether"], ["v:BTC", "v:ETH"], parts);
  expect(first).toEqual({
    asset: "bitcoin",
    instrument: "v:BTC",
    closes: [
      { at: Date.UTC(2026, 0, 2), close: 2 },
      { at: Date.UTC(2026, 0, 3), close: 3 },
    ],
  });
  expect(second?.closes.map((one) => one.close)).toEqual([20, 30]);
});

test("an asset without bars neither moves the start of the others nor hides them", () => {
  const parts = [part([]), part([bar("2026-01-02T00:00:00Z", "2"), bar("2026-01-01T00:00:00Z", "0")]), refused()];
  const shape = shaped(["a", "b", "c"], ["v:A", "v:B", "v:C"], parts);
  expect(shape.map((one) => one.closes.map((close) => close.close))).toEqual([[], [0, 2], []]);
});

test("a close that is no number is no close", () => {
  const [only] = shaped(["a"], ["v:A"], [part([bar("2026-01-01T00:00:00Z", "NaN"), bar("2026-01-02T00:00:00Z", "5")])]);
  expect(only?.closes).toEqual([{ at: Date.UTC(2026, 0, 2), close: 5 }]);
});

test("what is wrong with a market is said with its name", () => {
  const days = [bar("2026-01-02T00:00:00Z", "2"), bar("2026-01-03T00:00:00Z", "3")];
  const early = [bar("2025-01-02T00:00:00Z", "2"), bar("2025-01-03T00:00:00Z", "3")];
  const parts = [part(days), part(days, true, "2026-01-04T00:00:00Z"), part([]), refused(), part(early)];
  const names = ["v:A", "v:B", "v:C", "v:D", "v:E"];
  expect(doubts(shaped(["a", "b", "c", "d", "e"], names, parts), parts, old)).toEqual([
    "b (v:B): old data, the newest bar is 3 h old",
    "c (v:C): too few bars of this period are stored",
    "d (v:D) could not be loaded: never stored",
    "e (v:E): no bars in common with the others",
  ]);
});
