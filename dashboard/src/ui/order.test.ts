import { expect, test } from "vitest";

import { points } from "./path";
import { found, sorted } from "./order";

const rows = [
  { id: "a", n: 2 },
  { id: "b", n: null },
  { id: "c", n: 10 },
  { id: "d", n: 0 },
  { id: "e", n: 2 },
];
const ids = (list: { id: string }[]) => list.map((row) => row.id).join("");

test("numbers are in order as numbers; what has none is last either way; equals keep their order", () => {
  expect(ids(sorted(rows, (row) => row.n, "ascending"))).toBe("daecb");
  expect(ids(sorted(rows, (row) => row.n, "descending"))).toBe("caedb");
});

test("texts are in order in any case", () => {
  expect(sorted(["b", "A", "c"], (word) => word, "ascending")).toEqual(["A", "b", "c"]);
});

test("a search finds rows that have all its words, and everything without a word", () => {
  const names = ["BTC Bitcoin", "BCH Bitcoin Cash", "ETH Ethereum"];
  expect(found(names, (name) => name, "bitcoin cash")).toEqual(["BCH Bitcoin Cash"]);
  expect(found(names, (name) => name, "  ")).toEqual(names);
  expect(found(names, (name) => name, "<img")).toEqual([]);
});

test("a line has a hole where a value is missing", () => {
  expect(points([0, 10, null, 5], 30, 10, 0)).toBe("M0.0 10.0L10.0 0.0M30.0 5.0");
});

test("a line of equal values runs through the middle", () => {
  expect(points([3, 3], 10, 10, 0)).toBe("M0.0 5.0L10.0 5.0");
});
