/** Bars as the big chart draws them: on a whole grid, with holes as holes; pure. */
import type { Candle, Exact } from "../api";
import { num } from "../format";

export interface Bar {
  /** Start of the bar in ms. */
  at: number;
  open: number;
  high: number;
  low: number;
  close: number;
  volume: number | null;
  /** Who gave it, when that is not the venue of the instrument: the bar fills a hole. */
  filledBy: string | null;
  /** The values as the provider wrote them; of a bar that is put together, as computed. */
  exact: { open: Exact; high: Exact; low: Exact; close: Exact; volume: Exact | null };
}

/** A place on the grid without a bar. */
export interface Hole {
  at: number;
}

export const LENGTH_MS: Record<string, number> = {
  "1m": 60_000,
  "5m": 300_000,
  "15m": 900_000,
  "1h": 3_600_000,
  "4h": 14_400_000,
  "1d": 86_400_000,
  "1w": 604_800_000,
};
/** Which stored bars a longer one is made of, as /api/ohlcv does it. */
export const MADE_OF: Record<string, string> = { "5m": "1m", "15m": "1m", "4h": "1h", "1w": "1d" };
const MONDAY = 4 * 86_400_000; // 1970-01-05: weeks start on Monday
const MOST_HOLES = 5000; // in one gap; a longer one is drawn this long

/** Return the bars of rows, oldest first, each time once. */
export function barsOf(rows: readonly Candle[]): Bar[] {
  const byTime = new Map<number, Bar>();
  for (const row of rows) {
    const at = Date.parse(row.open_time);
    const [open, high, low, close] = [num(row.open), num(row.high), num(row.low), num(row.close)];
    if (open === null || high === null || low === null || close === null) continue;
    const venue = row.instrument.split(":")[0];
    byTime.set(at, {
      at,
      open,
      high,
      low,
      close,
      volume: num(row.volume),
      filledBy: row.source === venue ? null : row.source,
      exact: { open: row.open, high: row.high, low: row.low, close: row.close, volume: row.volume },
    });
  }
  return [...byTime.values()].sort((a, b) => a.at - b.at);
}

/** Return longer bars; one whose parts are not all there is left out: it would lie about its range. */
export function longer(bars: readonly Bar[], part: number, whole: number): Bar[] {
  const groups = new Map<number, Bar[]>();
  const shift = whole === LENGTH_MS["1w"] ? MONDAY : 0;
  for (const bar of bars) {
    const start = Math.floor((bar.at - shift) / whole) * whole + shift;
    const group = groups.get(start);
    if (group === undefined) groups.set(start, [bar]);
    else group.push(bar);
  }
  const complete = [...groups].filter(([, group]) => group.length === whole / part);
  return complete.map(([at, group]) => joined(at, group));
}

function joined(at: number, group: Bar[]): Bar {
  const volumes = group.map((bar) => bar.volume).filter((volume) => volume !== null);
  const [first, last] = [group[0], group[group.length - 1]];
  const bar = {
    open: first?.open ?? 0,
    high: Math.max(...group.map((one) => one.high)),
    low: Math.min(...group.map((one) => one.low)),
    close: last?.close ?? 0,
    volume: volumes.length === group.length ? volumes.reduce((sum, volume) => sum + volume, 0) : null,
  };
  const fillers = [...new Set(group.map((one) => one.filledBy).filter((name) => name !== null))];
  return { at, ...bar, filledBy: fillers.length === 0 ? null : fillers.join("+"), exact: bar };
}

/** Return bars with the holes between them. */
export function gridded(bars: readonly Bar[], length: number): (Bar | Hole)[] {
  const grid: (Bar | Hole)[] = [];
  let before: number | null = null;
  for (const bar of bars) {
    if (before !== null) {
      const end = Math.min(bar.at, before + length * (MOST_HOLES + 1));
      for (let at = before + length; at < end; at += length) grid.push({ at });
    }
    grid.push(bar);
    before = bar.at;
  }
  return grid;
}

export function isBar(place: Bar | Hole): place is Bar {
  return "close" in place;
}

/** Return rows with newer ones put in by their time, newest first: what a page holds of a series. */
export function woven<Row extends { open_time: string }>(old: readonly Row[], fresh: readonly Row[]): Row[] {
  const byTime = new Map(old.map((row) => [row.open_time, row]));
  for (const row of fresh) byTime.set(row.open_time, row);
  return [...byTime.values()].sort((a, b) => (a.open_time < b.open_time ? 1 : -1));
}
