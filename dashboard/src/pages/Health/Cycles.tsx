import type { Answer, Resource } from "../../api";
import { get, useResource, useRows } from "../../api";
import { whole } from "../../format";
import { changeQuery } from "../../router";
import { Age, Card, Choice, Heatmap, Show, Table, Time, useNow, type Column } from "../../ui";
import { Log } from "./Log";
import { bars, duration, failures, lasted, rowsOf } from "./cycles";
import type { Cycle, CycleReport, Job, SourceReport } from "./types";

const DRAWN = 60;
const COMPARED = 10; // reports beside each other
const KEPT = 100;
const SIGNS: Record<string, string> = { ok: "✓", running: "…", partial: "◐", failed: "✕", abandoned: "✕" };

/** The last cycles: how long, how much, and what failed; one of them with its report. */
export function Cycles({ from, query }: { from: Resource<Answer<Cycle>>; query: URLSearchParams }) {
  const all = from.data?.data ?? [];
  const cadences = [...new Set(all.map((one) => one.cadence))].sort();
  const cadence = cadences.find((one) => one === query.get("cadence")) ?? "all";
  const chosen = all.filter((one) => cadence === "all" || one.cadence === cadence).slice(0, DRAWN);
  const opened = Number(query.get("cycle") ?? 0);
  return (
    <>
      <Card
        title="Last cycles"
        aside={
          <Choice
            name="Cadence"
            value={cadence}
            options={["all", ...cadences].map((value) => ({ value, label: value }))}
            onChange={(value) => changeQuery({ cadence: value === "all" ? null : value })}
          />
        }
      >
        <Show from={from} what="cycles" isEmpty={(page) => page.data.length === 0} empty="No cycle has run yet.">
          {() => (
            <>
              <Timeline cycles={chosen} opened={opened} />
              <CycleTable cycles={chosen} opened={opened} />
            </>
          )}
        </Show>
      </Card>
      {opened > 0 && <Report key={opened} cycle={opened} />}
      <Failures cycles={chosen.filter((one) => one.state !== "running").slice(0, COMPARED)} />
    </>
  );
}

function Timeline({ cycles, opened }: { cycles: Cycle[]; opened: number }) {
  const now = useNow(2000);
  const drawn = bars(cycles, now);
  const bad = cycles.filter((one) => !["ok", "running"].includes(one.state)).length;
  const longest = Math.max(0, ...cycles.map((one) => duration(one, now)));
  const label = `The last ${cycles.length} cycles, oldest on the left: ${bad} did not end well, the longest took ${lasted(longest)}.`;
  return (
    <figure>
      <div className="timeline" role="img" aria-label={label}>
        {drawn.map(({ cycle, height, text }) => (
          <span
            key={cycle.cycle_id}
            className={cycle.cycle_id === opened ? "timeline-cycle timeline-opened" : "timeline-cycle"}
            title={`${text}. Press to open.`}
            onClick={() => changeQuery({ cycle: String(cycle.cycle_id) })}
          >
            <span className={`timeline-bar cycle-${cycle.state}`} style={{ height: `${height * 100}%` }} />
            <span className={`timeline-sign ${cycle.state === "ok" ? "dim" : ""}`}>
              {cycle.state === "ok" ? "·" : SIGNS[cycle.state]}
            </span>
          </span>
        ))}
      </div>
      <figcaption className="dim small">
        {label} Height: duration (square root). ✓ ok, ◐ incomplete, ✕ failed or cut off, … running. A cycle opens with
        its report and log.
      </figcaption>
    </figure>
  );
}

