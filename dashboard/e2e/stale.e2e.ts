/** The collector stopped three hours ago: every page says so, nothing looks fresh, and nothing is made up. */
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { launch, open, settled, textOf } from "./browser";
import { PAGES } from "./list";
import { pull, rowsOf } from "./rig";

let browser: Browser;
beforeAll(async () => {
  browser = await launch();
  await pull("collector_stops");
  await pull("grow_old");
});
afterAll(() => browser.close());

test("the API calls it old", async () => {
  expect((await rowsOf("markets/latest?followed=true")).stale).toBe(true);
});

describe.each(PAGES)("$title", ({ hash, old }) => {
  test("says how old its data is", async () => {
    const { context, page, complaints } = await open(browser, hash);
    await settled(page);
    await expect.poll(() => textOf(page), { timeout: 20_000 }).toMatch(old);
    expect(await textOf(page)).not.toMatch(/NaN|undefined|Invalid/);
    expect(complaints).toEqual([]);
    await context.close();
  });
});

test("prices are those that are stored, with their age", async () => {
  const { data } = await rowsOf<{ symbol: string; price_usd: string }>("markets/latest?followed=true");
  const { context, page } = await open(browser, "markets");
  await settled(page);
  const table = page.getByRole("region", { name: "Table of followed assets" });
  for (const { symbol, price_usd } of data) {
    const row = table.getByRole("row").filter({ has: page.getByRole("link", { name: symbol, exact: true }) });
    expect(await row.innerText()).toMatch(/old: 3(\.\d)? h/);
    const price = row.getByRole("button", { name: `price of ${symbol}` });
    expect(await price.getAttribute("title")).toContain(`${price_usd} `);
  }
  await context.close();
});
