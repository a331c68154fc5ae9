/** Everything that matters can be reached and used without a mouse. */
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { launch, open, settled, textOf } from "./browser";
import { PAGES } from "./list";
import { pull } from "./rig";

const MOST_STOPS = 120;

let browser: Browser;
beforeAll(async () => {
  browser = await launch();
  await pull("collector_starts");
});
afterAll(() => browser.close());

const focused = (page: Page) =>
  page.evaluate(() => {
    const at = document.activeElement;
    if (at === null || at === document.body) return null;
    const box = at.getBoundingClientRect();
    const name = at.getAttribute("aria-label") ?? (at.textContent || at.closest("label")?.textContent) ?? "";
    return { tag: at.tagName, name: name.trim().slice(0, 60), isSeen: box.width > 0 && box.height > 0 };
  });

/** Press Tab until a control of this name has the focus. */
async function tabTo(page: Page, name: RegExp): Promise<void> {
  for (let stop = 0; stop < MOST_STOPS; stop += 1) {
    const at = await focused(page);
    if (at !== null && name.test(at.name)) return;
    await page.keyboard.press("Tab");
  }
  throw new Error(`no control is named ${String(name)}`);
}

describe.each(PAGES)("$title", ({ hash }) => {
  test("has a way to its content, and every stop of the focus is seen", async () => {
    const { context, page } = await open(browser, hash);
    await settled(page);
    await page.keyboard.press("Tab");
    expect((await focused(page))?.name).toBe("Skip to the content");
    await page.keyboard.press("Enter");
    expect(await page.evaluate(() => document.activeElement?.id)).toBe("content");
    for (let stop = 0; stop < 25; stop += 1) {
      await page.keyboard.press("Tab");
      const at = await focused(page);
      if (at === null) break;
      expect(at.isSeen, `${at.tag} ${at.name}`).toBe(true);
      expect(at.name, at.tag).not.toBe("");
    }
    await context.close();
  });
});

test("markets: search, sort, walk through the rows and open one", async () => {
  const { context, page } = await open(browser, "markets");
  await settled(page);
  const table = page.getByRole("region", { name: "Table of followed assets" });
  await tabTo(page, /Market cap/);
  await page.keyboard.press("Enter");
  expect(await page.locator('th[aria-sort="descending"]').innerText()).toContain("Market cap");
  await table.locator("tbody tr").first().focus();
  await page.keyboard.press("ArrowDown");
  const second = await page.evaluate(() => document.activeElement?.querySelector("a")?.textContent);
  expect(second).toBe(await table.locator("tbody tr").nth(1).locator("a").innerText());
  await page.keyboard.press("Enter");
  await expect.poll(() => page.url()).toContain("#/asset/");
  await context.close();
});

test("asset: the bars are walked through with the arrow keys, and are read out", async () => {
  const { context, page } = await open(browser, "asset/bitcoin?interval=1h");
  await settled(page);
  await page.locator(".candles-place canvas").first().waitFor();
  await page.locator(".candles-place").focus();
  await page.keyboard.press("End");
  const last = await textOf(page, ".readout");
  await page.keyboard.press("ArrowLeft");
  await expect.poll(() => textOf(page, ".readout")).not.toBe(last);
  await page.keyboard.press("ArrowRight");
  await expect.poll(() => textOf(page, ".readout")).toBe(last);
  await context.close();
});

test("colours and the time zone are chosen with keys and are kept", async () => {
  const { context, page } = await open(browser, "markets", { timezoneId: "Asia/Tokyo" });
  await settled(page);
  await page.getByLabel("Colours").focus();
  await page.keyboard.press("ArrowDown"); // from what the system wants to light, then dark
  await page.keyboard.press("ArrowDown");
  await expect.poll(() => page.evaluate(() => document.documentElement.dataset.theme)).toBe("dark");
  await page.getByRole("radio", { name: "UTC" }).focus();
  await page.keyboard.press("ArrowRight");
  expect(await page.getByRole("radio", { name: "Local" }).isChecked()).toBe(true);
  await page.reload();
  await settled(page);
  expect(await page.evaluate(() => document.documentElement.dataset.theme)).toBe("dark");
  expect(await page.getByRole("radio", { name: "Local" }).isChecked()).toBe(true);
  await context.close();
});
