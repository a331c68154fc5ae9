import { describe, expect, test } from "vitest";

import { bytes, compact, exact, num, percent, price, priceBy, share, signed } from "./numbers";

describe("a price", () => {
  test.each([
    ["60662.5960154", "60,662.60"],
    ["1000", "1,000.00"],
    ["999.99", "999.99"],
    ["6.11322", "6.1132"],
    ["1", "1.00"],
    ["0.538014", "0.538"],
    ["0.092796", "0.0928"],
    ["0.000123456", "0.0001235"],
    ["0.0000123456", "0.0₄1235"],
    ["0.00000000123", "0.0₈123"],
    [1e-9, "0.0₈1"],
    [1e-12, "0.0₁₁1"],
    ["-0.000000025", "−0.0₇25"],
    ["0", "0"],
    [0, "0"],
  ])("of %s is written %s", (value, shown) => {
    expect(price(value)).toBe(shown);
  });

  test.each([null, undefined, "", "NaN", Infinity])("of %s is a dash, never zero", (value) => {
    expect(price(value)).toBe("–");
  });
});

test("on an axis prices have the digits of the smallest step", () => {
  expect(priceBy("0.0000001")(0.0105912)).toBe("0.0105912");
  expect(priceBy("0.1")(60519.5)).toBe("60,519.50");
  expect(priceBy("1")(60519)).toBe("60,519.00");
  expect(priceBy(null)(0.0105912)).toBe("0.01059");
  expect(priceBy("1e-12")(1.5e-9)).toBe("0.0₈15");
});

describe("the exact value", () => {
  test.each([
    ["60662.59601540", "60662.59601540"],
    [1e-9, "0.000000001"],
    [1.23e-7, "0.000000123"],
    ["1.5E+3", "1500"],
    [1e21, "1000000000000000000000"],
    ["-2.5e-3", "-0.0025"],
    [12.5, "12.5"],
  ])("of %s is copied as %s", (value, copied) => {
    expect(exact(value)).toBe(copied);
  });

  test("of nothing is empty", () => expect(exact(null)).toBe(""));
});

describe("a size", () => {
  test.each([
    [2157707741227, "2.16T"],
    [299500000000, "299.5B"],
    [999_999_999, "1.00B"],
    [1500, "1.50K"],
    [999, "999"],
    [12.345, "12.35"],
    [0, "0"],
    [-4_200_000, "−4.20M"],
    ["0.00000025", "0.0₆25"],
    [null, "–"],
  ])("of %s is written %s", (value, shown) => {
    expect(compact(value)).toBe(shown);
  });
});

describe("percent", () => {
  test.each([
    ["1.2", "+1.20 %"],
    [-0.41, "−0.41 %"],
    [0, "0.00 %"],
    [-0.001, "0.00 %"],
    [1234.5, "+1,234.50 %"],
    [null, "–"],
  ])("of %s is written %s", (value, shown) => {
    expect(percent(value)).toBe(shown);
  });

  test("of a funding rate has more digits", () => expect(percent(0.00639, 4)).toBe("+0.0064 %"));
  test("of a share has no sign", () => expect(share("55.939")).toBe("55.9 %"));
});

test("a number is read from text, and nothing is not zero", () => {
  expect(num("0.1")).toBe(0.1);
  expect(num("0")).toBe(0);
  expect(num("")).toBeNull();
  expect(num(null)).toBeNull();
  expect(num("abc")).toBeNull();
});

test("a score has its sign, zero and nothing have none", () => {
  expect([signed("0.4824"), signed(-0.125, 1), signed(-0.001), signed(0), signed(null)]).toEqual([
    "+0.48",
    "−0.1",
    "0.00",
    "0.00",
    "–",
  ]);
});

test("sizes of storage are in units of 1,024", () => {
  expect([bytes(0), bytes(1023), bytes(1024), bytes(1536), bytes(5_368_709_120), bytes(null)]).toEqual([
    "0 B",
    "1,023 B",
    "1 KiB",
    "1.5 KiB",
    "5 GiB",
    "–",
  ]);
});

test("a size just below a unit is told in that unit", () => {
  expect(bytes(1024 * 1024 - 1)).toBe("1 MiB");
  expect(bytes(270_553_174_016)).toBe("252 GiB");
});
