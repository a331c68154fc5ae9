import { useRows, type Exact } from "../../api";
import { Age, Card, Price, Show, Stale, Table } from "../../ui";
import type { Reject, Revision, Suspect } from "./types";

const EVERY_MS = 60_000;
const ROWS = 50;

/** Rows that were not believed, values that changed afterwards, and stored rows that look wrong. */
export function Doubts() {
  return (
    <>
      <Rejects />
      <Revisions />
      <Suspects />
    </>
  );
}

function Rejects() {
  const rejects = useRows<Reject>("rejects", { limit: ROWS }, { every: EVERY_MS });
  return (
    <Card title="Rejects" aside="rows that were not believed, and not stored">
      <Show from={rejects} what="rejects" isEmpty={(page) => page.data.length === 0} empty="Every row was believed.">
        {(page) => (
          <>
            {page.next !== null && <p className="dim small">The newest {page.count}; there are more.</p>}
            <div className="tall">
              <Table
                caption="Rejected rows"
                rows={page.data}
                id={(row) => `${row.job_id} ${row.seq}`}
                search={(row) => `${row.source} ${row.dataset} ${row.reason} ${row.detail}`}
                columns={[
                  { id: "at", title: "When", sort: (row) => row.at, cell: (row) => <Age value={row.at} /> },
                  { id: "source", title: "Provider", sort: (row) => row.source, cell: (row) => row.source },
                  {
                    id: "dataset",
                    title: "Dataset",
                    from: "s",
                    sort: (row) => row.dataset,
                    cell: (row) => row.dataset,
                  },
                  {
                    id: "reason",
                    title: "Why",
                    sort: (row) => row.reason,
                    cell: (row) => row.reason.replaceAll("_", " "),
                  },
                  { id: "detail", title: "Detail", cell: (row) => row.detail },
                ]}
              />
            </div>
          </>
        )}
      </Show>
    </Card>
  );
}

function Revisions() {
  const revisions = useRows<Revision>("revisions", { limit: ROWS }, { every: EVERY_MS });
  return (
    <Card title="Revisions" aside="closed values that changed after they were stored">
      <Show
        from={revisions}
        what="revisions"
        isEmpty={(page) => page.data.length === 0}
        empty="No stored value changed."
      >
        {(page) => (
          <>
            {page.next !== null && <p className="dim small">The newest {page.count}; there are more.</p>}
            <div className="tall">
              <Table
                caption="Values that changed"
                rows={page.data}
                id={(row) => String(row.revision_id)}
                search={(row) => `${row.table_name} ${row.subject} ${row.source} ${row.cause} ${row.columns.join(" ")}`}
                columns={[
                  {
                    id: "at",
                    title: "When",
                    sort: (row) => row.detected_at,
                    cell: (row) => <Age value={row.detected_at} />,
                  },
                  {
                    id: "subject",
                    title: "Of",
                    sort: (row) => row.subject,
                    cell: (row) => `${row.subject} (${row.table_name})`,
                  },
                  {
                    id: "source",
                    title: "By",
                    sort: (row) => row.source,
                    cell: (row) => `${row.source}, ${row.cause}`,
                  },
                  { id: "change", title: "Change", cell: (row) => <Change row={row} /> },
                ]}
              />
            </div>
          </>
        )}
      </Show>
    </Card>
  );
}

function Change({ row }: { row: Revision }) {
  return (
    <ul className="plain">
      {row.columns.map((column) => (
        <li key={column}>
          {column}: {text(row.old[column])} → {text(row.new[column])}
        </li>
      ))}
    </ul>
  );
}

function text(value: unknown): string {
  if (value === null || value === undefined) return "–";
  return typeof value === "string" ? value : JSON.stringify(value);
}

function Suspects() {
  const suspects = useRows<Suspect>("suspects", { limit: ROWS }, { every: EVERY_MS });
  const number = (value: Exact, name: string) => <Price value={value} name={name} />;
  return (
    <Card title="Suspects" aside="stored rows that look wrong">
      <Show from={suspects} what="suspects" isEmpty={(page) => page.data.length === 0} empty="Nothing looks wrong.">
        {(page) => (
          <>
            {page.next !== null && <Stale>The newest {page.count}; there are more</Stale>}
            <div className="tall">
              <Table
                caption="Rows that look wrong"
                rows={page.data}
                id={(row) => `${row.dataset} ${row.subject} ${row.source} ${row.observed_at} ${row.kind}`}
                columns={[
                  {
                    id: "at",
                    title: "Of",
                    sort: (row) => row.observed_at,
                    cell: (row) => <Age value={row.observed_at} />,
                  },
                  {
                    id: "subject",
                    title: "Subject",
                    sort: (row) => row.subject,
                    cell: (row) => `${row.subject} (${row.dataset})`,
                  },
                  { id: "kind", title: "Doubt", sort: (row) => row.kind, cell: (row) => row.kind },
                  { id: "value", title: "Value", numeric: true, cell: (row) => number(row.value, "value") },
                  {
                    id: "reference",
                    title: "Beside",
                    numeric: true,
                    cell: (row) => number(row.reference, "reference"),
                  },
                  { id: "detail", title: "Detail", from: "s", cell: (row) => row.detail },
                ]}
              />
            </div>
          </>
        )}
      </Show>
    </Card>
  );
}
