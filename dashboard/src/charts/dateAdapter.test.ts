import { expect, test } from "vitest";

import { axisText, dateAdapter } from "./dateAdapter";

const utc = dateAdapter("utc");
const at = Date.parse("2026-02-18T15:42:07.500Z"); // a Wednesday
const iso = (time: number) => new Date(time).toISOString();

test.each([
  ["second", "2026-02-18T15:42:07.000Z"],
  ["minute", "2026-02-18T15:42:00.000Z"],
  ["hour", "2026-02-18T15:00:00.000Z"],
  ["day", "2026-02-18T00:00:00.000Z"],
  ["week", "2026-02-16T00:00:00.000Z"],
  ["month", "2026-02-01T00:00:00.000Z"],
  ["quarter", "2026-01-01T00:00:00.000Z"],
  ["year", "2026-01-01T00:00:00.000Z"],
] as const)("the start of a %s", (unit, start) => {
  expect(iso(utc.startOf(at, unit))).toBe(start);
});

test("months and years have their own lengths", () => {
  expect(iso(utc.add(Date.parse("2026-02-01T00:00:00Z"), 1, "month"))).toBe("2026-03-01T00:00:00.000Z");
  expect(iso(utc.add(Date.parse("2024-02-01T00:00:00Z"), 1, "year"))).toBe("2025-02-01T00:00:00.000Z");
  expect(iso(utc.endOf(at, "month"))).toBe("2026-02-28T23:59:59.999Z");
});

test("the words of a tick", () => {
  expect(axisText(at, "clock", "utc")).toBe("15:42");
  expect(axisText(at, "day", "utc")).toBe("02-18");
  expect(axisText(at, "month", "utc")).toBe("2026-02");
  expect(axisText(at, "datetime", "utc")).toBe("2026-02-18 15:42 UTC");
});
