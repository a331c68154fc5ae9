import { expect, test } from "vitest";

import { average, chosenTrends, strengthWord, type Trend } from "./trend";

const rows = ["bitcoin", "ethereum", "pepe"].map((subject) => ({ subject })) as Trend[];
const names = (found: Trend[]) => found.map((row) => row.subject);

test("trends are those of the chosen assets, in the order they were chosen in", () => {
  expect(names(chosenTrends(rows, ["pepe", "bitcoin", "unknown"], false))).toEqual(["pepe", "bitcoin"]);
  expect(chosenTrends(rows, [], false)).toEqual([]);
});

test("all trends are shown when all are asked for", () => {
  expect(names(chosenTrends(rows, ["pepe"], true))).toEqual(["bitcoin", "ethereum", "pepe"]);
});

test("moving averages are told in words, with the days since they crossed where those are known", () => {
  expect(average({ ma_state: 1, ma_bars: 1 }).text).toBe("fast above slow, 1 day");
  expect(average({ ma_state: -1, ma_bars: null })).toEqual({ way: "down", sign: "▼", text: "fast below slow" });
  expect(average({ ma_state: 0, ma_bars: 0 }).text).toBe("equal, 0 days");
  expect(average({ ma_state: null, ma_bars: null }).text).toBe("–");
});

test("a trend is strong when a line explains most of the movement", () => {
  expect([strengthWord(0.6), strengthWord("0.45"), strengthWord(0), strengthWord(null)]).toEqual([
    "strong",
    "medium",
    "weak",
    "",
  ]);
});
