/** The pages: one line here, and every page is looked at in all ways (values, colours, widths, keyboard, old data). */
import type { Locator, Page } from "playwright-core";
import { expect } from "vitest";

import { rowsOf } from "./rig";

export interface Listed {
  /** Behind the #. */
  hash: string;
  title: string;
  /** Compare values on the page with what the API answers for them. */
  values: (page: Page) => Promise<void>;
  /** What it says when the newest data is three hours old. */
  old: RegExp;
}

const OLD = /Old data: the newest is 3 h/;

interface Priced {
  asset_id: string;
  price_usd: string;
}

export const PAGES: Listed[] = [
  {
    hash: "markets",
    title: "Markets",
    old: OLD,
    values: (page) =>
      same(
        () => exact(page.getByRole("region", { name: "Table of followed assets" }), /^price of BTC in dollars/),
        async () => {
          const { data } = await rowsOf<Priced>("markets/latest?followed=true");
          return data.find((row) => row.asset_id === "bitcoin")?.price_usd;
        },
      ),
  },
  {
    hash: "asset/bitcoin?interval=1m&show=sma,bollinger,rsi,macd",
    title: "Asset",
    old: OLD,
    values: async (page) => {
      await page.locator(".candles-place canvas").first().waitFor();
      await same(
        async () => / C (\S+) V /.exec((await page.locator(".readout").innerText()).replace(/\s+/g, " "))?.[1],
        async () => {
          const address = "candles?instrument=binance_futures:BTC-USDT:perp&interval=1m&limit=1";
          return (await rowsOf<{ close: string }>(address)).data[0]?.close;
        },
      );
    },
  },
  {
    hash: "compare?assets=bitcoin,ethereum,pepe&period=7d",
    title: "Compare",
    old: /bitcoin \(binance_futures:BTC-USDT:perp\): old data, the newest bar is (2 h \d+ min|[34] h)/,
    values: async (page) => {
      const from = Date.now() - 7 * 86_400_000;
      const { data } = await rowsOf<{ open_time: string; close: string }>(
        `candles?instrument=binance_futures:BTC-USDT:perp&interval=1h&from=${from}&limit=1000`,
      );
      const closes = data.map((row) => Number(row.close)); // the newest first
      const gained = ((closes[0] ?? 0) / (closes.at(-1) ?? 1) - 1) * 100;
      const row = page.getByRole("region", { name: "Figures over 7d" }).getByRole("row", { name: /^bitcoin/ });
      expect(await row.innerText()).toContain(`${Math.abs(gained).toFixed(2)} %`);
      const trends = page.getByRole("region", { name: "Trend and risk over 7d" });
      await same(
        () => exact(trends, /^return of BTC [+−]?\d/),
        async () => {
          const [trend] = (await rowsOf<{ change: number }>("trends/latest?subject=bitcoin&span=7d")).data;
          return trend === undefined ? undefined : plain(trend.change);
        },
      );
    },
  },
  {
    hash: "derivatives",
    title: "Derivatives",
    old: OLD,
    values: (page) =>
      same(
        () => exact(page, /^open interest of okx:BTC-USDT:perp \d/),
        async () => {
          const address = "open_interest/latest?instrument=okx:BTC-USDT:perp";
          const [row] = (await rowsOf<{ open_interest: string }>(address)).data;
          return row?.open_interest;
        },
      ),
  },
  {
    hash: "signals?asset=bitcoin",
    title: "Signals",
    old: /Old data: the newest is [34] h/, // views are of full hours
    values: async (page) => {
      const table = page.getByRole("region", { name: "View of each asset" });
      await table.locator("tbody tr").first().waitFor({ timeout: 45_000 });
      await same(
        () => exact(table, /^score of BTC [+−]?\d/),
        async () => {
          const { data } = await rowsOf<{ asset_id: string; score: number }>("views/latest");
          const score = data.find((row) => row.asset_id === "bitcoin")?.score;
          return score === undefined ? undefined : plain(score);
        },
      );
    },
  },
  {
    hash: "health",
    title: "Health",
    old: /Collection stands still: the last cycle began 3 h/,
    values: async (page) => {
      const { data } = await rowsOf<{ source: string; status: string; enabled: boolean }>("sources");
      const table = page.getByRole("region", { name: "State of each provider" });
      for (const one of data.filter((source) => source.enabled))
        expect(await table.getByRole("row", { name: one.source }).innerText()).toContain(one.status);
      await page.getByRole("region", { name: "Tables of the database, the largest first" }).waitFor();
      const [cycle] = (await rowsOf<{ cycle_id: number; state: string }>("cycles?state=ok&limit=1")).data;
      if (cycle === undefined) throw new Error("no cycle went well");
      await page.evaluate((id) => (window.location.hash = `#/health?cycle=${id}`), cycle.cycle_id);
      const log = page.getByRole("region", { name: `Log of Collector in cycle ${cycle.cycle_id}` });
      await expect.poll(() => log.innerText()).toContain("cycle_finished");
    },
  },
];

/** Return a number as it is copied: all its digits, no exponent. */
function plain(value: number): string {
  if (!String(value).includes("e")) return String(value);
  const [digits = "", exponent = "0"] = Math.abs(value).toExponential().split("e");
  const zeros = "0".repeat(Math.max(0, -Number(exponent) - 1));
  return `${value < 0 ? "-" : ""}0.${zeros}${digits.replace(".", "")}`;
}

/** Return the digits that a shown value is copied as. */
async function exact(page: Page | Locator, name: RegExp): Promise<string | undefined> {
  const label = await page.getByRole("button", { name }).first().getAttribute("aria-label");
  return /copy (\S+)$/.exec(label ?? "")?.[1];
}

/** Wait until both say the same: what is shown may be some seconds older than what is stored. */
async function same(shown: () => Promise<string | null | undefined>, stored: () => Promise<string | undefined>) {
  await expect
    .poll(async () => [await shown(), await stored()], { timeout: 45_000, interval: 300 })
    .toSatisfy(([one, other]) => one !== undefined && one !== null && one === other);
}
