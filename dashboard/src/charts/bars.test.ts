import { expect, test } from "vitest";

import type { Candle } from "../api";
import { barsOf, gridded, isBar, longer, woven } from "./bars";

const MINUTE = 60_000;
const START = Date.parse("2026-01-31T15:00:00.000Z");

function candle(minute: number, close: string, source = "okx", volume: string | null = "1"): Candle {
  return {
    instrument: "okx:BTC-USDT:perp",
    interval: "1m",
    open_time: new Date(START + minute * MINUTE).toISOString(),
    open: "100",
    high: "120.50",
    low: "90",
    close,
    volume,
    source,
  };
}

test("bars are oldest first, keep their exact texts and say who filled them", () => {
  const bars = barsOf([candle(2, "101.10", "kraken"), candle(1, "100.00")]);
  expect(bars.map((bar) => bar.close)).toEqual([100, 101.1]);
  expect(bars.map((bar) => bar.filledBy)).toEqual([null, "kraken"]);
  expect(bars[1]?.exact.close).toBe("101.10");
});

test("a missing bar is a hole and not a line between its neighbours", () => {
  const grid = gridded(barsOf([candle(0, "1"), candle(3, "1")]), MINUTE);
  expect(grid.map((place) => (place.at - START) / MINUTE)).toEqual([0, 1, 2, 3]);
  expect(grid.map(isBar)).toEqual([true, false, false, true]);
});

test("a gap of years does not fill the memory", () => {
  expect(gridded(barsOf([candle(0, "1"), candle(10_000_000, "1")]), MINUTE)).toHaveLength(5002);
});

test("a longer bar is made of all its parts, or not at all", () => {
  const parts = [0, 1, 2, 3, 4, 5, 6, 8, 9].map((minute) =>
    candle(minute, String(100 + minute), minute === 4 ? "kraken" : "okx"),
  );
  const [bar, ...others] = longer(barsOf(parts), MINUTE, 5 * MINUTE);
  expect(others).toEqual([]);
  expect(bar).toMatchObject({ at: START, open: 100, high: 120.5, low: 90, close: 104, volume: 5, filledBy: "kraken" });
});

test("the volume of a longer bar is not known when that of a part is not", () => {
  const parts = [0, 1, 2, 3, 4].map((minute) => candle(minute, "1", "okx", minute === 2 ? null : "0"));
  expect(longer(barsOf(parts), MINUTE, 5 * MINUTE)[0]?.volume).toBeNull();
});

test("weeks start on Monday", () => {
  const day = 86_400_000;
  const monday = Date.parse("2026-01-26T00:00:00.000Z");
  const days = Array.from({ length: 7 }, (_, at) => ({
    ...candle(0, "1"),
    open_time: new Date(monday + at * day).toISOString(),
  }));
  expect(longer(barsOf(days), day, 7 * day).map((bar) => bar.at)).toEqual([monday]);
});

test("rows are woven newest first, a newer one in place of the older", () => {
  const rows = woven(
    [
      { open_time: "2", v: 1 },
      { open_time: "1", v: 1 },
    ],
    [
      { open_time: "3", v: 2 },
      { open_time: "2", v: 2 },
    ],
  );
  expect(rows).toEqual([
    { open_time: "3", v: 2 },
    { open_time: "2", v: 2 },
    { open_time: "1", v: 1 },
  ]);
});
