/** How old the newest row of each dataset is, and how many of its subjects are behind, by the API's own word. */
import { ApiFailure, rows, type Answer, type Params } from "../../api";

export interface Freshness {
  title: string;
  /** Subjects that were judged (1000 at most), and how many of them are old. */
  rows: number;
  old: number;
  more: boolean;
  asOf: string | null;
  /** The newest of them is old: nothing of the dataset comes in. */
  stale: boolean;
}

interface Asked {
  title: string;
  path: string;
  params?: Params;
}

const DATASETS: Asked[] = [
  { title: "Markets", path: "markets/latest", params: { followed: true } },
  { title: "Tickers", path: "tickers/latest" },
  { title: "Candles 1m", path: "candles/latest", params: { interval: "1m" } },
  { title: "Candles 1h", path: "candles/latest", params: { interval: "1h" } },
  { title: "Candles 1d", path: "candles/latest", params: { interval: "1d" } },
  { title: "Indicators 1m", path: "indicators/latest", params: { interval: "1m", columns: "rsi_14" } },
  { title: "Order books", path: "order_books/depth/latest" },
  { title: "Mark prices", path: "mark_prices/latest" },
  { title: "Open interest", path: "open_interest/latest" },
  { title: "Funding forecasts", path: "funding/forecasts/latest" },
  { title: "Funding payments", path: "funding/latest" },
  { title: "Global figures", path: "global", params: { limit: 1 } },
  { title: "Fear and greed", path: "sentiments", params: { limit: 1 } },
];

/** Return all datasets, asked one after the other: this is never urgent. Raises what the API answers. */
export async function freshnessOfAll(signal: AbortSignal): Promise<Freshness[]> {
  const found: Freshness[] = [];
  for (const { title, path, params } of DATASETS) {
    try {
      const page = await rows<{ stale?: boolean }>(path, { limit: 1000, ...params }, signal);
      found.push(freshnessOf(title, page, path.endsWith("latest")));
    } catch (error) {
      // An installation may not collect an interval: what it does not know it does not have.
      if (!(error instanceof ApiFailure) || (error.status !== 400 && error.status !== 404)) throw error;
    }
  }
  return found;
}

/** `each`: every row is one subject with its own word; else the page is one subject. */
export function freshnessOf(title: string, page: Answer<{ stale?: boolean }>, each: boolean): Freshness {
  return {
    title,
    rows: page.data.length,
    old: each ? page.data.filter((row) => row.stale === true).length : page.stale ? page.data.length : 0,
    more: each && page.next !== null,
    asOf: page.as_of,
    stale: page.stale,
  };
}
