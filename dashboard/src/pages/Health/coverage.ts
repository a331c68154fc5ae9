/** What is held of each series, as cells of a heat map; what is used of limits. Pure. */
import type { Coverage } from "../../api";
import { age, share } from "../../format";
import type { HeatCell } from "../../ui";
import type { Budget } from "./types";

const ORDER = ["1m", "5m", "15m", "1h", "4h", "1d", "1w", "funding"];
const FULL = 0.4; // held without a hole: a tint that does not shout beside a hole

export interface CoverageRow {
  instrument: string;
  /** Missing part of the worst of its series, 0 to 1. */
  worst: number;
  cells: HeatCell[];
}

/** Return the share of the wanted time that is held, 0 to 1; null when nothing is wanted that could be had. */
export function heldShare(row: Pick<Coverage, "held_s" | "missing_s">): number | null {
  const wanted = row.held_s + row.missing_s;
  return wanted === 0 ? null : row.held_s / wanted;
}

/** Return the kinds of series there are, shortest bars first: 1m, 1h, 1d, funding. */
export function kinds(rows: readonly Coverage[]): string[] {
  const place = (kind: string) => (ORDER.indexOf(kind) + ORDER.length) % ORDER.length;
  return [...new Set(rows.map(kindOf))].sort((a, b) => place(a) - place(b) || a.localeCompare(b, "en"));
}

/** Return one row per instrument with a cell per kind, those that miss most first. */
export function coverageRows(rows: readonly Coverage[], columns: readonly string[]): CoverageRow[] {
  const found = new Map<string, Map<string, Coverage>>();
  for (const row of rows) {
    const name = row.instrument ?? row.series;
    const own = found.get(name) ?? new Map<string, Coverage>();
    own.set(kindOf(row), row);
    found.set(name, own);
  }
  return [...found]
    .map(([instrument, own]) => ({
      instrument,
      worst: Math.max(0, ...[...own.values()].map((row) => 1 - (heldShare(row) ?? 1))),
      cells: columns.map((kind) => cell(own.get(kind))),
    }))
    .sort((a, b) => b.worst - a.worst || a.instrument.localeCompare(b.instrument, "en"));
}

export interface Held {
  series: number;
  /** How many of them miss something. */
  withHoles: number;
  missingSeconds: number;
  /** Of all wanted time, 0 to 1; null without series. */
  share: number | null;
}

export function heldOf(rows: readonly Coverage[]): Held {
  const sum = rows.reduce(
    (all, row) => ({ held_s: all.held_s + row.held_s, missing_s: all.missing_s + row.missing_s }),
    {
      held_s: 0,
      missing_s: 0,
    },
  );
  return {
    series: rows.length,
    withHoles: rows.filter((row) => row.missing_s > 0).length,
    missingSeconds: sum.missing_s,
    share: heldShare(sum),
  };
}

/** Return a share as percent that says 100 only when nothing is missing. */
export function heldText(part: number | null): string {
  if (part === null) return "–";
  if (part >= 1) return share(100, 0);
  return share(Math.min(99.99, Math.floor(part * 10_000) / 100), part > 0.99 ? 2 : 1);
}

function kindOf(row: Coverage): string {
  return row.interval === null || row.interval === "" ? row.dataset : row.interval;
}

function cell(row: Coverage | undefined): HeatCell {
  if (row === undefined) return { strength: null, text: "–", title: "not collected" };
  const held = heldShare(row);
  const none = row.provider_has_none_s > 0 ? `; the provider has none for ${age(row.provider_has_none_s * 1000)}` : "";
  if (held === null) return { strength: null, text: "none", title: `nothing that could be had${none}` };
  const title = `held ${age(row.held_s * 1000)}, missing ${age(row.missing_s * 1000)} in ${row.holes} windows${none}`;
  return { strength: held >= 1 ? FULL : -Math.min(1, 0.2 + 2 * (1 - held)), text: heldText(held), title };
}

export interface Used extends Budget {
  key: string;
  /** 0 to 1, as it was when it was counted. */
  part: number;
}

/** Return the limits, each once: of several accounts (of the collector and of this API) the one that used most. */
export function usedOf(budgets: readonly Budget[]): Used[] {
  const found = new Map<string, Used>();
  for (const one of budgets) {
    const key = `${one.source} ${one.scope} ${one.window_s}`;
    const part = one.capacity === 0 ? 0 : one.used / one.capacity;
    const old = found.get(key);
    if (old === undefined || part > old.part || (part === old.part && one.updated_at > old.updated_at))
      found.set(key, { ...one, key, part });
  }
  return [...found.values()];
}
