import type { Resource } from "../../api";
import { bytes, whole } from "../../format";
import { Card, Copyable, Fact, Show, Table } from "../../ui";
import { daysLeft, usedPart, type Disk, type DiskTable } from "./space";

const FIRST = 8;
const LOOK = { good: "up", warn: "old", bad: "down", unknown: "dim" };
const SIGNS = { good: "●", warn: "◐", bad: "✕", unknown: "○" };

/** What the database takes, what is free, and how long that lasts. */
export function DiskUse({ from }: { from: Resource<{ data: Disk }> }) {
  return (
    <Card title="Disk">
      <Show from={from} what="disk use">
        {({ data }) => (
          <>
            <Sizes disk={data} />
            <Table
              caption="Tables of the database, the largest first"
              rows={data.tables}
              id={(row) => row.table}
              most={FIRST}
              columns={COLUMNS}
            />
          </>
        )}
      </Show>
    </Card>
  );
}

function Sizes({ disk }: { disk: Disk }) {
  const left = daysLeft(disk);
  const used = usedPart(disk);
  return (
    <dl className="facts">
      <Fact name="Database">
        <Bytes value={disk.database_bytes} name="size of the database" />
      </Fact>
      <Fact name="Free">
        {disk.free_bytes === null ? (
          <Unknown why={disk.free_unknown} />
        ) : (
          <>
            <Bytes value={disk.free_bytes} name="free space" />
            {disk.capacity_bytes !== null && (
              <>
                {" "}
                of <Bytes value={disk.capacity_bytes} name="size of the file system" />
              </>
            )}
            {used !== null && (
              <span className="used" aria-hidden="true">
                <span
                  className={used >= 0.9 ? "used-full" : used >= 0.7 ? "used-near" : ""}
                  style={{ width: `${used * 100}%` }}
                />
              </span>
            )}
          </>
        )}
      </Fact>
      <Fact name="Growth, a day">
        {disk.bytes_a_day === null ? (
          <span className="dim">not known yet</span>
        ) : (
          <Bytes value={disk.bytes_a_day} name="growth a day" />
        )}
      </Fact>
      <Fact name="Lasts for">
        {left.level === "unknown" ? (
          <Unknown why={disk.days_left_unknown} />
        ) : (
          <span className={LOOK[left.level]}>
            <span aria-hidden="true">{SIGNS[left.level]}</span> {left.text}
          </span>
        )}
      </Fact>
    </dl>
  );
}

function Unknown({ why }: { why: string }) {
  return <span className="dim">not known{why !== "" && <span className="small reason">: {why}</span>}</span>;
}

function Bytes({ value, name }: { value: number; name: string }) {
  return <Copyable value={value} shown={bytes(value)} name={`${name} in bytes`} />;
}

const COLUMNS = [
  {
    id: "table",
    title: "Table",
    stick: true,
    sort: (row: DiskTable) => row.table,
    cell: (row: DiskTable) => <code>{row.table}</code>,
  },
  {
    id: "size",
    title: "Size",
    numeric: true,
    sort: (row: DiskTable) => row.total_bytes,
    cell: (row: DiskTable) => <Bytes value={row.total_bytes} name={`size of ${row.table}`} />,
  },
  {
    id: "rows",
    title: "Rows",
    numeric: true,
    sort: (row: DiskTable) => row.rows,
    cell: (row: DiskTable) => (row.rows === null ? <span className="dim">not counted yet</span> : whole(row.rows)),
  },
  {
    id: "growth",
    title: "Growth, a day",
    numeric: true,
    sort: (row: DiskTable) => row.bytes_a_day,
    cell: (row: DiskTable) =>
      row.bytes_a_day === null ? "–" : <Bytes value={row.bytes_a_day} name={`growth of ${row.table}`} />,
  },
  {
    id: "how",
    title: "How that is known",
    from: "s" as const,
    cell: (row: DiskTable) => <span className="dim small">{row.how}</span>,
  },
];
