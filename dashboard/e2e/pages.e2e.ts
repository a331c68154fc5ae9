/** What every page shows, and what none of them does. */
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { launch, open, settled, textOf } from "./browser";
import { PAGES } from "./list";
import { MARKUP, pull } from "./rig";

let browser: Browser;
beforeAll(async () => {
  browser = await launch();
  await pull("collector_starts");
});
afterAll(() => browser.close());

describe.each(PAGES)("$title", ({ hash, title, values }) => {
  test("shows what the API says, says that it is simulated, and complains about nothing", async () => {
    const { context, page, complaints } = await open(browser, hash);
    await settled(page);
    await values(page);
    expect(await page.title()).toContain(title);
    expect(await textOf(page, ".simulated")).toMatch(/simulated data/i);
    expect(await page.locator('nav [aria-current="page"]').innerText()).toBe(title);
    expect(await page.locator(".state-error").count()).toBe(0);
    expect(complaints).toEqual([]);
    await context.close();
  });
});

test("markup in the name of a coin is shown as text, wherever it is, and does not run", async () => {
  for (const hash of ["markets", "asset/pepe", "signals?asset=pepe"]) {
    const { context, page, complaints } = await open(browser, hash);
    await settled(page);
    await expect.poll(() => textOf(page)).toContain(MARKUP);
    expect(await page.locator("main img").count()).toBe(0);
    expect(await page.evaluate(() => "ran" in window)).toBe(false);
    expect(complaints).toEqual([]);
    await context.close();
  }
});

test("an address that is no page says so", async () => {
  const { context, page } = await open(browser, "nowhere");
  await expect.poll(() => textOf(page)).toContain("There is no page at this address");
  await context.close();
});

test("the content policy lets nothing in that is written into a page", async () => {
  const { context, page, complaints } = await open(browser, "markets");
  await settled(page);
  const ran = await page.evaluate(() => {
    document.body.insertAdjacentHTML("beforeend", '<img src="x" onerror="window.ran = true">');
    return new Promise((done) => setTimeout(() => done("ran" in window), 500));
  });
  expect(ran).toBe(false);
  expect(complaints.join()).toContain("content policy: script-src-attr");
  await context.close();
});
