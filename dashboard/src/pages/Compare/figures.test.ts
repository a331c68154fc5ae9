import { expect, test } from "vitest";

import { correlation, drawdownPct, logReturns, normalised, returnPct, volatilityPct } from "./figures";

const DAY = 86_400_000;
const days = (...closes: number[]) => closes.map((close, at) => ({ at: at * DAY, close }));
const series = (...values: number[]) => new Map(values.map((value, at) => [at, value]));

test("a line starts at 100", () => {
  expect(normalised(days(50, 75, 25)).map((one) => one.y)).toEqual([100, 150, 50]);
  expect(normalised([])).toEqual([]);
});

test("the return is from the first close to the last", () => {
  expect(returnPct(days(50, 10, 60))).toBeCloseTo(20, 9);
  expect(returnPct(days(50))).toBeNull();
});

test("the drawdown is from the highest close before, not from the first or the highest of all", () => {
  // 120 to 60 is half; the later 200 to 150 is a quarter.
  expect(drawdownPct(days(100, 120, 60, 200, 150))).toBeCloseTo(-50, 9);
  expect(drawdownPct(days(1, 2, 3))).toBe(0);
  expect(drawdownPct(days(1))).toBeNull();
});

test("a hole between bars makes no return", () => {
  const closes = [...days(1, 2), { at: 3 * DAY, close: 4 }];
  expect([...logReturns(closes, DAY).keys()]).toEqual([DAY]);
});

test("volatility is the standard deviation of a sample over a year", () => {
  // Returns ln 2 and -ln 2: mean 0, variance 2 x 0.480453 / 1 = 0.960906; x 365 = 350.7307; root 18.72780.
  expect(volatilityPct(days(1, 2, 1), DAY)).toBeCloseTo(1872.78, 2);
  expect(volatilityPct(days(5, 5, 5), DAY)).toBe(0);
  expect(volatilityPct(days(1, 2), DAY)).toBeNull();
});

test("correlation follows Pearson over common bars", () => {
  // Means 2 and 2; products 1 x 1, 0 x -1, ... : dx -1 0 1, dy -1 1 0; 1 / sqrt(2 x 2) = 0.5.
  expect(correlation(series(1, 2, 3), series(1, 3, 2))).toBeCloseTo(0.5, 12);
  expect(correlation(series(1, 2, 3), series(6, 4, 2))).toBeCloseTo(-1, 12);
  expect(correlation(series(1, 2, 3, 9), series(1, 3, 2))).toBeCloseTo(0.5, 12);
});

test("two common returns, or a price that never moved, have no correlation", () => {
  expect(correlation(series(1, 2), series(1, 2))).toBeNull();
  expect(correlation(series(1, 2, 3), series(4, 4, 4))).toBeNull();
});
