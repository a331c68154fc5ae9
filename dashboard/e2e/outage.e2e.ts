/** One provider is dead: its rows are called old, the page of health says why, and everything else stays live. */
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";

import { launch, open, settled, textOf } from "./browser";
import { pull, rowsOf } from "./rig";

let browser: Browser;
beforeAll(async () => {
  browser = await launch();
  await pull("collector_starts");
  await pull("provider_dies", "okx");
});
afterAll(async () => {
  await pull("provider_returns", "okx");
  await browser.close();
});

interface Ticker {
  instrument: string;
  stale: boolean;
}

test("a dead provider is named, its prices are marked as old, those of others are not", async () => {
  const { context, page, complaints } = await open(browser, "health");
  const table = page.getByRole("region", { name: "State of each provider" });
  const state = (source: string) => table.getByRole("row", { name: source }).first().innerText();
  await expect.poll(() => state("okx"), { timeout: 40_000 }).toMatch(/failing|offline|degraded/);
  expect(await state("binance_futures")).toContain("online");
  await expect.poll(() => textOf(page, ".verdict"), { timeout: 20_000 }).toMatch(/with problems|broken/);
  await expect.poll(() => textOf(page, ".reasons"), { timeout: 20_000 }).toMatch(/okx (has given nothing|is )/);

  await expect
    .poll(async () => (await tickers()).map((row) => `${row.instrument.split(":")[0] ?? ""} ${row.stale}`).sort(), {
      timeout: 20_000,
    })
    .toEqual(["binance_futures false", "okx true"]);
  await page.goto(page.url().replace(/#.*/, "#/asset/bitcoin?interval=1h"));
  await settled(page);
  const perpetuals = page.getByRole("region", { name: "Perpetuals, venue by venue" });
  await expect
    .poll(() => perpetuals.getByRole("row", { name: "okx:BTC" }).innerText(), { timeout: 25_000 })
    .toContain("old: ");
  expect(await perpetuals.getByRole("row", { name: "binance_futures:BTC" }).innerText()).not.toContain("old: ");
  expect(complaints).toEqual([]);
  await context.close();
});

async function tickers(): Promise<Ticker[]> {
  const names = "binance_futures:BTC-USDT:perp,okx:BTC-USDT:perp";
  return (await rowsOf<Ticker>(`tickers/latest?instrument=${names}`)).data;
}
