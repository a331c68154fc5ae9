import { useState } from "react";

import { useRows, type Answer, type Coverage, type Gap, type Resource } from "../../api";
import { age, whole } from "../../format";
import { Age, Card, Choice, Heatmap, Show, Stale, Table, Time } from "../../ui";
import { coverageRows, heldOf, heldText, kinds } from "./coverage";
import type { Freshness } from "./freshness";
import type { LostSnapshots } from "./types";

const FIRST = 12;
const EVERY_MS = 60_000;

/** What is held of the history of each series. */
export function CoverageMap({ from }: { from: Resource<Answer<Coverage>> }) {
  return (
    <Card title="History held" aside="per series; those that miss most first">
      <Show from={from} what="coverage" isEmpty={(page) => page.data.length === 0} empty="No series is collected yet.">
        {(page) => <Map rows={page.data} more={page.next !== null} />}
      </Show>
    </Card>
  );
}

function Map({ rows, more }: { rows: Coverage[]; more: boolean }) {
  const [venue, setVenue] = useState("all");
  const [unfolded, setUnfolded] = useState(false);
  const venues = [...new Set(rows.map(venueOf))].sort();
  const chosen = rows.filter((row) => venue === "all" || venueOf(row) === venue);
  const columns = kinds(chosen);
  const all = coverageRows(chosen, columns);
  const shown = unfolded ? all : all.slice(0, FIRST);
  const held = heldOf(chosen);
  return (
    <>
      <div className="row">
        <Choice
          name="Venue"
          value={venue}
          options={["all", ...venues].map((value) => ({ value, label: value }))}
          onChange={setVenue}
        />
        <span>
          <strong>{heldText(held.share)}</strong> held; {held.withHoles} of {held.series} series have gaps
          {held.missingSeconds > 0 && `, ${age(held.missingSeconds * 1000)} in all`}
        </span>
      </div>
      {more && <Stale>There are more series than are shown here</Stale>}
      <Heatmap
        caption="Held part of the history of each instrument"
        columns={columns}
        rows={shown.map((row) => ({ key: row.instrument, name: row.instrument, cells: row.cells }))}
      />
      {all.length > FIRST && (
        <p>
          <button type="button" className="button" onClick={() => setUnfolded(!unfolded)}>
            {unfolded ? `Show the first ${FIRST} only` : `Show all ${all.length} instruments`}
          </button>
        </p>
      )}
    </>
  );
}

function venueOf(row: Coverage): string {
  return row.series.split(":", 1)[0] ?? row.series;
}

/** Windows that are not held, with the reason, and snapshots that are lost for good. */
export function Gaps() {
  const gaps = useRows<Gap>("gaps", { limit: 200 }, { every: EVERY_MS });
  const lost = useRows<LostSnapshots>("gaps/snapshots", { limit: 100 }, { every: EVERY_MS });
  return (
    <Card title="Gaps and their reasons">
      <h3>History that is not held</h3>
      <Show from={gaps} what="gaps" isEmpty={(page) => page.data.length === 0} empty="Nothing is missing.">
        {(page) => (
          <>
            {page.next !== null && <Stale>The first {page.count}; there are more</Stale>}
            <div className="tall">
              <Table
                caption="Windows that are not held"
                rows={page.data}
                id={(row) => `${row.series} ${row.since}`}
                search={(row) => `${row.series} ${row.state} ${row.reason}`}
                columns={[
                  { id: "series", title: "Series", sort: (row) => row.series, cell: (row) => row.series },
                  {
                    id: "length",
                    title: "Length",
                    numeric: true,
                    sort: (row) => Date.parse(row.until) - Date.parse(row.since),
                    cell: (row) => <span className="num">{age(Date.parse(row.until) - Date.parse(row.since))}</span>,
                  },
                  {
                    id: "since",
                    title: "From",
                    from: "s",
                    sort: (row) => row.since,
                    cell: (row) => <Time value={row.since} precision="minute" />,
                  },
                  {
                    id: "state",
                    title: "State",
                    sort: (row) => row.state,
                    cell: (row) => row.state.replaceAll("_", " "),
                  },
                  { id: "reason", title: "Why", cell: (row) => (row.reason === "" ? "–" : row.reason) },
                  {
                    id: "next",
                    title: "Next try",
                    from: "s",
                    sort: (row) => row.next_try_at,
                    cell: (row) => <Time value={row.next_try_at} precision="minute" />,
                  },
                ]}
              />
            </div>
          </>
        )}
      </Show>
      <h3>Snapshots lost in 7 days (nobody has them any more)</h3>
      <Show from={lost} what="lost snapshots" isEmpty={(page) => page.data.length === 0} empty="None was lost.">
        {(page) => (
          <Table
            caption="Snapshots that were lost"
            rows={page.data}
            id={(row) => `${row.source} ${row.dataset} ${row.error}`}
            columns={[
              { id: "source", title: "Provider", sort: (row) => row.source, cell: (row) => row.source },
              { id: "dataset", title: "Dataset", sort: (row) => row.dataset, cell: (row) => row.dataset },
              {
                id: "cycles",
                title: "Cycles",
                numeric: true,
                sort: (row) => row.cycles,
                cell: (row) => whole(row.cycles),
              },
              { id: "last", title: "Last", sort: (row) => row.last_at, cell: (row) => <Age value={row.last_at} /> },
              { id: "error", title: "Why", cell: (row) => row.error },
            ]}
          />
        )}
      </Show>
    </Card>
  );
}

/** Age of the newest row of each dataset. */
export function Ages({ from }: { from: Resource<Freshness[]> }) {
  return (
    <Card title="Newest rows">
      <Show from={from} what="ages">
        {(all) => (
          <Table
            caption="Age of the newest row of each dataset"
            rows={all}
            id={(row) => row.title}
            columns={[
              { id: "title", title: "Dataset", stick: true, sort: (row) => row.title, cell: (row) => row.title },
              { id: "state", title: "State", sort: (row) => row.old, cell: (row) => <Fresh of={row} /> },
              {
                id: "age",
                title: "Newest",
                numeric: true,
                sort: (row) => row.asOf,
                cell: (row) => <Age value={row.asOf} />,
              },
              {
                id: "old",
                title: "Old ones",
                numeric: true,
                sort: (row) => row.old,
                cell: (row) => `${whole(row.old)} of ${row.more ? "the first " : ""}${whole(row.rows)}`,
              },
            ]}
          />
        )}
      </Show>
    </Card>
  );
}

function Fresh({ of }: { of: Freshness }) {
  if (of.rows === 0) return <span className="dim">○ no rows</span>;
  if (of.stale) return <span className="down num">✕ old</span>;
  return of.old > 0 ? <span className="old num">◐ some old</span> : <span className="up num">● up to date</span>;
}