function CycleTable({ cycles, opened }: { cycles: Cycle[]; opened: number }) {
  const now = useNow(2000);
  const open = (cycle: Cycle) => changeQuery({ cycle: cycle.cycle_id === opened ? null : String(cycle.cycle_id) });
  const columns: Column<Cycle>[] = [
    {
      id: "cycle",
      title: "Cycle",
      stick: true,
      sort: (row) => row.cycle_id,
      cell: (row) => (
        <button type="button" className="button" aria-expanded={row.cycle_id === opened} onClick={() => open(row)}>
          {row.cycle_id}
          <span className="hidden">, report</span>
        </button>
      ),
    },
    { id: "cadence", title: "Cadence", sort: (row) => row.cadence, cell: (row) => row.cadence },
    { id: "state", title: "State", sort: (row) => row.state, cell: (row) => <State state={row.state} /> },
    {
      id: "started",
      title: "Started",
      sort: (row) => row.started_at,
      first: "descending",
      cell: (row) => (
        <span className="num">
          <Age value={row.started_at} /> ago
        </span>
      ),
    },
    {
      id: "duration",
      title: "Duration",
      numeric: true,
      sort: (row) => duration(row, now),
      cell: (row) => <span className="num">{lasted(duration(row, now))}</span>,
    },
    {
      id: "rows",
      title: "Rows",
      numeric: true,
      sort: (row) => row.rows_written,
      cell: (row) => whole(row.rows_written),
    },
    {
      id: "indicators",
      title: "Of them indicators",
      numeric: true,
      from: "l",
      sort: (row) => row.indicator_rows,
      cell: (row) => whole(row.indicator_rows),
    },
    {
      id: "ok",
      title: "Jobs",
      numeric: true,
      from: "m",
      sort: (row) => row.jobs_ok,
      cell: (row) => whole(row.jobs_ok),
    },
    {
      id: "failed",
      title: "Failed",
      numeric: true,
      sort: (row) => row.jobs_failed,
      cell: (row) => <Bad count={row.jobs_failed} />,
    },
    {
      id: "skipped",
      title: "Not started",
      numeric: true,
      from: "s",
      sort: (row) => row.jobs_skipped,
      cell: (row) => <Bad count={row.jobs_skipped} />,
    },
    {
      id: "rejects",
      title: "Rejects",
      numeric: true,
      from: "s",
      sort: (row) => row.rejects,
      cell: (row) => whole(row.rejects),
    },
  ];
  return (
    <div className="tall">
      <Table
        caption="The last cycles, one a row"
        rows={cycles}
        id={(row) => String(row.cycle_id)}
        columns={columns}
        open={open}
      />
    </div>
  );
}

function State({ state }: { state: string }) {
  const kind = { ok: "up", running: "dim", partial: "old" }[state] ?? "down";
  return (
    <span className={`${kind} num`}>
      <span aria-hidden="true">{SIGNS[state] ?? "?"}</span> {state}
    </span>
  );
}

function Bad({ count }: { count: number }) {
  return count === 0 ? <span className="dim">0</span> : <strong className="down">✕ {whole(count)}</strong>;
}

const ended = new Map<number, CycleReport>(); // reports of cycles that ended never change

async function reportOf(cycle: number, signal: AbortSignal): Promise<CycleReport> {
  const known = ended.get(cycle);
  if (known !== undefined) return known;
  const found = await get<CycleReport>(`v1/cycles/${cycle}`, {}, signal);
  if (found.data.report !== null) {
    ended.set(cycle, found);
    for (const oldest of ended.keys()) if (ended.size > KEPT) ended.delete(oldest);
  }
  return found;
}

