import { expect, test } from "vitest";

import type { Health } from "../../api";
import type { Disk } from "./space";
import { freshnessOf } from "./freshness";
import type { Cycle, Source } from "./types";
import { verdict, type Known } from "./verdict";

const NOW = Date.parse("2026-01-31T12:05:00Z");

const health = { status: "healthy", database: { status: "online", reason: null } } as unknown as Health;

function cycles(...minutes: number[]): Cycle[] {
  return minutes.map((minute, at) => ({
    cycle_id: minutes.length - at,
    cadence: "market",
    state: "ok",
    started_at: new Date(NOW - minute * 60_000).toISOString(),
    finished_at: new Date(NOW - minute * 60_000 + 1000).toISOString(),
    folder: "",
    rows_written: 1,
    indicator_rows: 0,
    jobs_ok: 1,
    jobs_failed: 0,
    jobs_skipped: 0,
    rejects: 0,
  }));
}

function source(name: string, change: Partial<Source> = {}): Source {
  return {
    source: name,
    enabled: true,
    status: "online",
    reason: "",
    banned: false,
    denied: false,
    last_ok_at: "2026-01-31T12:04:00Z",
    last_error: null,
    last_error_at: null,
    ...change,
  } as Source;
}

function fresh(title: string, stale: boolean, old = 0, rows = 10) {
  return { title, rows, old, more: false, asOf: null, stale };
}

const well: Known = {
  lost: null,
  unread: [],
  health,
  cycles: cycles(1, 2, 3, 4),
  sources: [source("okx"), source("kraken")],
  budgets: [],
  coverage: [],
  freshness: [fresh("Tickers", false), fresh("Markets", false), fresh("Sentiment", false)],
  disk: null,
};

const texts = (known: Known) => verdict(known, NOW).reasons.map((one) => `${one.level}: ${one.text}`);

test("everything in order is healthy and has no reasons", () => {
  expect(verdict(well, NOW)).toEqual({ level: "good", sentence: "Collection is healthy", reasons: [] });
});

test("before the answers are there nothing is called healthy", () => {
  expect(verdict({ ...well, cycles: null }, NOW).level).toBe("unknown");
});

test("an API that does not answer and a database that is away are broken", () => {
  expect(verdict({ ...well, lost: "nobody answers", health: null }, NOW).level).toBe("bad");
  const away = { ...health, database: { status: "offline", reason: "refused" } };
  expect(texts({ ...well, health: away })).toEqual(["bad: The database is offline: refused"]);
});

test("collection stands still after three times its rhythm, and not before", () => {
  expect(verdict({ ...well, cycles: cycles(2.9, 3.9, 4.9, 5.9) }, NOW).level).toBe("good");
  expect(texts({ ...well, cycles: cycles(20, 21, 22, 23) })).toEqual([
    "bad: Collection stands still: the last cycle began 20 min ago, usually one comes every 1 min",
  ]);
  expect(texts({ ...well, cycles: [] })).toEqual(["bad: No cycle has run yet"]);
});

test("one provider offline is a problem, all of them are a break; one that is not asked is neither", () => {
  const off = source("okx", { status: "offline", reason: "HTTP 502" });
  expect(texts({ ...well, sources: [off, source("kraken")] })).toEqual(["warn: okx is offline: HTTP 502"]);
  expect(texts({ ...well, sources: [off] })[0]).toBe("bad: No provider gives anything");
  expect(verdict({ ...well, sources: [source("x", { enabled: false, status: null }), source("y")] }, NOW).level).toBe(
    "good",
  );
});

test("an incomplete cycle is a problem and a failed one a break, however well the one before went", () => {
  const [last, ...before] = cycles(1, 2, 3, 4);
  if (last === undefined) throw new Error("no cycle");
  const partial = { ...last, state: "partial", jobs_failed: 2, jobs_skipped: 1 };
  expect(texts({ ...well, cycles: [partial, ...before] })).toEqual([
    "warn: The last market cycle (4) is incomplete: 3 jobs failed or were not started",
  ]);
  expect(verdict({ ...well, cycles: [{ ...last, state: "failed" }, ...before] }, NOW).level).toBe("bad");
});

test("old datasets are named; more than half of them old is a break", () => {
  const [, ...rest] = well.freshness ?? [];
  expect(texts({ ...well, freshness: [fresh("Tickers", true, 10), ...rest] })).toEqual(["warn: Old data: Tickers"]);
  expect(verdict({ ...well, freshness: rest.map((one) => ({ ...one, stale: true })) }, NOW).level).toBe("bad");
  expect(texts({ ...well, freshness: [fresh("Tickers", false, 3), fresh("Markets", false, 0)] })).toEqual([
    "warn: Tickers: 3 of 10 are old",
  ]);
});

test("a limit that is nearly used up is told while its window lasts", () => {
  const budget = { source: "okx", scope: "calls", window_s: 60, capacity: 20, used: 19 };
  const at = (seconds: number) => [{ ...budget, updated_at: new Date(NOW - seconds * 1000).toISOString() }];
  expect(texts({ ...well, budgets: at(10) })).toEqual(["warn: okx has used 19 of 20 calls in 1 min"]);
  expect(texts({ ...well, budgets: at(61) })).toEqual([]);
});

test("breaks come before problems", () => {
  const reasons = verdict({ ...well, sources: [source("okx", { status: "offline" })] }, NOW).reasons;
  expect(reasons.map((one) => one.level)).toEqual(["bad", "warn"]);
});

test("the age of a dataset counts old subjects by their own word, or the page's where it is one subject", () => {
  const page = {
    data: [{ stale: true }, { stale: false }],
    count: 2,
    next: null,
    source: [],
    as_of: null,
    simulated: false,
  };
  expect(freshnessOf("Tickers", { ...page, stale: false }, true)).toMatchObject({ rows: 2, old: 1, stale: false });
  expect(freshnessOf("Global", { ...page, data: [{}], next: "x", stale: true }, false)).toMatchObject({
    rows: 1,
    old: 1,
    more: false,
    stale: true,
  });
});

test("a provider that the API calls online, and whose jobs all fail, is a problem with its newest error", () => {
  const error = { last_error: "HTTP 503", last_error_at: "2026-01-31T12:04:30Z" };
  const known = { ...well, sources: [source("okx", error), source("kraken")] };
  expect(texts(known)).toEqual(["warn: okx has given nothing for 1 min: HTTP 503"]);
  const never = { ...well, sources: [source("okx", { ...error, last_ok_at: null }), source("kraken")] };
  expect(texts(never)).toEqual(["warn: okx has given nothing: HTTP 503"]);
});

test("an error after which good jobs came is over", () => {
  const error = { last_error: "HTTP 503", last_error_at: "2026-01-31T12:03:59Z" };
  expect(texts({ ...well, sources: [source("okx", error), source("kraken")] })).toEqual([]);
});

test("when all providers fail, collection is broken", () => {
  const error = { last_error: "HTTP 503", last_error_at: "2026-01-31T12:04:30Z" };
  expect(verdict({ ...well, sources: [source("okx", error), source("kraken", error)] }, NOW).level).toBe("bad");
});

test("a disk that will be full soon is a problem, within two weeks a break, and one that nobody knows of is neither", () => {
  const lasting = (days_left: number | null) => texts({ ...well, disk: { days_left, days_left_unknown: "" } as Disk });
  expect(lasting(400)).toEqual([]);
  expect(lasting(40)).toEqual(["warn: The disk is full in 40 days at the rate of now"]);
  expect(lasting(3)).toEqual(["bad: The disk is full in 3 days at the rate of now"]);
  expect(lasting(null)).toEqual([]);
});
