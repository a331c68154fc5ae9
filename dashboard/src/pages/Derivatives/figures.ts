/** Arithmetic of derivatives; pure. Every figure is null when one of its parts is not known or makes no sense. */
import type { Exact, Instrument, Ticker } from "../../api";
import { num } from "../../format";

const PERIOD_HOURS = 8;
const YEAR_HOURS = 365 * 24;
const PARTED = 0.5; // of the period: how far from its start the row before may be

/** Return a funding rate as percent per 8 hours: rate x 8 / interval x 100. `hours` is how often it is paid. */
export function per8h(rate: Exact | null | undefined, hours: number | null | undefined): number | null {
  const found = num(rate);
  if (found === null || hours === null || hours === undefined || hours <= 0) return null;
  return ((found * PERIOD_HOURS) / hours) * 100;
}

/** Return percent per 8 hours as percent a year, not compounded: x 365 x 24 / 8. */
export function yearly(percentPer8h: number | null): number | null {
  return percentPer8h === null ? null : (percentPer8h * YEAR_HOURS) / PERIOD_HOURS;
}

/** Return how far a price stands above another, in basis points: (price / reference - 1) x 10 000. */
export function basisBps(price: number | null, reference: number | null): number | null {
  if (price === null || reference === null || reference <= 0) return null;
  return (price / reference - 1) * 10_000;
}

/** Return the price of one coin: contracts of 1000PEPE are priced for a thousand. */
export function perCoin(price: Exact | null | undefined, units: Exact | null): number | null {
  const [found, many] = [num(price), num(units) ?? 1];
  return found === null || many <= 0 ? null : found / many;
}

/** Return a change in percent: (now / before - 1) x 100; null when nothing was there before. */
export function changePct(now: number | null, before: number | null): number | null {
  return now === null || before === null || before <= 0 ? null : (now / before - 1) * 100;
}

/** Whether a row stands for the start of a period: not after it, and not older than half a period before. */
export function standsFor(observedAt: string, start: number, period: number): boolean {
  const at = Date.parse(observedAt);
  return at <= start && at >= start - period * PARTED;
}

/** Return the spot market that a perpetual is compared with: same asset and quote, its last price known; by name. */
export function spotOf(perpetual: Instrument, all: readonly Instrument[], tickers: Map<string, Ticker>): Ticker | null {
  const names = all
    .filter((one) => one.kind === "spot" && one.asset_id === perpetual.asset_id && one.quote === perpetual.quote)
    .map((one) => one.instrument)
    .sort();
  const told = names.map((name) => tickers.get(name)).find((one) => one !== undefined && num(one.last_price) !== null);
  return perpetual.asset_id === null ? null : (told ?? null);
}

export interface HeatRow {
  key: string;
  /** The asset; of a second perpetual at the same place, its instrument too. */
  name: string;
  /** The perpetual under each column, null where there is none. */
  cells: (Instrument | null)[];
}

/** Return perpetuals as assets by places (venue and quote); each perpetual once, more of one place in rows of their own. */
export function heatRows(perpetuals: readonly Instrument[]): { columns: string[]; rows: HeatRow[] } {
  const place = (one: Instrument) => `${one.venue} ${one.quote}`;
  const columns = [...new Set(perpetuals.map(place))].sort();
  const byAsset = new Map<string, Instrument[]>();
  for (const one of [...perpetuals].sort((a, b) => a.instrument.localeCompare(b.instrument, "en"))) {
    const asset = one.asset_id ?? one.base;
    byAsset.set(asset, [...(byAsset.get(asset) ?? []), one]);
  }
  const rows = [...byAsset]
    .sort(([a], [b]) => a.localeCompare(b, "en"))
    .flatMap(([asset, own]) => {
      const first = columns.map((column) => own.find((one) => place(one) === column) ?? null);
      const others = own.filter((one) => !first.includes(one));
      return [
        { key: asset, name: asset, cells: first },
        ...others.map((one) => ({
          key: one.instrument,
          name: `${asset}, ${one.instrument}`,
          cells: columns.map((column) => (place(one) === column ? one : null)),
        })),
      ];
    });
  return { columns, rows };
}
