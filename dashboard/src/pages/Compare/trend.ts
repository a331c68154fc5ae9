/** Trends as the analytics compute them from closed daily bars, and what of them is shown; pure. */
import { num } from "../../format";
import type { Exact } from "../../api";

/** A row of /trends/latest; fractions, slopes a day, null where too few bars are there. */
export interface Trend {
  subject: string;
  symbol: string | null;
  name: string | null;
  span: string;
  as_of: string;
  bars: number;
  missing: number;
  change: Exact | null;
  volatility: Exact | null;
  drawdown: Exact | null;
  max_drawdown: Exact | null;
  slope: Exact | null;
  strength: Exact | null;
  ma_state: number | null;
  ma_bars: number | null;
  correlation_bitcoin: Exact | null;
  beta_bitcoin: Exact | null;
  stale?: boolean;
}

/** Return the rows that are shown: all, or those of the chosen assets in their order. */
export function chosenTrends(rows: readonly Trend[], assets: readonly string[], all: boolean): Trend[] {
  if (all) return [...rows];
  return assets.flatMap((asset) => rows.filter((row) => row.subject === asset));
}

export interface Average {
  way: "up" | "down" | "dim";
  sign: string;
  text: string;
}

/** Return what the moving averages say in words; a crossing that is not in the bars has no age. */
export function average(row: Pick<Trend, "ma_state" | "ma_bars">): Average {
  if (row.ma_state === null) return { way: "dim", sign: "", text: "–" };
  const since = row.ma_bars === null ? "" : `, ${row.ma_bars} ${row.ma_bars === 1 ? "day" : "days"}`;
  if (row.ma_state > 0) return { way: "up", sign: "▲", text: `fast above slow${since}` };
  if (row.ma_state < 0) return { way: "down", sign: "▼", text: `fast below slow${since}` };
  return { way: "dim", sign: "●", text: `equal${since}` };
}

/** Return in which way prices go, judged by how much of the movement a straight line explains (R squared). */
export function strengthWord(strength: Exact | null): string {
  const found = num(strength);
  if (found === null) return "";
  return found >= 0.6 ? "strong" : found >= 0.3 ? "medium" : "weak";
}
