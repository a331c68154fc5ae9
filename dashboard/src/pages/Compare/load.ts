/** The closes of each asset, from the market that stands for it. */
import { ApiFailure, rows, useResource, type Answer, type Candle, type Resource } from "../../api";
import { num } from "../../format";
import type { Close } from "./figures";

const EVERY_MS = 120_000;

export interface Compared {
  asset: string;
  instrument: string;
  closes: Close[];
}

export interface Span {
  interval: string;
  span: number;
}

/** The bars of one market, or why there are none. */
export interface Part {
  page: Answer<Candle> | null;
  error: ApiFailure | null;
}

/** Bars of each market over a period, in the order of the names. It fails when none of them can be loaded. */
export function useBars(names: readonly string[], { interval, span }: Span): Resource<Part[]> {
  return useResource(
    `compare ${interval} ${span} ${names.join(",")}`,
    async (signal) => {
      const ask = async (instrument: string): Promise<Part> => {
        try {
          const params = { instrument, interval, from: Date.now() - span, limit: 1000 };
          return { page: await rows<Candle>("candles", params, signal), error: null };
        } catch (error) {
          if (!(error instanceof ApiFailure)) throw error;
          return { page: null, error };
        }
      };
      const parts = await Promise.all(names.map(ask));
      const first = parts[0]?.error ?? null;
      if (first !== null && parts.every((part) => part.page === null)) throw first;
      return parts;
    },
    EVERY_MS,
  );
}

/** Return closes from the first bar that all assets with bars have: they start at 100 together. */
export function shaped(assets: readonly string[], names: readonly string[], parts: readonly Part[]): Compared[] {
  const all = parts.map(({ page }, at) => ({
    asset: assets[at] ?? "",
    instrument: names[at] ?? "",
    closes: (page?.data ?? [])
      .flatMap((row) => {
        const close = num(row.close);
        return close === null ? [] : [{ at: Date.parse(row.open_time), close }];
      })
      .sort((a, b) => a.at - b.at),
  }));
  const start = Math.max(...all.map((one) => one.closes[0]?.at ?? -Infinity));
  return all.map((one) => ({ ...one, closes: one.closes.filter((close) => close.at >= start) }));
}

/** Return what a reader has to know of each market that is not as it should be; `old` says how old a time is. */
export function doubts(
  compared: readonly Compared[],
  parts: readonly Part[],
  old: (asOf: string | null) => string,
): string[] {
  return compared.flatMap(({ asset, instrument, closes }, at) => {
    const { page, error } = parts[at] ?? { page: null, error: null };
    const who = `${asset} (${instrument})`;
    if (error !== null) return [`${who} could not be loaded: ${error.message}`];
    if (page === null || page.data.length < 2) return [`${who}: too few bars of this period are stored`];
    if (closes.length < 2) return [`${who}: no bars in common with the others`];
    return page.stale ? [`${who}: old data, the newest bar is ${old(page.as_of)} old`] : [];
  });
}
