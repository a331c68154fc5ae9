import { useRows } from "../../api";
import { LineChart } from "../../charts";
import { num, share, whole } from "../../format";
import { Card, Fraction, Show, Table, type Column } from "../../ui";
import { Part } from "./Bars";
import { breadthLines, minutes, newestBreadth } from "./shaping";
import type { Breadth } from "./types";

const EVERY_MS = 120_000;
const ROWS = 800; // half a year of four spans

/** How many followed assets take part in a movement. */
export function BreadthCard() {
  const rows = useRows<Breadth>("breadth", { limit: ROWS }, { every: EVERY_MS });
  return (
    <Card title="Market breadth">
      <Show
        from={rows}
        what="breadth"
        stale={rows.data?.stale ?? false}
        asOf={rows.data?.as_of}
        isEmpty={(page) => page.data.length === 0}
        empty="Nothing is computed yet: breadth comes with closed daily bars."
      >
        {(page) => <Drawn rows={page.data} />}
      </Show>
    </Card>
  );
}

function Drawn({ rows }: { rows: Breadth[] }) {
  const newest = newestBreadth(rows);
  const lines = breadthLines(rows);
  const told = newest
    .map((row) => `${row.span} ${share(num(row.advance_share) === null ? null : Number(row.advance_share) * 100, 0)}`)
    .join(", ");
  return (
    <>
      <Table caption="Breadth by span" columns={COLUMNS} rows={newest} id={(row) => row.span} />
      {lines.some((line) => line.points.length > 1) && (
        <LineChart
          label={`Part of the assets that rose, newest: ${told}`}
          series={lines}
          format={(value) => share(value, 0)}
          legend
          height="11rem"
        />
      )}
      <p className="dim small">Highs and lows: the newest close is the highest or lowest of the span.</p>
    </>
  );
}

const COLUMNS: Column<Breadth>[] = [
  { id: "span", title: "Span", stick: true, sort: (row) => minutes(row.span), cell: (row) => row.span },
  {
    id: "rose",
    title: "Rose",
    numeric: true,
    sort: (row) => num(row.advance_share),
    cell: (row) => (
      <Part part={row.advance_share}>
        <span className="num">
          {whole(row.advancing)} of {whole(row.assets)}
        </span>{" "}
        (<Fraction value={row.advance_share} name={`part that rose over ${row.span}`} digits={0} />)
      </Part>
    ),
  },
  { id: "fell", title: "Fell", numeric: true, sort: (row) => row.declining, cell: (row) => whole(row.declining) },
  {
    id: "above",
    title: "Above average",
    numeric: true,
    sort: (row) => (row.sma_assets === 0 ? null : row.above_sma / row.sma_assets),
    cell: (row) => `${whole(row.above_sma)} of ${whole(row.sma_assets)}`,
  },
  { id: "highs", title: "Highs", numeric: true, sort: (row) => row.new_highs, cell: (row) => whole(row.new_highs) },
  { id: "lows", title: "Lows", numeric: true, sort: (row) => row.new_lows, cell: (row) => whole(row.new_lows) },
];
