/** Half an hour of live prices in less than a minute: the page's clock runs fast, its stream and requests are real. */
import type { Browser, CDPSession } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";

import { launch, open, settled, type Watched } from "./browser";
import { pull } from "./rig";

const UPDATES = 360; // one each five seconds: thirty minutes
const STEP_MS = 5000;
const EACH = 60; // updates between two measurements
const WARM = 120; // updates after which the engine has compiled what it will; 720 would be all
// Rows of one update, were they kept, are 7 kB: 180 updates would be twice this.
const GROWTH_BYTES = 600_000;
const GROWTH_NODES = 50;

let browser: Browser;
beforeAll(async () => {
  browser = await launch();
  await pull("collector_stops");
});
afterAll(() => browser.close());

/** Return what is in use after everything that nobody holds is gone. */
async function used(session: CDPSession): Promise<number> {
  for (let round = 0; round < 3; round += 1) await session.send("HeapProfiler.collectGarbage");
  return (await session.send("Runtime.getHeapUsage")).usedSize;
}

interface Measured {
  bytes: number;
  nodes: number;
}

class Looked {
  readonly sizes: Measured[] = [];
  private constructor(
    readonly watched: Watched,
    private readonly session: CDPSession,
  ) {}

  static async at(hash: string): Promise<Looked> {
    const watched = await open(browser, hash, {}, (page) => page.clock.install());
    await settled(watched.page);
    return new Looked(watched, await watched.context.newCDPSession(watched.page));
  }

  price(): Promise<string | null> {
    return this.watched.page
      .getByRole("button", { name: /^price (of BTC )?in dollars/ })
      .last()
      .getAttribute("title");
  }

  async measure(): Promise<void> {
    const nodes = await this.watched.page.evaluate(() => document.querySelectorAll("*").length);
    this.sizes.push({ bytes: await used(this.session), nodes });
  }
}

test("360 updates of all prices leave memory as it was", { timeout: 160_000 }, async () => {
  const markets = await Looked.at("markets");
  const asset = await Looked.at("asset/bitcoin?interval=1m&show=sma,rsi");
  await expect.poll(() => markets.watched.page.getByText("● live").count()).toBe(1);
  for (let update = 1; update <= UPDATES; update += 1) {
    const before = await markets.price();
    await pull("next_prices");
    await expect.poll(() => markets.price(), { interval: 5, timeout: 20_000 }).not.toBe(before);
    await Promise.all([markets, asset].map(({ watched }) => watched.page.clock.runFor(STEP_MS)));
    if (update >= WARM && update % EACH === 0) for (const one of [markets, asset]) await one.measure();
  }
  const pages = Object.entries({ markets, asset }).map(([name, looked]) => {
    const said = looked.sizes.map(({ bytes, nodes }) => `${(bytes / 1e6).toFixed(2)} MB, ${nodes} elements`).join("; ");
    console.log(`${name}, from update ${WARM} on, each ${EACH}: ${said}`);
    return { sizes: looked.sizes, watched: looked.watched, said };
  });
  for (const { sizes, watched, said } of pages) {
    // The least of some: what was just replaced may still be held by the drawing under way.
    const least = (some: Measured[], of: keyof Measured) => Math.min(...some.map((one) => one[of]));
    expect(least(sizes.slice(-3), "bytes") - least(sizes.slice(0, 2), "bytes"), said).toBeLessThan(GROWTH_BYTES);
    expect(least(sizes.slice(-3), "nodes") - least(sizes.slice(0, 2), "nodes"), said).toBeLessThan(GROWTH_NODES);
    expect(watched.complaints).toEqual([]);
    await watched.context.close();
  }
});
