import { expect, test } from "vitest";

import type { Answer, OpenInterest } from "../../api";
import { byName, earlier, joined, known, type Kept } from "./load";

const HOUR = 3_600_000;
const NOW = Date.parse("2026-01-31T12:00:00Z");
const row = (instrument: string, observed_at: string) => ({ instrument, observed_at }) as OpenInterest;
const page = (names: string[], as_of: string | null, stale: boolean, source: string[]): Answer<OpenInterest> => ({
  data: names.map((name) => row(name, "")),
  count: names.length,
  next: null,
  source,
  as_of,
  stale,
  simulated: false,
});

test("pages become one: every row, each source once, as new as the newest, stale when one is", () => {
  const one = joined([
    page(["a", "b"], "2026-01-31T10:00:00.000Z", false, ["okx"]),
    page(["c"], "2026-01-31T11:00:00.000Z", true, ["okx", "kraken"]),
    page([], null, false, []),
  ]);
  expect(one.data.map((each) => each.instrument)).toEqual(["a", "b", "c"]);
  expect(one).toMatchObject({ count: 3, next: null, source: ["okx", "kraken"], stale: true, simulated: false });
  expect(one.as_of).toBe("2026-01-31T11:00:00.000Z");
});

test("no page at all is an empty one of no time", () => {
  expect(joined([])).toMatchObject({ data: [], count: 0, as_of: null, stale: false, simulated: false });
});

test("rows are found by the name of their instrument", () => {
  expect(byName(page(["a", "b"], null, false, [])).get("b")?.instrument).toBe("b");
  expect(byName(null).size).toBe(0);
});

/** Answers at once; says what was asked and how many were under way at a time. */
function asker(rows: Record<string, string>) {
  const asked: string[] = [];
  let [running, most] = [0, 0];
  const ask = async (name: string) => {
    asked.push(name);
    running += 1;
    most = Math.max(most, running);
    await Promise.resolve();
    running -= 1;
    const at = rows[name];
    return at === undefined ? null : row(name, at);
  };
  return { ask, asked, most: () => most };
}

test("what is known is not asked again, and four are asked at a time", async () => {
  const kept: Kept = new Map();
  const names = Array.from({ length: 10 }, (_, at) => `n${at}`);
  const { ask, asked, most } = asker({ n3: "2026-01-31T11:00:00Z" });
  await earlier(names.slice(0, 6), { period: HOUR, now: NOW, kept, ask });
  await earlier(names, { period: HOUR, now: NOW + 1000, kept, ask });
  expect(asked).toEqual(names);
  expect(most()).toBe(4);
  expect([...known(kept, HOUR).keys()]).toEqual(["n3"]);
});

test("after five minutes it is asked again, and other periods are other questions", async () => {
  const kept: Kept = new Map();
  const { ask, asked } = asker({});
  await earlier(["a"], { period: HOUR, now: NOW, kept, ask });
  await earlier(["a"], { period: 2 * HOUR, now: NOW + 1, kept, ask });
  await earlier(["a"], { period: HOUR, now: NOW + 5 * 60_000, kept, ask });
  expect(asked).toEqual(["a", "a", "a"]);
  expect(kept.size).toBe(2);
});

test("a row that is far from the start of the period does not stand for it", async () => {
  const kept: Kept = new Map();
  const { ask } = asker({ near: "2026-01-31T10:45:00Z", far: "2026-01-31T09:00:00Z" });
  await earlier(["near", "far"], { period: HOUR, now: NOW, kept, ask });
  expect([...known(kept, HOUR).keys()]).toEqual(["near"]);
});

test("when one is refused, what came before is kept and the rest is asked another time", async () => {
  const kept: Kept = new Map();
  const { ask } = asker({ a: "2026-01-31T11:00:00Z" });
  const failing = (name: string) => (name === "e" ? Promise.reject(new Error("RATE_LIMITED")) : ask(name));
  const names = ["a", "b", "c", "d", "e", "f"];
  await expect(earlier(names, { period: HOUR, now: NOW, kept, ask: failing })).rejects.toThrow("RATE_LIMITED");
  expect(known(kept, HOUR).has("a")).toBe(true);
  expect(kept.has(`${HOUR} e`)).toBe(false);
});
