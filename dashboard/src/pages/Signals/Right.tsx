import { useRows, type Exact } from "../../api";
import { num, share, signed, whole } from "../../format";
import { Card, Copyable, Fact, Fraction, Show, Table, Time, type Column } from "../../ui";
import { Part } from "./Bars";
import { kindName, minutes, standing, wilson } from "./shaping";
import type { Performance } from "./types";

const EVERY_MS = 120_000;
const FIRST = 10;

interface Coefficient {
  as_of: string;
  horizon: number;
  assets: number;
  value: Exact | null;
}

/** How often and how far prices went the way of the signals. */
export function Right() {
  const rows = useRows<Performance>("signals/performance", {}, { every: EVERY_MS, all: 2000 });
  return (
    <Card title="How often signals were right" aside="signals of the last 90 days">
      <Show
        from={rows}
        what="outcomes"
        isEmpty={(page) => page.data.every((row) => row.outcomes === 0 && row.holes === 0)}
        empty="Nothing is known yet: an outcome comes some bars after its signal."
      >
        {(page) => (
          <>
            <Table
              caption="Hit rate and mean return by rule, interval and horizon"
              columns={COLUMNS}
              rows={page.data}
              id={(row) => `${row.name} ${row.interval} ${row.horizon}`}
              search={(row) => `${kindName(row.kind)} ${row.name} ${row.interval} ${row.horizon} bars`}
              most={FIRST}
            />
            <p className="dim small">
              Entered at the open after the signal, left so many bars later, without fees. In brackets Wilson’s 95 %
              interval; ▲ above and ▼ below one half by more than chance. Signals of many assets at one moment are not
              independent: read it with care.
            </p>
          </>
        )}
      </Show>
      <Coefficients />
    </Card>
  );
}

const SIGNS = { better: "▲", worse: "▼", open: "" };
const MEANT = { better: "more often than by chance", worse: "less often than by chance", open: "not told from chance" };

const COLUMNS: Column<Performance>[] = [
  {
    id: "rule",
    title: "Rule",
    stick: true,
    sort: (row) => `${kindName(row.kind)} ${row.name}`,
    cell: (row) => (
      <>
        {kindName(row.kind)} <span className="dim small from-m">{row.name}</span>
      </>
    ),
  },
  { id: "interval", title: "Bars", sort: (row) => minutes(row.interval), cell: (row) => row.interval },
  {
    id: "horizon",
    title: <span title="Bars after the signal">After</span>,
    numeric: true,
    sort: (row) => row.horizon,
    cell: (row) => whole(row.horizon),
  },
  { id: "rate", title: "Hit rate", numeric: true, sort: (row) => num(row.hit_rate), cell: (row) => <Rate of={row} /> },
  {
    id: "outcomes",
    title: "Outcomes",
    numeric: true,
    sort: (row) => row.outcomes,
    cell: (row) => (
      <>
        {whole(row.outcomes)}
        {row.holes > 0 && <span className="dim small"> + {whole(row.holes)} unknown</span>}
      </>
    ),
  },
  {
    id: "return",
    title: "Mean return",
    numeric: true,
    sort: (row) => num(row.mean_return),
    cell: (row) => <Fraction value={row.mean_return} name={`mean return of ${row.name} ${row.interval}`} signed />,
  },
];

const after = (bars: number) => `${whole(bars)} ${bars === 1 ? "bar" : "bars"}`;

function Rate({ of }: { of: Performance }) {
  const bounds = wilson(of.hits, of.outcomes);
  if (bounds === null) return <span>–</span>;
  const stands = standing(of);
  return (
    <Part part={of.hit_rate}>
      <span className={{ better: "up", worse: "down", open: "" }[stands]} title={MEANT[stands]}>
        <span aria-hidden="true">{SIGNS[stands]}</span>{" "}
        <Fraction
          value={of.hit_rate}
          name={`hit rate of ${of.name} ${of.interval} after ${after(of.horizon)}`}
          digits={0}
        />
        {stands !== "open" && <span className="hidden"> ({MEANT[stands]})</span>}
      </span>{" "}
      <span className="dim small num">
        ({share(bounds[0] * 100, 0).replace(" %", "")}–{share(bounds[1] * 100, 0)})
      </span>
    </Part>
  );
}

/** How well the newest views with a known outcome ordered the returns after them. */
function Coefficients() {
  const rows = useRows<Coefficient>("information_coefficients", { limit: 200 }, { every: EVERY_MS });
  const newest = new Map<number, Coefficient>();
  for (const row of rows.data?.data ?? [])
    if (!newest.has(row.horizon) && num(row.value) !== null) newest.set(row.horizon, row);
  if (newest.size === 0) return null;
  return (
    <>
      <h3>Order of the views against the returns after them (rank correlation, −1 to 1)</h3>
      <dl className="facts">
        {[...newest.values()]
          .sort((a, b) => a.horizon - b.horizon)
          .map((row) => (
            <Fact key={row.horizon} name={`${row.horizon} ${row.horizon === 1 ? "day" : "days"} later`}>
              <Copyable
                value={row.value}
                shown={signed(row.value)}
                name={`information coefficient of ${row.horizon} days`}
              />{" "}
              <span className="dim small">
                {row.assets} assets, <Time value={row.as_of} precision="date" />
              </span>
            </Fact>
          ))}
      </dl>
    </>
  );
}
