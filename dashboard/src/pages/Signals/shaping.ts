/** Shaping of signals, portfolios and breadth for the page; pure. */
import { ms, num } from "../../format";
import type { Exact } from "../../api";
import type { AssetView, Breadth, Equity, Performance, Run, Weight } from "./types";

const KINDS: Record<string, string> = {
  ema_cross: "Moving averages",
  macd: "MACD",
  rsi: "RSI",
  breakout: "Breakout",
  funding: "Funding",
};
const UNITS: Record<string, number> = { m: 1, h: 60, d: 1440, w: 10_080 };

/** Return the name of a kind of signal for people; an unknown one keeps its own. */
export function kindName(kind: string): string {
  return KINDS[kind] ?? words(kind);
}

/** Return a market's name in two parts: okx:BTC-USDT:perp is BTC-USDT, okx perp. */
export function marketParts(instrument: string): { pair: string; where: string } {
  const [venue = "", pair = "", kind = ""] = instrument.split(":");
  return pair === "" ? { pair: instrument, where: "" } : { pair, where: words(`${venue} ${kind}`).trim() };
}

export function words(name: string): string {
  return name.replaceAll("_", " ");
}

/** Return the minutes of an interval or span ("1h", "30d"), to sort by; null for what is none. */
export function minutes(span: string): number | null {
  const found = /^(\d+)([mhdw])$/.exec(span);
  return found === null ? null : Number(found[1]) * (UNITS[found[2] ?? ""] ?? 0);
}

/** Return where a bar of a value from -1 to 1 begins and how wide it is, in percent of the whole; null: no bar. */
export function aroundZero(value: Exact | null | undefined): { left: number; width: number } | null {
  const found = num(value);
  if (found === null) return null;
  const end = 50 + 50 * Math.max(-1, Math.min(1, found));
  return { left: Math.min(50, end), width: Math.abs(end - 50) };
}

export interface Cell {
  key: string;
  kind: string;
  interval: string;
  strength: number;
  signals: number;
}

/** Return what each kind and interval says about an asset, the strongest first. */
export function cellsOf(view: AssetView): Cell[] {
  return Object.entries(view.members)
    .map(([key, one]) => {
      const [kind = key, interval = ""] = key.split(" ", 2);
      return { key, kind, interval, strength: one.strength, signals: Object.keys(one.signals).length };
    })
    .sort((a, b) => Math.abs(b.strength) - Math.abs(a.strength) || a.key.localeCompare(b.key));
}

/**
 * Return the bounds of Wilson's 95 % interval of a hit rate (Wilson 1927), as fractions; null without outcomes:
 * (p + z^2/2n -+ z sqrt(p (1-p)/n + z^2/4n^2)) / (1 + z^2/n), with z = 1.959964.
 */
export function wilson(hits: number, outcomes: number): [number, number] | null {
  if (outcomes <= 0) return null;
  const z = 1.959964;
  const p = hits / outcomes;
  const middle = p + (z * z) / (2 * outcomes);
  const reach = z * Math.sqrt((p * (1 - p)) / outcomes + (z * z) / (4 * outcomes * outcomes));
  const whole = 1 + (z * z) / outcomes;
  return [Math.max(0, (middle - reach) / whole), Math.min(1, (middle + reach) / whole)];
}

/** Return whether a rule was right more or less often than a coin, or whether that cannot be told. */
export function standing(row: Performance): "better" | "worse" | "open" {
  const bounds = wilson(row.hits, row.outcomes);
  if (bounds === null) return "open";
  return bounds[0] > 0.5 ? "better" : bounds[1] < 0.5 ? "worse" : "open";
}

/** What a refusal means, by how its reason is worded; the first that fits. */
const REFUSALS: [RegExp, string][] = [
  [/needed$/, "There is too little history yet: more daily bars have to be collected."],
  [/^no closes/, "No daily bars are stored yet."],
  [/^the newest close is of/, "The prices are too old to build on: collection of daily bars stands still."],
  [/^no asset is usable/, "None of the assets could take part."],
  [/covariance is singular/, "Two assets move as one, so that their risks cannot be told apart."],
  [/add up to/, "The bounds on single weights cannot be kept: no weights within them add up to one."],
  [/^turnover_limit/, "More would have to be traded than the limit on turnover allows."],
  [/^the previous weight/, "The weights before this run are not usable."],
  [/^the view on/, "A view on an asset is no usable number."],
  [/optimiser/, "The optimiser found no weights."],
];

/** Return in plain words why a portfolio was refused; empty when only the reason itself is known. */
export function plainly(reason: string): string {
  return REFUSALS.find(([pattern]) => pattern.test(reason))?.[1] ?? "";
}

/** Return the names of all portfolios that have runs or weights. */
export function portfolios(...rows: readonly { portfolio: string }[][]): string[] {
  return [...new Set(rows.flat().map((row) => row.portfolio))].sort();
}

export interface Standing {
  /** The newest run, whatever it became; runs come newest first. */
  newest: Run | null;
  /** The newest that gave weights. */
  held: Run | null;
  refused: Run[];
}

export function standingOf(runs: readonly Run[], portfolio: string): Standing {
  const own = runs.filter((run) => run.portfolio === portfolio);
  return {
    newest: own[0] ?? null,
    held: own.find((run) => run.state === "ok") ?? null,
    refused: own.filter((run) => run.state !== "ok"),
  };
}

/** Return the largest weight of a portfolio and of the market in it: what bars are drawn against; 1 without any. */
export function largest(weights: readonly Weight[]): number {
  const all = weights.flatMap((row) => [num(row.weight) ?? 0, num(row.market_weight) ?? 0]);
  return Math.max(0, ...all) || 1;
}

export interface Line {
  name: string;
  points: { x: number; y: number | null }[];
  /** Newest value against the start, a fraction; null without values. */
  gained: number | null;
}

/** Return the equity of a portfolio, bitcoin and the market as lines that start at 100, oldest first. */
export function equityLines(rows: readonly Equity[], portfolio: string): Line[] {
  const own = rows.filter((row) => row.portfolio === portfolio).sort((a, b) => a.day.localeCompare(b.day));
  const line = (name: string, pick: (row: Equity) => Exact | null): Line => {
    const points = own.map((row) => {
      const value = num(pick(row));
      return { x: ms(row.day) ?? 0, y: value === null ? null : value * 100 };
    });
    const last = own.map((row) => num(pick(row))).findLast((value) => value !== null) ?? null;
    return { name, points, gained: last === null ? null : last - 1 };
  };
  return [
    line("Portfolio", (row) => row.equity),
    line("Bitcoin", (row) => row.bitcoin),
    line("Market", (row) => row.market),
  ];
}

/** Return the newest breadth of each span, the shortest span first. */
export function newestBreadth(rows: readonly Breadth[]): Breadth[] {
  const found = new Map<string, Breadth>();
  for (const row of rows) {
    const known = found.get(row.span);
    if (known === undefined || known.as_of < row.as_of) found.set(row.span, row);
  }
  return [...found.values()].sort((a, b) => (minutes(a.span) ?? Infinity) - (minutes(b.span) ?? Infinity));
}

/** Return the share of rising assets over time for each span, in percent, oldest first. */
export function breadthLines(rows: readonly Breadth[]): Omit<Line, "gained">[] {
  return newestBreadth(rows).map(({ span }) => ({
    name: span,
    points: rows
      .filter((row) => row.span === span)
      .sort((a, b) => a.as_of.localeCompare(b.as_of))
      .map((row) => {
        const part = num(row.advance_share);
        return { x: ms(row.as_of) ?? 0, y: part === null ? null : part * 100 };
      }),
  }));
}
