/** What the stream says, put into the rows of the table; pure. */
import type { Market } from "../../api";

const SPOKEN = 3;

/** Return prices of the best-ranked assets as a line to be read out. `at` says a time, `price` a price. */
export function spoken(
  rows: readonly Market[],
  at: (observed: string) => string,
  price: (value: Market["price_usd"]) => string,
): string {
  const first = [...rows].sort((a, b) => (a.rank ?? Infinity) - (b.rank ?? Infinity)).slice(0, SPOKEN);
  const newest = first.map((row) => row.observed_at).reduce((a, b) => (a > b ? a : b), "");
  if (newest === "") return "";
  return `Prices of ${at(newest)}: ${first.map((row) => `${row.symbol} ${price(row.price_usd)} dollars`).join(", ")}`;
}

/** Return the rows with newer ones in place of older; rows of assets that are not in the table are left out. */
export function merged(old: Market[], news: Record<string, unknown>[]): Market[] {
  const fresh = new Map<string, Record<string, unknown>>();
  for (const row of news) {
    const id = String(row.asset_id);
    const known = fresh.get(id);
    if (known === undefined || String(known.observed_at) <= String(row.observed_at)) fresh.set(id, row);
  }
  return old.map((row) => {
    const newer = fresh.get(row.asset_id);
    // Rows of the hourly history come over the stream too: they are older than what is shown.
    if (newer === undefined || String(newer.observed_at) <= row.observed_at) return row;
    return { ...row, ...(newer as Partial<Market>), name: row.name, stale: false };
  });
}
