/** Whether collection is healthy, and if not, why: one verdict, then what it follows from. */
import { get, useResource, useRows, type Coverage, type Health as State, type Resource } from "../../api";
import type { PageProps } from "../index";
import { Cycles } from "./Cycles";
import { DiskUse } from "./Disk";
import { Doubts } from "./Doubts";
import type { Disk } from "./space";
import { freshnessOfAll } from "./freshness";
import { Ages, CoverageMap, Gaps } from "./Held";
import { Budgets, Providers } from "./Providers";
import type { Budget, Cycle, Source } from "./types";
import { VerdictCard } from "./Verdict";
import "./Health.css";

const OFTEN_MS = 10_000;
const EVERY_MS = 60_000;
const SLOWLY_MS = 300_000;
const SERIES = 10_000;

export default function Health({ route }: PageProps) {
  const health = useResource("health", (signal) => get<State>("health", {}, signal), OFTEN_MS);
  const cycles = useRows<Cycle>("cycles", { limit: 200 }, { every: OFTEN_MS });
  const sources = useRows<Source>("sources", {}, { every: OFTEN_MS });
  const budgets = useRows<Budget>("sources/budgets", {}, { every: OFTEN_MS });
  const coverage = useRows<Coverage>("coverage", {}, { every: EVERY_MS, all: SERIES });
  const freshness = useResource("freshness", freshnessOfAll, EVERY_MS);
  const disk = useResource("disk", (signal) => get<{ data: Disk }>("v1/disk", {}, signal), SLOWLY_MS);
  const known = {
    lost: health.error?.message ?? null,
    // While nothing can be asked, that is the reason for all of it.
    unread:
      health.error !== null
        ? []
        : [unread("Cycles", cycles), unread("Providers", sources), unread("Ages", freshness)].filter(
            (one) => one !== "",
          ),
    health: health.error === null ? health.data : null,
    cycles: cycles.error === null ? (cycles.data?.data ?? null) : null,
    sources: sources.error === null ? (sources.data?.data ?? null) : null,
    budgets: budgets.data?.data ?? null,
    coverage: coverage.data?.data ?? null,
    freshness: freshness.error === null ? freshness.data : null,
    disk: disk.data?.data ?? null,
  };
  return (
    <>
      <VerdictCard known={known} />
      <Cycles from={cycles} query={route.query} />
      <Providers from={sources} />
      <div className="grid health-pair">
        <Budgets from={budgets} />
        <Ages from={freshness} />
      </div>
      <DiskUse from={disk} />
      <CoverageMap from={coverage} />
      <Gaps />
      <Doubts />
    </>
  );
}

function unread(what: string, from: Pick<Resource<unknown>, "error">): string {
  return from.error === null ? "" : `${what} cannot be read: ${from.error.message}`;
}
