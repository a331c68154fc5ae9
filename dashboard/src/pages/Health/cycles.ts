/** Arithmetic of cycles: how long they took, how often they come, who failed in them. Pure. */
import { age, ms, num } from "../../format";
import type { HeatCell } from "../../ui";
import type { Cycle, CycleReport, SourceReport } from "./types";

/** Return the length of a cycle in ms; of a running one, what passed until `now`. */
export function duration(cycle: Cycle, now: number): number {
  const start = ms(cycle.started_at) ?? now;
  return Math.max(0, (ms(cycle.finished_at) ?? now) - start);
}

/** Return a length for people, with a decimal below ten seconds: 0.4 s. */
export function lasted(milliseconds: number): string {
  return milliseconds < 9950 ? `${(milliseconds / 1000).toFixed(1)} s` : age(milliseconds);
}

/** Return the middle time between two starts of a cadence, in ms; null with fewer than three cycles of it. */
export function rhythm(cycles: readonly Cycle[], cadence: string): number | null {
  const starts = cycles.filter((one) => one.cadence === cadence).map((one) => Date.parse(one.started_at));
  starts.sort((a, b) => a - b);
  const steps = starts.slice(1).map((start, at) => start - (starts[at] ?? start));
  return steps.length < 2 ? null : median(steps);
}

/** Return the cadence with the most cycles: the one that tells whether collection goes on. */
export function busiest(cycles: readonly Cycle[]): string | null {
  const counts = new Map<string, number>();
  for (const one of cycles) counts.set(one.cadence, (counts.get(one.cadence) ?? 0) + 1);
  return [...counts].sort(([, a], [, b]) => b - a)[0]?.[0] ?? null;
}

/** Return the newest cycle of each cadence that has ended; cycles come newest first. */
export function lastEnded(cycles: readonly Cycle[]): Cycle[] {
  const found = new Map<string, Cycle>();
  for (const one of cycles) if (one.state !== "running" && !found.has(one.cadence)) found.set(one.cadence, one);
  return [...found.values()];
}

export interface Bar {
  cycle: Cycle;
  /** 0.04 to 1: its length beside the longest, as a square root, so that short ones are seen. */
  height: number;
  text: string;
}

/** Return the bars of the timeline, oldest first. */
export function bars(cycles: readonly Cycle[], now: number): Bar[] {
  const longest = Math.max(1, ...cycles.map((one) => duration(one, now)));
  return cycles
    .map((cycle) => ({
      cycle,
      height: Math.max(0.04, Math.sqrt(duration(cycle, now) / longest)),
      text:
        `Cycle ${cycle.cycle_id} (${cycle.cadence}): ${cycle.state}, ${lasted(duration(cycle, now))}, ` +
        `${cycle.rows_written} rows, ${cycle.jobs_failed} failed jobs`,
    }))
    .reverse();
}

/** Return one row per provider and one cell per report (as ordered): failed of all jobs, a dash where none was wanted. */
export function failures(reports: readonly CycleReport[]): { key: string; name: string; cells: HeatCell[] }[] {
  const names = new Set<string>();
  for (const one of reports) for (const part of one.data.report?.sources ?? []) names.add(part.source);
  return [...names].sort().map((name) => ({
    key: name,
    name,
    cells: reports.map((one) => cell(one.data.report?.sources.find((part) => part.source === name))),
  }));
}

function cell(part: SourceReport | undefined): HeatCell {
  const total = part === undefined ? 0 : part.jobs_ok + part.jobs_failed + part.jobs_skipped;
  if (part === undefined || total === 0) return { strength: null, text: "–", title: "nothing was asked of it" };
  const lost = part.jobs_failed + part.jobs_skipped;
  const title = `${part.jobs_ok} jobs went well, ${part.jobs_failed} failed, ${part.jobs_skipped} were not started; ${lasted(part.duration_s * 1000)}`;
  if (lost === 0) return { strength: 0.2, text: `✓ ${total}`, title };
  return { strength: -Math.max(0.3, lost / total), text: `✕ ${lost} of ${total}`, title };
}

/** Return the rows that a provider brought in a cycle. */
export function rowsOf(part: SourceReport): number {
  return Object.values(part.rows).reduce((sum, count) => sum + (num(count) ?? 0), 0);
}

function median(values: readonly number[]): number {
  const ordered = [...values].sort((a, b) => a - b);
  const half = ordered.length / 2;
  return ((ordered[Math.ceil(half) - 1] ?? 0) + (ordered[Math.floor(half)] ?? 0)) / 2;
}
