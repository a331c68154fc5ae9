import { expect, test } from "vitest";

import { href, parse } from "./router";

test("an address is read as it was written", () => {
  const address = href("asset", ["a/b c"], { on: "okx:BTC-USDT:perp", show: null });
  expect(address).toBe("#/asset/a%2Fb%20c?on=okx%3ABTC-USDT%3Aperp");
  const route = parse(address);
  expect(route.page).toBe("asset");
  expect(route.rest).toEqual(["a/b c"]);
  expect(route.query.get("on")).toBe("okx:BTC-USDT:perp");
});

test("the start has no page, and a broken escape is kept as it is", () => {
  expect(parse("").page).toBe("");
  expect(parse("#/").rest).toEqual([]);
  expect(parse("#/asset/%E0%A4%A").rest).toEqual(["%E0%A4%A"]);
});
