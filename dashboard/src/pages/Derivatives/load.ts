/** What the page asks of the API. */
import { rows, useResource, type Answer, type Exact, type OpenInterest, type Resource } from "../../api";
import { standsFor } from "./figures";

const EVERY_MS = 30_000;
const SLOW_MS = 300_000;
const AT_ONCE = 100; // names of one request: the address stays under 8 KiB
const SIDE_BY_SIDE = 6;

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

/** Open interest of each instrument at the start of the period; instruments without a row near it are left out. */
export function useEarlier(names: string[], period: number): Resource<Map<string, OpenInterest>> {
  const key = names.length === 0 ? null : `earlier ${period} ${names.join(",")}`;
  return useResource(
    key,
    async (signal) => {
      const start = Date.now() - period;
      const found = new Map<string, OpenInterest>();
      for (let at = 0; at < names.length; at += SIDE_BY_SIDE) {
        const some = names.slice(at, at + SIDE_BY_SIDE);
        const ask = (instrument: string) =>
          rows<OpenInterest>("open_interest", { instrument, to: start, limit: 1 }, signal);
        for (const page of await Promise.all(some.map(ask))) {
          const row = page.data[0];
          if (row !== undefined && standsFor(row.observed_at, start, period)) found.set(row.instrument, row);
        }
      }
      return found;
    },
    SLOW_MS,
  );
}

export function byName<Row extends { instrument: string }>(page: Answer<Row> | null): Map<string, Row> {
  return new Map((page?.data ?? []).map((row) => [row.instrument, row]));
}

function joined<Row>(pages: Answer<Row>[]): Answer<Row> {
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
