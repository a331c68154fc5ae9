/** The database goes away and comes back: what was loaded stays and is called old, new views fail and recover alone. */
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";

import { launch, open, settled, textOf } from "./browser";
import { PAGES } from "./list";
import { pull } from "./rig";

let browser: Browser;
beforeAll(async () => {
  browser = await launch();
});
afterAll(async () => {
  await pull("database_returns");
  await browser.close();
});

test(
  "every page says that it cannot be loaded, keeps what it had, and comes back by itself",
  { timeout: 120_000 },
  async () => {
    const kept = await open(browser, "asset/bitcoin"); // asks every 20 seconds
    await settled(kept.page);
    await pull("database_goes");
    const views = await Promise.all(PAGES.map(({ hash }) => open(browser, hash)));
    for (const { page } of views)
      await expect.poll(() => page.locator(".state-error").count(), { timeout: 30_000 }).toBeGreaterThan(0);
    for (const [at, { page }] of views.entries()) {
      const said = await textOf(page);
      expect(said, PAGES[at]?.title).toMatch(/could not be loaded|cannot be asked|database/i);
      expect(said, PAGES[at]?.title).not.toMatch(/NaN|undefined|null|Invalid/);
    }
    await expect.poll(() => textOf(kept.page), { timeout: 40_000, interval: 1000 }).toContain("Not renewed since");
    expect(await kept.page.getByRole("button", { name: /^price in dollars/ }).count()).toBeGreaterThan(0);

    await pull("database_returns");
    for (const { page } of views)
      await expect.poll(() => page.locator(".state-error").count(), { timeout: 40_000, interval: 500 }).toBe(0);
    await expect.poll(() => textOf(kept.page), { timeout: 40_000, interval: 500 }).not.toContain("Not renewed since");
    for (const { context, complaints } of [...views, kept]) {
      expect(complaints.filter((one) => !/status of 50\d|ERR_/.test(one))).toEqual([]);
      await context.close();
    }
  },
);
