/** How fast it is: first paint, bytes of the first view, and 5 000 candles under a moving mouse. Prints what it measures. */
import { readFileSync } from "node:fs";

import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";

import { launch, open, settled } from "./browser";
import { DASHBOARD, pull, rowsOf } from "./rig";

const PAINT_MS = 1000;
const FIRST_VIEW_BYTES = 300_000;
const BARS = 5000;
const GAP_MS = 100;
const TRIES = 6;
const CROWDED = 0.4; // of all processors used by others while the page rests: what is measured then says little
const INSTRUMENT = "binance_futures:BTC-USDT:perp";

let browser: Browser;
beforeAll(async () => {
  browser = await launch();
  await pull("collector_stops"); // what is measured is the page, on a machine that does nothing else
});
afterAll(() => browser.close());

test("something is seen within a second, and the first view weighs less than 300 kB as it comes over the wire", async () => {
  const { context, page } = await open(browser, "markets");
  await context.close();
  const fresh = await browser.newContext({ viewport: { width: 1440, height: 900 } });
  const first = await fresh.newPage();
  const session = await fresh.newCDPSession(first);
  await session.send("Network.enable");
  const kinds = new Map<string, string>();
  const bytes = new Map<string, number>();
  session.on("Network.responseReceived", (event) => kinds.set(event.requestId, event.response.url));
  session.on("Network.loadingFinished", (event) => bytes.set(event.requestId, event.encodedDataLength));
  await first.goto(`${DASHBOARD}/#/markets`);
  await settled(first);
  await first.waitForTimeout(500);
  const paint = await first.evaluate(
    () => performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? Infinity,
  );
  const sum = (wanted: boolean) =>
    [...bytes].filter(([id]) => kinds.get(id)?.includes("/api/") === wanted).reduce((all, [, size]) => all + size, 0);
  const [files, data] = [sum(false), sum(true)];
  console.log(`first paint ${Math.round(paint)} ms; first view ${files} bytes of files and ${data} bytes of data`);
  expect(paint).toBeLessThan(PAINT_MS);
  expect(files + data).toBeLessThan(FIRST_VIEW_BYTES);
  expect(page.isClosed()).toBe(true);
  await fresh.close();
});

/** Record the time between drawn frames until `stop`. */
const frames = {
  start: (page: Page) =>
    page.evaluate(() => {
      const at: number[] = [];
      const step = (time: number) => {
        at.push(time);
        if ((window as unknown as { frames: number[] | null }).frames !== null) requestAnimationFrame(step);
      };
      (window as unknown as { frames: number[] | null }).frames = at;
      requestAnimationFrame(step);
    }),
  stop: (page: Page) =>
    page.evaluate(() => {
      const kept = (window as unknown as { frames: number[] | null }).frames ?? [];
      (window as unknown as { frames: number[] | null }).frames = null;
      return kept.slice(1).map((time, at) => time - (kept[at] ?? time));
    }),
};

async function drag(page: Page, by: number): Promise<void> {
  const box = await page.locator(".candles-place").boundingBox();
  if (box === null) throw new Error("no chart");
  const [x, y] = [box.x + box.width / 2 - by / 2, box.y + 120];
  await page.mouse.move(x, y);
  await page.mouse.down();
  for (let step = 1; step <= 40; step += 1) await page.mouse.move(x + (by * step) / 40, y);
  await page.mouse.up();
}

test("5 000 candles are drawn and dragged without a gap of 100 ms between frames", async () => {
  const held = await pull<number>("minute_bars", INSTRUMENT);
  expect(held).toBeGreaterThan(BARS);
  const viewport = { width: 1920, height: 1080 }; // on less, so many do not fit into one view
  const { context, page, complaints } = await open(browser, "asset/bitcoin?interval=1m&show=none", { viewport });
  await settled(page);
  await page.locator(".candles-place canvas").first().waitFor();
  const chart = page.locator(".candles-place");
  const drawn = async () => Number(/^\d+/.exec((await chart.getAttribute("aria-label")) ?? "")?.[0] ?? 0);
  await chart.focus();
  // At the left end older pages come, one after the other; zoomed out, all are in view.
  for (let round = 0; round < 60 && (await drawn()) < BARS; round += 1) {
    await page.keyboard.press("Home");
    await page.waitForTimeout(150);
  }
  expect(await drawn()).toBeGreaterThanOrEqual(BARS);
  await page.keyboard.press("PageDown");
  for (let round = 0; round < 12; round += 1) {
    await page.keyboard.press("-");
    await page.waitForTimeout(100); // the next press goes on from what is drawn
  }
  if (process.env.SHOTS !== undefined) await page.screenshot({ path: `${process.env.SHOTS}/5000-bars.png` });
  await page.waitForTimeout(1000);

  const measured: string[] = [];
  let worst = Infinity;
  for (let round = 0; round < TRIES && worst > GAP_MS; round += 1) {
    const before = await busy(page);
    worst = await longest(page, async () => {
      for (const by of [500, -500, 300, -300]) await drag(page, by);
    });
    const others = Math.max(before, await busy(page));
    measured.push(`${worst.toFixed(0)} ms (others use ${(100 * others).toFixed(0)} % of the processors)`);
    if (others < CROWDED) break; // the machine was ours: the figure counts, whatever it is
  }
  console.log(`${await drawn()} bars dragged, longest gap between frames: ${measured.join(", ")}`);
  expect(worst, measured.join(", ")).toBeLessThanOrEqual(GAP_MS);
  expect(complaints).toEqual([]);
  await context.close();
});

test("the newest of these candles is the one that the API has", async () => {
  const { data } = await rowsOf<{ close: string }>(`candles?instrument=${INSTRUMENT}&interval=1m&limit=1`);
  const { context, page } = await open(browser, "asset/bitcoin?interval=1m&show=none");
  await settled(page);
  await expect.poll(() => page.locator(".readout").innerText()).toContain(data[0]?.close);
  await context.close();
});

/** Return what part of the processors is used while the page does nothing. */
async function busy(page: Page): Promise<number> {
  const read = () => {
    const [, ...ticks] = readFileSync("/proc/stat", "utf8").split("\n")[0]?.split(/\s+/).map(Number) ?? [];
    return { idle: (ticks[3] ?? 0) + (ticks[4] ?? 0), all: ticks.slice(0, 8).reduce((sum, one) => sum + one, 0) };
  };
  const start = read();
  await page.waitForTimeout(800);
  const end = read();
  return 1 - (end.idle - start.idle) / Math.max(1, end.all - start.all);
}

async function longest(page: Page, work: () => Promise<void>): Promise<number> {
  await frames.start(page);
  await work();
  return Math.max(...(await frames.stop(page)));
}
