import { useState } from "react";

import { useRows } from "../../api";
import { num, share, signed } from "../../format";
import { href } from "../../router";
import { Card, Choice, Copyable, Fraction, Show, Table, Time, type Column } from "../../ui";
import { average, chosenTrends, strengthWord, type Trend } from "./trend";

const EVERY_MS = 300_000;
const FIRST = 12;

/** Return, risk and trend as the analytics tell them, of the chosen assets or of all. */
export function Trends({ assets, span }: { assets: string[]; span: string }) {
  const [which, setWhich] = useState<"chosen" | "all">("chosen");
  const trends = useRows<Trend>("trends/latest", { of: "assets", span }, { every: EVERY_MS, all: 2000 });
  const rows = chosenTrends(trends.data?.data ?? [], assets, which === "all");
  return (
    <Card
      title={`Trend and risk, ${span}`}
      aside={
        <Choice
          name="Assets of the table"
          value={which}
          onChange={setWhich}
          options={[
            { value: "chosen", label: "Chosen" },
            { value: "all", label: "All followed" },
          ]}
        />
      }
    >
      <Show
        from={trends}
        what="trends"
        stale={trends.data?.stale ?? false}
        asOf={trends.data?.as_of}
        isEmpty={(page) => page.data.length === 0}
        empty="Nothing is computed yet: trends come with closed daily bars."
      >
        {(page) => (
          <>
            <Table
              caption={`Trend and risk over ${span}`}
              columns={COLUMNS}
              rows={rows}
              id={(row) => row.subject}
              most={FIRST}
              empty="There is no trend of the chosen assets."
              {...(which === "all" ? { search: text } : {})}
            />
            <p className="dim small">
              From closed daily bars, the newest of <Time value={page.as_of} precision="minute" />. Volatility is of a
              year. The slope is a straight line through the logarithms of the closes; its strength is the part of the
              movement that this line explains. A dash: too few bars.
            </p>
          </>
        )}
      </Show>
    </Card>
  );
}

const nameOf = (row: Trend) => row.symbol ?? row.subject;
const text = (row: Trend) => `${row.subject} ${row.symbol ?? ""} ${row.name ?? ""}`;

const COLUMNS: Column<Trend>[] = [
  {
    id: "asset",
    title: "Asset",
    stick: true,
    sort: nameOf,
    cell: (row) => (
      <a href={href("asset", [row.subject])} title={row.name ?? row.subject}>
        {nameOf(row)}
      </a>
    ),
  },
  {
    id: "return",
    title: "Return",
    numeric: true,
    sort: (row) => num(row.change),
    cell: (row) => <Fraction value={row.change} name={`return of ${nameOf(row)}`} signed />,
  },
  {
    id: "volatility",
    title: "Volatility",
    numeric: true,
    sort: (row) => num(row.volatility),
    cell: (row) => <Fraction value={row.volatility} name={`volatility of ${nameOf(row)}`} digits={1} />,
  },
  {
    id: "drawdown",
    title: "Below high",
    numeric: true,
    sort: (row) => num(row.drawdown),
    cell: (row) => <Fraction value={row.drawdown} name={`drawdown of ${nameOf(row)}`} signed />,
  },
  {
    id: "deepest",
    title: "Deepest fall",
    numeric: true,
    sort: (row) => num(row.max_drawdown),
    cell: (row) => <Fraction value={row.max_drawdown} name={`deepest fall of ${nameOf(row)}`} signed />,
  },
  {
    id: "slope",
    title: "Slope, a day",
    numeric: true,
    sort: (row) => num(row.slope),
    cell: (row) => <Fraction value={row.slope} name={`slope of ${nameOf(row)}`} digits={3} signed />,
  },
  {
    id: "strength",
    title: "Strength",
    numeric: true,
    sort: (row) => num(row.strength),
    cell: (row) => (
      <span className="num">
        <Fraction value={row.strength} name={`strength of the trend of ${nameOf(row)}`} digits={0} />{" "}
        <span className="dim small">{strengthWord(row.strength)}</span>
      </span>
    ),
  },
  {
    id: "average",
    title: "Moving averages",
    sort: (row) => row.ma_state,
    first: "descending",
    cell: (row) => <Averages of={row} />,
  },
  {
    id: "correlation",
    title: "Correlation to BTC",
    numeric: true,
    sort: (row) => num(row.correlation_bitcoin),
    cell: (row) => (
      <Copyable
        value={row.correlation_bitcoin}
        shown={signed(row.correlation_bitcoin)}
        name={`correlation of ${nameOf(row)} with bitcoin`}
      />
    ),
  },
  {
    id: "beta",
    title: "Beta to BTC",
    numeric: true,
    sort: (row) => num(row.beta_bitcoin),
    cell: (row) => (
      <Copyable value={row.beta_bitcoin} shown={signed(row.beta_bitcoin)} name={`beta of ${nameOf(row)} to bitcoin`} />
    ),
  },
  {
    id: "bars",
    title: "Bars",
    numeric: true,
    from: "m",
    sort: (row) => row.bars,
    cell: (row) => (
      <span className="num" title={share((row.bars / Math.max(1, row.bars + row.missing)) * 100, 0)}>
        {row.bars}
        {row.missing > 0 && <span className="old"> ({row.missing} missing)</span>}
      </span>
    ),
  },
];

function Averages({ of }: { of: Trend }) {
  const { way, sign, text: said } = average(of);
  return (
    <span className={`${way} num`}>
      <span aria-hidden="true">{sign}</span> {said}
    </span>
  );
}
