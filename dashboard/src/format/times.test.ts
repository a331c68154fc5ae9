import { expect, test } from "vitest";

import { age, ms, time } from "./times";

test.each([
  ["second", "2026-01-31 15:30:02 UTC"],
  ["minute", "2026-01-31 15:30 UTC"],
  ["date", "2026-01-31 UTC"],
] as const)("a time to the %s", (precision, shown) => {
  expect(time("2026-01-31T15:30:02.120Z", "utc", precision)).toBe(shown);
});

test("midnight is 00:00 of the day that begins", () => {
  expect(time("2026-03-01T00:00:00.000Z", "utc", "minute")).toBe("2026-03-01 00:00 UTC");
});

test("local time says how far it is from UTC", () => {
  expect(time(0, "local")).toMatch(/^19(69|70)-\d\d-\d\d \d\d:\d\d:\d\d UTC[+−]\d+(:\d\d)?$/);
});

test("no time is a dash", () => {
  expect(time(null, "utc")).toBe("–");
  expect(time("yesterday", "utc")).toBe("–");
  expect(ms("yesterday")).toBeNull();
});

test.each([
  [0, "0 s"],
  [-500, "0 s"],
  [59_400, "59 s"],
  [60_000, "1 min"],
  [3_599_000, "59 min"],
  [3_600_000, "1 h"],
  [9_000_000, "2 h 30 min"],
  [36_000_000, "10 h"],
  [90_000_000, "1 d 1 h"],
  [864_000_000, "10 d"],
])("an age of %d ms is %s", (value, shown) => {
  expect(age(value)).toBe(shown);
});
