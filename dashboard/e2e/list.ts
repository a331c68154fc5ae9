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
    hash: "health",
    title: "Health",
    old: /Collection stands still: the last cycle began 3 h/,
    values: async (page) => {
      const { data } = await rowsOf<{ source: string; status: string; enabled: boolean }>("sources");
      const table = page.getByRole("region", { name: "State of each provider" });
      for (const one of data.filter((source) => source.enabled))
        expect(await table.getByRole("row", { name: one.source }).innerText()).toContain(one.status);
    },
  },
];

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
