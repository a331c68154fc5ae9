/** Which asset, instrument and interval an address means; pure. */
import type { Instrument, Market } from "../../api";
import { LENGTH_MS, MADE_OF } from "../../charts";
import { instrumentsOf } from "../instruments";

export const INTERVALS = Object.keys(LENGTH_MS);

/** Return the asset of a name: its id, or the best-ranked one of a symbol; the best-ranked of all without a name. */
export function assetOf(markets: readonly Market[], name: string | undefined): Market | null {
  const ranked = [...markets].sort((a, b) => (a.rank ?? Infinity) - (b.rank ?? Infinity));
  if (name === undefined) return ranked[0] ?? null;
  return (
    ranked.find((one) => one.asset_id === name) ??
    ranked.find((one) => one.symbol.toUpperCase() === name.toUpperCase()) ??
    null
  );
}

export function instrumentOf(all: readonly Instrument[], asset: string, wanted: string | null): Instrument | null {
  const own = instrumentsOf(all, asset);
  return own.find((one) => one.instrument === wanted) ?? own[0] ?? null;
}

/** Return which intervals can be drawn: those that are stored, and those made of stored ones. */
export function possible(stored: readonly string[]): Set<string> {
  return new Set(INTERVALS.filter((one) => stored.includes(one) || stored.includes(MADE_OF[one] ?? "")));
}
