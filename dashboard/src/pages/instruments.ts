/** The instruments that are followed, and which of them stands for an asset. */
import { useRows, type Answer, type Instrument, type Resource } from "../api";

const EVERY_MS = 600_000;
const VENUES = ["binance_futures", "binance_spot", "okx", "kraken"]; // as the API orders them for candles
const QUOTES = ["USDT", "USD", "USDC"];

export function useInstruments(): Resource<Answer<Instrument>> {
  return useRows<Instrument>("instruments", { followed: true }, { every: EVERY_MS, all: 5000 });
}

/** Return the instruments of an asset, the one that stands for it first. */
export function instrumentsOf(all: readonly Instrument[], asset: string): Instrument[] {
  const place = (list: string[], word: string) => (list.includes(word) ? list.indexOf(word) : list.length);
  return all
    .filter((one) => one.asset_id === asset)
    .sort(
      (a, b) =>
        Number(a.gone_at !== null) - Number(b.gone_at !== null) ||
        place(QUOTES, a.quote) - place(QUOTES, b.quote) ||
        place(VENUES, a.venue) - place(VENUES, b.venue) ||
        a.instrument.localeCompare(b.instrument),
    );
}

export function preferred(all: readonly Instrument[], asset: string): Instrument | null {
  return instrumentsOf(all, asset)[0] ?? null;
}

/** Return the name of the instrument that stands for each asset. */
export function byAsset(all: readonly Instrument[]): Map<string, string> {
  const assets = new Set(all.map((one) => one.asset_id).filter((id) => id !== null));
  return new Map([...assets].map((id) => [id, preferred(all, id)?.instrument ?? ""]));
}
