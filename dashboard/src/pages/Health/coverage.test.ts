import { expect, test } from "vitest";

import type { Coverage } from "../../api";
import { coverageRows, heldOf, heldText, kinds, usedOf } from "./coverage";

function series(instrument: string, interval: string, held: number, missing: number): Coverage {
  return {
    series: `${instrument}/${interval === "" ? "funding" : interval}`,
    instrument,
    dataset: interval === "" ? "funding" : "candles",
    interval,
    since: null,
    until: null,
    held_s: held,
    missing_s: missing,
    provider_has_none_s: 0,
    holes: missing > 0 ? 1 : 0,
    sources: [],
    next_try_at: null,
  };
}

test("columns are ordered by the length of the bars, funding comes last", () => {
  const rows = ["", "1d", "1m", "1h"].map((interval) => series("okx:A-USDT:perp", interval, 1, 0));
  expect(kinds(rows)).toEqual(["1m", "1h", "1d", "funding"]);
});

test("instruments that miss most come first, what is not collected is a dash and no zero", () => {
  const rows = [
    series("a", "1m", 100, 0),
    series("b", "1m", 75, 25),
    series("b", "1h", 10, 0),
    series("c", "1h", 0, 0),
  ];
  const found = coverageRows(rows, ["1m", "1h"]);
  expect(found.map((row) => [row.instrument, ...row.cells.map((cell) => cell.text)])).toEqual([
    ["b", "75.0 %", "100 %"],
    ["a", "100 %", "–"],
    ["c", "–", "none"],
  ]);
  expect(found[0]?.cells[0]?.strength).toBeCloseTo(-0.7);
  expect(found[1]?.cells[0]?.strength).toBeGreaterThan(0);
});

test("what is held of all series is weighed by time", () => {
  expect(heldOf([series("a", "1m", 100, 0), series("b", "1m", 60, 40)])).toEqual({
    series: 2,
    withHoles: 1,
    missingSeconds: 40,
    share: 0.8,
  });
  expect(heldOf([]).share).toBeNull();
});

test("100 percent is said only when nothing is missing", () => {
  expect([1, 0.999999, 0.5, 0, null].map(heldText)).toEqual(["100 %", "99.99 %", "50.0 %", "0.0 %", "–"]);
});

test("of one limit with two accounts the one that used most is shown", () => {
  const budget = { source: "okx", scope: "calls", window_s: 60, capacity: 20, updated_at: "2026-01-31T12:00:00.000Z" };
  const found = usedOf([
    { ...budget, used: 0, updated_at: "2026-01-31T12:00:01.000Z" },
    { ...budget, used: 5 },
    { ...budget, window_s: 3600, used: 1 },
  ]);
  expect(found.map((one) => [one.window_s, one.used, one.part])).toEqual([
    [60, 5, 0.25],
    [3600, 1, 0.05],
  ]);
});
