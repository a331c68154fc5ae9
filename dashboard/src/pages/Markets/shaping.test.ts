import { expect, test } from "vitest";

import type { Candle, Market } from "../../api";
import { merged, spoken } from "./live";
import { hourly } from "./week";

const row = (id: string, at: string, price: string) =>
  ({
    asset_id: id,
    symbol: id.toUpperCase(),
    name: `<b>${id}</b>`,
    observed_at: at,
    price_usd: price,
    stale: true,
  }) as Market;

test("a newer row replaces the older one, keeps its name and is not stale", () => {
  const [bitcoin, ether] = merged(
    [row("btc", "2026-01-31T15:30:00.000Z", "1"), row("eth", "2026-01-31T15:30:00.000Z", "2")],
    [
      { asset_id: "btc", observed_at: "2026-01-31T15:31:00.000Z", price_usd: "3" },
      { asset_id: "other", observed_at: "2026-01-31T15:31:00.000Z", price_usd: "9" },
    ],
  );
  expect(bitcoin).toMatchObject({ price_usd: "3", name: "<b>btc</b>", stale: false });
  expect(ether).toMatchObject({ price_usd: "2", stale: true });
});

test("a row of the history does not replace what is newer", () => {
  const old = [row("btc", "2026-01-31T15:30:00.000Z", "1")];
  expect(
    merged(old, [{ asset_id: "btc", observed_at: "2026-01-30T15:00:00.000Z", price_usd: "9" }])[0]?.price_usd,
  ).toBe("1");
});

test("the week has 168 hours, and an hour without a bar is a hole", () => {
  const now = Date.parse("2026-01-31T15:30:00.000Z");
  const bar = (time: string, close: string) => ({ open_time: time, close }) as Candle;
  const week = hourly(
    [bar("2026-01-31T14:00:00.000Z", "5"), bar("2026-01-31T12:00:00.000Z", "4"), bar("2026-01-01T12:00:00.000Z", "1")],
    now,
  );
  expect(week).toHaveLength(168);
  expect(week.slice(-3)).toEqual([4, null, 5]);
  expect(week.filter((value) => value !== null)).toHaveLength(2);
});

test("the prices that are read out are those of the three best-ranked assets, with the newest time", () => {
  const ranked = (id: string, rank: number | null, at: string, price: string) => ({ ...row(id, at, price), rank });
  const rows = [
    ranked("d", null, "2026-01-31T15:59:00.000Z", "9"),
    ranked("b", 2, "2026-01-31T15:31:00.000Z", "2"),
    ranked("a", 1, "2026-01-31T15:30:00.000Z", "1"),
    ranked("c", 3, "2026-01-31T15:29:00.000Z", "3"),
  ];
  const told = spoken(
    rows,
    (at) => at.slice(11, 16),
    (price) => `$${price ?? "?"}`,
  );
  expect(told).toBe("Prices of 15:31: A $1 dollars, B $2 dollars, C $3 dollars");
  expect(spoken([], String, String)).toBe("");
});
