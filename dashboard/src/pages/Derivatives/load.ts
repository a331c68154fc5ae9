/** What the page asks of the API. */
import { rows, useResource, type Answer, type Exact, type OpenInterest, type Resource } from "../../api";
import { standsFor } from "./figures";

const EVERY_MS = 30_000;
const SLOW_MS = 300_000;
const AT_ONCE = 100; // names of one request: the address stays under 8 KiB
const SIDE_BY_SIDE = 4;

export interface MarkPrice {
  instrument: string;
  observed_at: string;
  mark_price: Exact | null;
  index_price: Exact | null;
  stale?: boolean;
}

export interface Terms {
  instrument: string;
  interval_hours: number | string | null;
}

/** The newest row of each of the named instruments; nothing is asked for without names. */
export function useLatest<Row>(path: string, names: string[], every = EVERY_MS): Resource<Answer<Row>> {
  const key = names.length === 0 ? null : `${path} ${names.join(",")}`;
  return useResource(
    key,
    async (signal) => {
      const parts: string[][] = [];
      for (let at = 0; at < names.length; at += AT_ONCE) parts.push(names.slice(at, at + AT_ONCE));
      const ask = (part: string[]) => rows<Row>(path, { instrument: part.join(","), limit: 1000 }, signal);
      return joined(await Promise.all(parts.map(ask)));
    },
    every,
  );
}

/** Rows of the past that were asked for, by period and instrument; null: there was none near that time. */
export type Kept = Map<string, { at: number; row: OpenInterest | null }>;

const KEPT: Kept = new Map();

/**
 * Open interest of each instrument at the start of the period; instruments without a row near it are left out. Each costs
 * a request, so name only what is looked at: four are asked at a time, and what is known is not asked again.
 */
export function useEarlier(
  names: string[],
  period: number,
): Pick<Resource<unknown>, "error" | "loading"> & { found: Map<string, OpenInterest> } {
  const key = names.length === 0 ? null : `earlier ${period} ${names.join(",")}`;
  const { error, loading } = useResource(
    key,
    (signal) => {
      const ask = async (instrument: string, to: number) =>
        (await rows<OpenInterest>("open_interest", { instrument, to, limit: 1 }, signal)).data[0] ?? null;
      return earlier(names, { period, now: Date.now(), kept: KEPT, ask });
    },
    SLOW_MS,
  );
  // While the names change with what is in view, what is known already stays.
  return { error, loading, found: known(KEPT, period) };
}

/** Ask for the names that are not known or were asked five minutes ago; each is kept as it comes. */
export async function earlier(
  names: readonly string[],
  {
    period,
    now,
    kept,
    ask,
  }: { period: number; now: number; kept: Kept; ask: (name: string, to: number) => Promise<OpenInterest | null> },
): Promise<void> {
  for (const [key, { at }] of kept) if (now - at >= SLOW_MS) kept.delete(key);
  const start = now - period;
  const wanted = names.filter((name) => !kept.has(`${period} ${name}`));
  for (let at = 0; at < wanted.length; at += SIDE_BY_SIDE) {
    const some = wanted.slice(at, at + SIDE_BY_SIDE).map(async (name) => {
      const row = await ask(name, start);
      const isNear = row !== null && standsFor(row.observed_at, start, period);
      kept.set(`${period} ${name}`, { at: now, row: isNear ? row : null });
    });
    await Promise.all(some);
  }
}

/** Return what is kept of a period, by instrument. */
export function known(kept: Kept, period: number): Map<string, OpenInterest> {
  const found = new Map<string, OpenInterest>();
  for (const [key, { row }] of kept) if (row !== null && key.startsWith(`${period} `)) found.set(row.instrument, row);
  return found;
}

export function byName<Row extends { instrument: string }>(page: Answer<Row> | null): Map<string, Row> {
  return new Map((page?.data ?? []).map((row) => [row.instrument, row]));
}

/** Return several pages as one: stale when one of them is, as new as the newest of them. */
export function joined<Row>(pages: Answer<Row>[]): Answer<Row> {
  const data = pages.flatMap((page) => page.data);
  return {
    data,
    count: data.length,
    next: null,
    source: [...new Set(pages.flatMap((page) => page.source))],
    as_of: pages.map((page) => page.as_of).reduce((a, b) => (a !== null && (b === null || a > b) ? a : b), null),
    stale: pages.some((page) => page.stale),
    simulated: pages.some((page) => page.simulated),
  };
}
