/** One verdict on the whole collection, with its reasons: what an operator sees first. Pure. */
import type { Coverage, Health } from "../../api";
import { age } from "../../format";
import { heldOf, heldText, usedOf } from "./coverage";
import { daysLeft, type Disk } from "./space";
import { busiest, lastEnded, rhythm } from "./cycles";
import type { Freshness } from "./freshness";
import type { Budget, Cycle, Source } from "./types";

export type Level = "good" | "warn" | "bad" | "unknown";

export interface Reason {
  level: "warn" | "bad";
  text: string;
}

export interface Verdict {
  level: Level;
  sentence: string;
  reasons: Reason[];
}

/** What is known now; null: not loaded, or the API does not say. `lost`: why the API cannot be asked. */
export interface Known {
  lost: string | null;
  /** What could not be read, with why. */
  unread: readonly string[];
  health: Health | null;
  cycles: readonly Cycle[] | null;
  sources: readonly Source[] | null;
  budgets: readonly Budget[] | null;
  coverage: readonly Coverage[] | null;
  freshness: readonly Freshness[] | null;
  disk: Disk | null;
}

const STILL_LEAST_MS = 180_000; // shorter pauses are a slow cycle or a restart
const STILL_UNKNOWN_MS = 900_000; // while too few cycles tell how often they come
const STILL_TIMES = 3;
const OLD_PART = 0.1; // of the subjects of a dataset; fewer are markets that were closed
const HELD_LEAST = 0.99;
const USED_MOST = 0.9;

export function verdict(known: Known, now: number): Verdict {
  const reasons = [
    ...ofApi(known),
    ...known.unread.map((text) => ({ level: "warn" as const, text })),
    ...ofCycles(known.cycles, now),
    ...ofSources(known.sources ?? [], now),
    ...ofFreshness(known.freshness ?? []),
    ...ofCoverage(known.coverage ?? []),
    ...ofBudgets(known.budgets ?? [], now),
    ...ofDisk(known.disk),
  ].sort((a, b) => Number(b.level === "bad") - Number(a.level === "bad"));
  const loaded = known.lost !== null || (known.health !== null && known.cycles !== null && known.sources !== null);
  const level: Level = reasons.some((one) => one.level === "bad")
    ? "bad"
    : !loaded
      ? "unknown"
      : reasons.length > 0
        ? "warn"
        : "good";
  return { level, sentence: SENTENCES[level], reasons };
}

const SENTENCES: Record<Level, string> = {
  good: "Collection is healthy",
  warn: "Collection works, with problems",
  bad: "Collection is broken",
  unknown: "Not known yet",
};

function ofApi({ lost, health }: Known): Reason[] {
  if (lost !== null) return [{ level: "bad", text: `The API cannot be asked: ${lost}` }];
  if (health === null || health.database.status === "online") return [];
  return [{ level: "bad", text: `The database is ${health.database.status}${told(health.database.reason)}` }];
}

function ofCycles(cycles: readonly Cycle[] | null, now: number): Reason[] {
  if (cycles === null) return [];
  const newest = cycles[0];
  const cadence = busiest(cycles);
  if (newest === undefined || cadence === null) return [{ level: "bad", text: "No cycle has run yet" }];
  const reasons: Reason[] = [];
  const usual = rhythm(cycles, cadence);
  const passed = now - Date.parse(newest.started_at);
  if (passed > (usual === null ? STILL_UNKNOWN_MS : Math.max(STILL_LEAST_MS, STILL_TIMES * usual))) {
    const often = usual === null ? "" : `, usually one comes every ${age(usual)}`;
    reasons.push({ level: "bad", text: `Collection stands still: the last cycle began ${age(passed)} ago${often}` });
  }
  for (const one of lastEnded(cycles)) {
    const name = `The last ${one.cadence} cycle (${one.cycle_id})`;
    const lost = one.jobs_failed + one.jobs_skipped;
    if (one.state === "failed")
      reasons.push({ level: one.cadence === cadence ? "bad" : "warn", text: `${name} failed` });
    else if (one.state === "abandoned") reasons.push({ level: "warn", text: `${name} was cut off` });
    else if (one.state === "partial")
      reasons.push({ level: "warn", text: `${name} is incomplete: ${lost} jobs failed or were not started` });
  }
  return reasons;
}

/** Whether nothing good has come from a provider since its newest error; its `status` tells of the API's own calls only. */
export function isFailing({ enabled, last_ok_at, last_error_at }: Source): boolean {
  if (!enabled || last_error_at === null) return false;
  return last_ok_at === null || Date.parse(last_error_at) > Date.parse(last_ok_at);
}

function ofSources(sources: readonly Source[], now: number): Reason[] {
  const asked = sources.filter((one) => one.enabled);
  const off = asked.filter((one) => one.status === "offline" || one.banned || one.denied || isFailing(one));
  const all = asked.length > 0 && off.length === asked.length;
  const reasons: Reason[] = all ? [{ level: "bad", text: "No provider gives anything" }] : [];
  for (const one of asked) {
    const why = told(one.reason);
    if (one.banned) reasons.push({ level: "warn", text: `${one.source} has banned us${why}` });
    else if (one.denied) reasons.push({ level: "warn", text: `${one.source} refuses access${why}` });
    else if (one.status === "offline" || one.status === "degraded")
      reasons.push({ level: "warn", text: `${one.source} is ${one.status}${why}` });
    else if (isFailing(one)) {
      const since = one.last_ok_at === null ? "" : ` for ${age(now - Date.parse(one.last_ok_at))}`;
      reasons.push({ level: "warn", text: `${one.source} has given nothing${since}${told(one.last_error)}` });
    }
  }
  return reasons;
}

function ofFreshness(datasets: readonly Freshness[]): Reason[] {
  const some = datasets.filter((one) => one.rows > 0);
  const old = some.filter((one) => one.stale);
  const reasons: Reason[] = [];
  if (old.length > 0)
    reasons.push({
      level: old.length * 2 > some.length ? "bad" : "warn",
      text: `Old data: ${old.map((one) => one.title).join(", ")}`,
    });
  for (const one of some)
    if (!one.stale && one.old / one.rows >= OLD_PART)
      reasons.push({ level: "warn", text: `${one.title}: ${one.old} of ${one.rows} are old` });
  return reasons;
}

function ofCoverage(rows: readonly Coverage[]): Reason[] {
  const held = heldOf(rows);
  if (held.share === null || held.share >= HELD_LEAST) return [];
  return [
    { level: "warn", text: `Only ${heldText(held.share)} of history is held; ${held.withHoles} series have gaps` },
  ];
}

function ofBudgets(budgets: readonly Budget[], now: number): Reason[] {
  return usedOf(budgets)
    .filter((one) => one.part >= USED_MOST && now - Date.parse(one.updated_at) < one.window_s * 1000)
    .map((one) => ({
      level: "warn" as const,
      text: `${one.source} has used ${one.used} of ${one.capacity} ${one.scope} in ${age(one.window_s * 1000)}`,
    }));
}

function ofDisk(disk: Disk | null): Reason[] {
  const left = disk === null ? null : daysLeft(disk);
  if (left === null || left.level === "good" || left.level === "unknown") return [];
  return [{ level: left.level, text: `The disk is full in ${left.text} at the rate of now` }];
}

function told(reason: string | null): string {
  return reason === null || reason === "" ? "" : `: ${reason}`;
}
