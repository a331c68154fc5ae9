import { expect, test } from "vitest";

import { daysLeft, usedPart } from "./space";

const left = (days_left: number | null) => daysLeft({ days_left, days_left_unknown: "" });

test("days left are told in words, the nearer the worse", () => {
  expect(left(0.5)).toEqual({ level: "bad", text: "less than a day" });
  expect(left(1.9)).toEqual({ level: "bad", text: "1 day" });
  expect(left(13.99)).toEqual({ level: "bad", text: "13 days" });
  expect(left(14)).toEqual({ level: "warn", text: "14 days" });
  expect(left(602.3)).toEqual({ level: "good", text: "602 days" });
  expect(left(800)).toEqual({ level: "good", text: "2 years" });
  expect(left(4000)).toEqual({ level: "good", text: "more than ten years" });
});

test("days that are not known are neither good nor bad", () => {
  expect(left(null)).toEqual({ level: "unknown", text: "not known" });
});

test("the used part is what is not free, and is not known without both sizes", () => {
  expect(usedPart({ free_bytes: 25, capacity_bytes: 100 })).toBe(0.75);
  expect(usedPart({ free_bytes: 0, capacity_bytes: 100 })).toBe(1);
  expect(usedPart({ free_bytes: null, capacity_bytes: 100 })).toBeNull();
  expect(usedPart({ free_bytes: 5, capacity_bytes: 0 })).toBeNull();
});
