import { useRows } from "../../api";
import { LineChart } from "../../charts";
import { percent } from "../../format";
import { Card, Fact, Fraction, Show } from "../../ui";
import { equityLines, portfolios } from "./shaping";
import type { Equity } from "./types";

const EVERY_MS = 300_000;
const DAYS = 2000;

/** What the stored weights would have earned, beside bitcoin and the market. */
export function Paper({ wanted }: { wanted: string | null }) {
  const rows = useRows<Equity>("paper_equity", {}, { every: EVERY_MS, all: DAYS });
  return (
    <Card title="Paper equity" aside="no money is traded">
      <Show
        from={rows}
        what="paper equity"
        stale={rows.data?.stale ?? false}
        asOf={rows.data?.as_of}
        isEmpty={(page) => page.data.length === 0}
        empty="Nothing to show yet: the first day comes after the first portfolio."
      >
        {(page) => <Drawn rows={page.data} wanted={wanted} />}
      </Show>
    </Card>
  );
}

function Drawn({ rows, wanted }: { rows: Equity[]; wanted: string | null }) {
  const names = portfolios(rows);
  const chosen = names.find((name) => name === wanted) ?? names[0] ?? "";
  const lines = equityLines(rows, chosen);
  const hundred = (value: number | null) => percent(value === null ? null : value * 100);
  const told = lines.map((line) => `${line.name} ${hundred(line.gained)}`).join(", ");
  return (
    <>
      <dl className="facts">
        {lines.map((line) => (
          <Fact key={line.name} name={line.name}>
            <Fraction value={line.gained} name={`gain of ${line.name}`} signed />
          </Fact>
        ))}
      </dl>
      <LineChart
        label={`Value of 100 since the first portfolio: ${told}`}
        series={lines}
        format={(value) => value.toFixed(1)}
        legend
      />
      <p className="dim small">Value of 100 after fees; weights are traded at the open after they were computed.</p>
    </>
  );
}
