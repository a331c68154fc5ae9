/** Colours and widths: axe finds nothing, nothing runs out of the page. SHOTS names a folder for pictures of all. */
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { launch, open, settled } from "./browser";
import { PAGES } from "./list";
import { pull } from "./rig";

interface Found {
  violations: { id: string; nodes: { html: string; failureSummary?: string }[] }[];
}

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
const WIDTHS = [360, 1440, 2560];
const SHOTS = process.env.SHOTS;

let browser: Browser;
beforeAll(async () => {
  browser = await launch();
  await pull("collector_starts");
});
afterAll(() => browser.close());

describe.each(PAGES)("$title", ({ hash, title }) => {
  test.each(["light", "dark"] as const)("in %s colours", async (colorScheme) => {
    const { context, page, complaints } = await open(browser, hash, { colorScheme });
    for (const width of WIDTHS) {
      await page.setViewportSize({ width, height: 900 });
      await settled(page);
      await page.waitForTimeout(300); // charts are drawn anew after a change of width
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      expect(wide, `${title} at ${width} px`).toBeLessThanOrEqual(width);
      if (SHOTS !== undefined)
        await page.screenshot({ path: `${SHOTS}/${title}-${colorScheme}-${width}.png`, fullPage: true });
      if (width === 2560) continue; // what axe looks at is the same as at 1440 px
      await page.evaluate(AXE); // through the debugger, which the content policy does not bind
      const found = await page.evaluate(
        (rules) => (window as unknown as { axe: { run: (o: object) => Promise<Found> } }).axe.run({ runOnly: rules }),
        RULES,
      );
      const said = found.violations.map((one) => `${one.id}: ${one.nodes.map((node) => node.html).join(" ; ")}`);
      expect(said, `${title} at ${width} px`).toEqual([]);
    }
    expect(complaints).toEqual([]);
    await context.close();
  });
});
