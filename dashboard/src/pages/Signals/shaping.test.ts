import { expect, test } from "vitest";

import {
  aroundZero,
  breadthLines,
  cellsOf,
  equityLines,
  kindName,
  largest,
  marketParts,
  minutes,
  newestBreadth,
  plainly,
  portfolios,
  standing,
  standingOf,
  wilson,
} from "./shaping";
import type { AssetView, Breadth, Equity, Performance, Run, Weight } from "./types";

test("kinds have names for people, and an unknown kind keeps its own", () => {
  expect(kindName("ema_cross")).toBe("Moving averages");
  expect(kindName("new_kind")).toBe("new kind");
});

test("a market is told in two parts, and a name of another form stays whole", () => {
  expect(marketParts("binance_futures:BTC-USDT:perp")).toEqual({ pair: "BTC-USDT", where: "binance futures perp" });
  expect(marketParts("bitcoin")).toEqual({ pair: "bitcoin", where: "" });
});

test("spans are ordered by their length and not by their letters", () => {
  expect(["365d", "7d", "1h", "90d", "1w"].sort((a, b) => (minutes(a) ?? 0) - (minutes(b) ?? 0))).toEqual([
    "1h",
    "7d",
    "1w",
    "90d",
    "365d",
  ]);
  expect(minutes("1d")).toBe(1440);
  expect(minutes("day")).toBeNull();
});

test("a bar begins in the middle and goes to the side of its sign", () => {
  expect(aroundZero(0.5)).toEqual({ left: 50, width: 25 });
  expect(aroundZero(-1)).toEqual({ left: 0, width: 50 });
  expect(aroundZero(0)).toEqual({ left: 50, width: 0 });
});

test("a bar stays within its frame, and without a value there is none", () => {
  expect(aroundZero(7)).toEqual({ left: 50, width: 50 });
  expect(aroundZero("-7")).toEqual({ left: 0, width: 50 });
  expect(aroundZero(null)).toBeNull();
});

test("what a view follows from comes with the strongest first, whichever way it points", () => {
  const view = {
    members: {
      "rsi 1h": { weight: 1, strength: 0.1, signals: { "v:A rsi_14": 0.1 } },
      "ema_cross 1d": { weight: 1, strength: -0.6, signals: { "v:A ema": -0.5, "w:A ema": -0.7 } },
    },
  } as unknown as AssetView;
  expect(cellsOf(view)).toEqual([
    { key: "ema_cross 1d", kind: "ema_cross", interval: "1d", strength: -0.6, signals: 2 },
    { key: "rsi 1h", kind: "rsi", interval: "1h", strength: 0.1, signals: 1 },
  ]);
});

test("Wilson's interval of 8 hits in 10 is that of his formula", () => {
  // p 0.8, n 10, z^2 3.841459: middle 0.9920729, reach 1.959964 sqrt(0.016 + 0.0096036) = 0.3136150, whole 1.3841459.
  const bounds = wilson(8, 10);
  expect(bounds?.[0]).toBeCloseTo(0.490162, 4);
  expect(bounds?.[1]).toBeCloseTo(0.943318, 4);
});

test("Wilson's interval stays between nothing and all, and is none without outcomes", () => {
  expect(wilson(0, 5)?.[0]).toBe(0);
  expect(wilson(5, 5)?.[1]).toBe(1);
  expect(wilson(0, 0)).toBeNull();
});

test("a rule is called better or worse than chance only when one half is outside of its interval", () => {
  const rule = (hits: number, outcomes: number) => ({ hits, outcomes }) as Performance;
  expect(standing(rule(8, 10))).toBe("open");
  expect(standing(rule(80, 100))).toBe("better");
  expect(standing(rule(20, 100))).toBe("worse");
  expect(standing(rule(0, 0))).toBe("open");
});

test("a refusal is told in plain words, and an unknown one leaves its own reason", () => {
  expect(plainly("12 days on which all 3 assets have a return, 60 needed")).toContain("too little history");
  expect(plainly("no closes up to 2026-01-31 12:00")).toContain("No daily bars");
  expect(plainly("3 assets of at most 0.3 each add up to 0.9 and not to 1: raise max_weight")).toContain("bounds");
  expect(plainly("turnover_limit 0.3 cannot be kept: ...")).toContain("turnover");
  expect(plainly("something new")).toBe("");
});

const run = (portfolio: string, as_of: string, state: string) => ({ portfolio, as_of, state, reason: "" }) as Run;

test("a refused newest run does not hide the weights before it", () => {
  const runs = [run("a", "3", "refused"), run("b", "3", "ok"), run("a", "2", "ok"), run("a", "1", "ok")];
  const found = standingOf(runs, "a");
  expect(found.newest?.as_of).toBe("3");
  expect(found.held?.as_of).toBe("2");
  expect(found.refused.map((one) => one.as_of)).toEqual(["3"]);
  expect(standingOf(runs, "c")).toEqual({ newest: null, held: null, refused: [] });
  expect(portfolios(runs, [{ portfolio: "z" }])).toEqual(["a", "b", "z"]);
});

test("bars of weights are drawn against the largest of them and of the market", () => {
  const row = (weight: number | null, market_weight: number | null) => ({ weight, market_weight }) as Weight;
  expect(largest([row(0.3, 0.1), row(0.2, 0.6), row(null, null)])).toBe(0.6);
  expect(largest([])).toBe(1);
});

test("equity is drawn from 100, oldest first, with a hole where nothing is known", () => {
  const day = (at: number, equity: number | null, bitcoin: number | null, portfolio = "a") =>
    ({ portfolio, day: `2026-01-0${at}T00:00:00Z`, equity, bitcoin, market: null }) as Equity;
  const [own, bitcoin, market] = equityLines([day(2, 1.5, null), day(1, 1, 1), day(1, 9, 9, "b")], "a");
  expect(own?.points).toEqual([
    { x: Date.UTC(2026, 0, 1), y: 100 },
    { x: Date.UTC(2026, 0, 2), y: 150 },
  ]);
  expect(own?.gained).toBe(0.5);
  expect(bitcoin?.points.map((point) => point.y)).toEqual([100, null]);
  expect(bitcoin?.gained).toBe(0);
  expect(market?.gained).toBeNull();
});

test("breadth is that of the newest day of each span, the shortest first", () => {
  const row = (span: string, day: number, advance_share: number | null) =>
    ({ span, as_of: `2026-01-0${day}T00:00:00Z`, advance_share }) as Breadth;
  const rows = [row("30d", 2, 0.4), row("7d", 1, 0.2), row("7d", 2, null), row("365d", 1, 1)];
  expect(newestBreadth(rows).map((one) => `${one.span} ${one.as_of.slice(8, 10)}`)).toEqual([
    "7d 02",
    "30d 02",
    "365d 01",
  ]);
  expect(breadthLines(rows)[0]).toEqual({
    name: "7d",
    points: [
      { x: Date.UTC(2026, 0, 1), y: 20 },
      { x: Date.UTC(2026, 0, 2), y: null },
    ],
  });
});
