import type { Answer, Resource } from "../../api";
import { age, share, whole } from "../../format";
import { Age, Card, Show, Table, useNow } from "../../ui";
import { usedOf } from "./coverage";
import type { Budget, Source } from "./types";
import { isFailing } from "./verdict";

const FIRST = 8; // limits shown before the reader asks for all
const NEAR = 0.7;
const FULL = 0.9;
const FAILING = "failing"; // its jobs are, whatever the API says of its own calls
const KINDS: Record<string, string> = { online: "up", degraded: "old", offline: "down", [FAILING]: "old" };
const SIGNS: Record<string, string> = { online: "●", degraded: "◐", offline: "✕", [FAILING]: "◐" };

/** How each provider is, and what it did in the last day. */
export function Providers({ from }: { from: Resource<Answer<Source>> }) {
  return (
    <Card title="Providers" aside="jobs, rows and rejects of 24 h">
      <Show from={from} what="providers" isEmpty={(page) => page.data.length === 0} empty="No provider is known yet.">
        {(page) => (
          <Table
            caption="State of each provider"
            rows={page.data}
            id={(row) => row.source}
            columns={[
              { id: "source", title: "Provider", stick: true, sort: (row) => row.source, cell: (row) => row.source },
              { id: "status", title: "State", sort: (row) => row.status, cell: (row) => <Status of={row} /> },
              {
                id: "ok",
                title: "Last good job",
                sort: (row) => row.last_ok_at,
                cell: (row) => <Age value={row.last_ok_at} />,
              },
              {
                id: "jobs",
                title: "Jobs",
                numeric: true,
                from: "s",
                sort: (row) => row.jobs_ok,
                cell: (row) => whole(row.jobs_ok),
              },
              {
                id: "failed",
                title: "Failed",
                numeric: true,
                sort: (row) => row.jobs_failed + row.jobs_skipped,
                cell: (row) => {
                  const lost = row.jobs_failed + row.jobs_skipped;
                  return lost === 0 ? (
                    <span className="dim">0</span>
                  ) : (
                    <strong className="down">✕ {whole(lost)}</strong>
                  );
                },
              },
              {
                id: "rows",
                title: "Rows",
                numeric: true,
                sort: (row) => row.rows_written,
                cell: (row) => whole(row.rows_written),
              },
              {
                id: "rejects",
                title: "Rejects",
                numeric: true,
                from: "s",
                sort: (row) => row.rejects,
                cell: (row) => whole(row.rejects),
              },
              {
                id: "clock",
                title: "Clock off by",
                numeric: true,
                from: "m",
                sort: (row) => row.clock_offset_s,
                cell: (row) => (row.clock_offset_s === null ? "–" : `${row.clock_offset_s.toFixed(1)} s`),
              },
              {
                id: "error",
                title: "Newest error",
                from: "m",
                cell: (row) =>
                  row.last_error === null ? (
                    "–"
                  ) : (
                    <>
                      <Age value={row.last_error_at} /> ago: {row.last_error}
                    </>
                  ),
              },
            ]}
          />
        )}
      </Show>
    </Card>
  );
}

function Status({ of }: { of: Source }) {
  const now = useNow(5000);
  if (!of.enabled) return <span className="dim">○ not asked</span>;
  const state: string = of.status === "online" && isFailing(of) ? FAILING : (of.status ?? "not known");
  const kind = KINDS[state] ?? "dim";
  const sign = SIGNS[state] ?? "○";
  const pause = of.paused_until === null ? 0 : Date.parse(of.paused_until) - now;
  const more = [
    of.reason,
    of.banned ? "banned" : "",
    of.denied ? "refuses access" : "",
    pause > 0 ? `paused for ${age(pause)}` : "",
  ].filter(Boolean);
  return (
    <>
      <span className={`${kind} num`}>
        <span aria-hidden="true">{sign}</span> {state}
      </span>
      {more.length > 0 && <span className="small"> {more.join("; ")}</span>}
    </>
  );
}

/** What was used of each limit, as of when it was counted. */
export function Budgets({ from }: { from: Resource<Answer<Budget>> }) {
  return (
    <Card title="Limits used">
      <Show
        from={from}
        what="limits"
        isEmpty={(page) => page.data.length === 0}
        empty="No provider has told a limit yet."
      >
        {(page) => (
          <Table
            caption="What was used of each provider's limits"
            rows={usedOf(page.data)}
            id={(row) => row.key}
            order={{ by: "used", direction: "descending" }}
            most={FIRST}
            columns={[
              { id: "source", title: "Provider", stick: true, sort: (row) => row.source, cell: (row) => row.source },
              {
                id: "scope",
                title: "Limit",
                sort: (row) => row.scope,
                cell: (row) => `${row.scope} in ${age(row.window_s * 1000)}`,
              },
              {
                id: "used",
                title: "Used",
                numeric: true,
                sort: (row) => row.part,
                cell: (row) => (
                  <>
                    <span className="num">
                      {whole(row.used)} of {whole(row.capacity)} ({share(row.part * 100, 0)})
                    </span>
                    <span className="used" aria-hidden="true">
                      <span
                        className={row.part >= FULL ? "used-full" : row.part >= NEAR ? "used-near" : ""}
                        style={{ width: `${Math.min(1, row.part) * 100}%` }}
                      />
                    </span>
                  </>
                ),
              },
              {
                id: "at",
                title: "Counted",
                from: "s",
                sort: (row) => row.updated_at,
                cell: (row) => (
                  <>
                    <Age value={row.updated_at} /> ago
                  </>
                ),
              },
            ]}
          />
        )}
      </Show>
    </Card>
  );
}
