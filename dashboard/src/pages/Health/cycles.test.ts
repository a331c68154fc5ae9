import { expect, test } from "vitest";

import { bars, busiest, duration, failures, lasted, lastEnded, rhythm } from "./cycles";
import type { Cycle, CycleReport, SourceReport } from "./types";

const NOW = Date.parse("2026-01-31T12:10:00Z");

function cycle(id: number, started: string, change: Partial<Cycle> = {}): Cycle {
  return {
    cycle_id: id,
    cadence: "market",
    state: "ok",
    started_at: `2026-01-31T${started}Z`,
    finished_at: `2026-01-31T${started}Z`,
    folder: "",
    rows_written: 0,
    indicator_rows: 0,
    jobs_ok: 1,
    jobs_failed: 0,
    jobs_skipped: 0,
    rejects: 0,
    ...change,
  };
}

function part(source: string, ok: number, failed: number, skipped = 0): SourceReport {
  return {
    source,
    rows: {},
    jobs_ok: ok,
    jobs_failed: failed,
    jobs_skipped: skipped,
    rejects: 0,
    requests: 0,
    retries: 0,
    waited_s: 0,
    duration_s: 1,
    errors: [],
  };
}

function report(id: number, sources: SourceReport[]): CycleReport {
  return { data: { ...cycle(id, "12:00:00"), report: { sources } } };
}

test("a running cycle lasts until now, one that ended does not", () => {
  expect(duration(cycle(1, "12:09:30", { finished_at: null, state: "running" }), NOW)).toBe(30_000);
  expect(duration(cycle(1, "12:00:00", { finished_at: "2026-01-31T12:00:02.500Z" }), NOW)).toBe(2500);
  expect([lasted(2500), lasted(61_000)]).toEqual(["2.5 s", "1 min"]);
});

test("the rhythm is the middle step of a cadence, and not known from two cycles", () => {
  const some = [cycle(4, "12:09:00"), cycle(3, "12:02:00"), cycle(2, "12:01:00"), cycle(1, "12:00:00")];
  expect(rhythm(some, "market")).toBe(60_000);
  expect(rhythm(some.slice(2), "market")).toBeNull();
  expect(rhythm(some, "daily")).toBeNull();
});

test("the newest ended cycle of each cadence, and the busiest cadence", () => {
  const some = [
    cycle(4, "12:03:00", { state: "running" }),
    cycle(3, "12:02:00", { cadence: "hourly" }),
    cycle(2, "12:01:00"),
    cycle(1, "12:00:00"),
  ];
  expect(lastEnded(some).map((one) => one.cycle_id)).toEqual([3, 2]);
  expect(busiest(some)).toBe("market");
  expect(busiest([])).toBeNull();
});

test("bars go from old to new and a short cycle is still seen", () => {
  const drawn = bars(
    [
      cycle(2, "12:01:00", { finished_at: "2026-01-31T12:01:40Z" }),
      cycle(1, "12:00:00", { finished_at: "2026-01-31T12:00:10Z" }),
      cycle(0, "12:00:00"),
    ],
    NOW,
  );
  expect(drawn.map((bar) => [bar.cycle.cycle_id, bar.height])).toEqual([
    [0, 0.04],
    [1, 0.5],
    [2, 1],
  ]);
});

test("failed and not started jobs are lost, a provider without jobs has a dash and no tick", () => {
  const rows = failures([report(2, [part("okx", 6, 3, 1), part("kraken", 2, 0)]), report(1, [part("okx", 0, 0)])]);
  expect(rows.map((row) => row.key)).toEqual(["kraken", "okx"]);
  expect(rows.map((row) => row.cells.map((cell) => cell.text))).toEqual([
    ["✓ 2", "–"],
    ["✕ 4 of 10", "–"],
  ]);
  expect(rows[1]?.cells.map((cell) => cell.strength)).toEqual([-0.4, null]);
});