/** Providers against the last cycles: where jobs failed. */
function Failures({ cycles }: { cycles: Cycle[] }) {
  const ids = cycles.map((one) => one.cycle_id);
  const key = ids.length === 0 ? null : `reports ${ids.join(" ")}`;
  const reports = useResource(key, (signal) => Promise.all(ids.map((id) => reportOf(id, signal))));
  // A new cycle makes a new key: the table before stays until its report is there.
  const shown = ids.filter((id) => ended.has(id)).flatMap((id) => ended.get(id) ?? []);
  const held = { ...reports, data: reports.data ?? (shown.length > 0 ? shown : null) };
  if (key === null) return null;
  return (
    <Card title="Failures per provider" aside="jobs of each cycle, newest first">
      <Show from={held} what="reports">
        {(all) => (
          <Heatmap
            caption="Failed jobs of each provider in the last cycles"
            columns={all.map((one) => (
              <span key={one.data.cycle_id} title={one.data.started_at}>
                {one.data.cycle_id} <span className="dim">{one.data.cadence}</span>
              </span>
            ))}
            rows={failures(all)}
          />
        )}
      </Show>
    </Card>
  );
}

function Report({ cycle }: { cycle: number }) {
  const report = useResource(`report ${cycle}`, (signal) => reportOf(cycle, signal), 10_000);
  const jobs = useRows<Job>("jobs", { cycle_id: cycle, state: "failed", limit: 50 });
  return (
    <Card
      title={`Cycle ${cycle}`}
      aside={
        <button type="button" className="button" onClick={() => changeQuery({ cycle: null })}>
          Close
        </button>
      }
    >
      <Show from={report} what="report">
        {({ data }) => (
          <>
            <p>
              {data.cadence}, <State state={data.state} />, began <Time value={data.started_at} />; its log is in the
              folder <code>{data.folder}</code>
            </p>
            {data.report === null ? (
              <p className="dim">Its report is written when it ends.</p>
            ) : (
              <SourceTable sources={data.report.sources} />
            )}
          </>
        )}
      </Show>
      {jobs.data !== null && jobs.data.data.length > 0 && (
        <>
          <h3>Failed jobs</h3>
          <Table
            caption={`Failed jobs of cycle ${cycle}`}
            rows={jobs.data.data}
            id={(row) => String(row.job_id)}
            columns={[
              { id: "source", title: "Provider", sort: (row) => row.source, cell: (row) => row.source },
              { id: "dataset", title: "Dataset", sort: (row) => row.dataset, cell: (row) => row.dataset },
              { id: "subject", title: "Of", cell: (row) => `${row.subject} ${row.interval ?? ""}` },
              { id: "error", title: "Why", cell: (row) => row.error },
            ]}
          />
          {jobs.data.next !== null && <p className="dim">and more</p>}
        </>
      )}
      <Log cycle={cycle} running={report.data !== null && report.data.data.report === null} />
    </Card>
  );
}

function SourceTable({ sources }: { sources: SourceReport[] }) {
  return (
    <Table
      caption="What each provider did in this cycle"
      rows={sources}
      id={(row) => row.source}
      columns={[
        { id: "source", title: "Provider", stick: true, sort: (row) => row.source, cell: (row) => row.source },
        {
          id: "duration",
          title: "Duration",
          numeric: true,
          sort: (row) => row.duration_s,
          cell: (row) => <span className="num">{lasted(row.duration_s * 1000)}</span>,
        },
        { id: "rows", title: "Rows", numeric: true, sort: rowsOf, cell: (row) => whole(rowsOf(row)) },
        { id: "ok", title: "Jobs", numeric: true, sort: (row) => row.jobs_ok, cell: (row) => whole(row.jobs_ok) },
        { id: "failed", title: "Failed", numeric: true, cell: (row) => <Bad count={row.jobs_failed} /> },
        { id: "skipped", title: "Not started", numeric: true, cell: (row) => <Bad count={row.jobs_skipped} /> },
        { id: "requests", title: "Requests", numeric: true, from: "s", cell: (row) => whole(row.requests) },
        { id: "retries", title: "Retries", numeric: true, from: "s", cell: (row) => whole(row.retries) },
        { id: "waited", title: "Waited", numeric: true, from: "m", cell: (row) => lasted(row.waited_s * 1000) },
        { id: "errors", title: "Errors", cell: (row) => (row.errors.length === 0 ? "–" : row.errors.join("; ")) },
      ]}
    />
  );
}
