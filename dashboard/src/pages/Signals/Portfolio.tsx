import { useRows, type Answer, type Resource } from "../../api";
import { num, whole } from "../../format";
import { changeQuery } from "../../router";
import { Age, Card, Choice, Fact, Fraction, Show, Stale, Table, Time, type Column } from "../../ui";
import { Part } from "./Bars";
import { largest, plainly, portfolios, standingOf, words } from "./shaping";
import type { Run, Weight } from "./types";

const EVERY_MS = 60_000;
const FIRST = 12;
const RUNS = 100;
const INSTALL = "python -m pip install -r requirements-analytics.txt";

/** The newest weights beside the market's, what they follow from, and runs that gave none. */
export function Portfolio({ wanted }: { wanted: string | null }) {
  const runs = useRows<Run>("portfolios", { limit: RUNS }, { every: EVERY_MS });
  const weights = useRows<Weight>("portfolios/weights/latest", {}, { every: EVERY_MS, all: 2000 });
  const names = portfolios(runs.data?.data ?? [], weights.data?.data ?? []);
  const chosen = names.find((name) => name === wanted) ?? names[0] ?? "";
  return (
    <Card
      title="Portfolio"
      aside={
        names.length > 1 ? (
          <Choice
            name="Portfolio"
            value={chosen}
            onChange={(value) => changeQuery({ portfolio: value })}
            options={names.map((value) => ({ value, label: words(value) }))}
          />
        ) : (
          chosen !== "" && words(chosen)
        )
      }
    >
      <Show from={runs} what="portfolios" isEmpty={(page) => page.data.length === 0} empty={<NoPortfolio />}>
        {(page) => <Chosen runs={page.data} weights={weights} portfolio={chosen} />}
      </Show>
    </Card>
  );
}

function NoPortfolio() {
  return (
    <>
      <p>No portfolio is computed yet: it follows from views and market caps, and needs packages of its own.</p>
      <p>
        If they are missing, this installs them: <code className="code">{INSTALL}</code>
      </p>
    </>
  );
}

function Chosen({ runs, weights, portfolio }: { runs: Run[]; weights: Resource<Answer<Weight>>; portfolio: string }) {
  const { newest, held, refused } = standingOf(runs, portfolio);
  return (
    <>
      {newest !== null && newest.state !== "ok" && (
        <Stale>
          The newest run, <Age value={newest.as_of} /> ago, was refused.{" "}
          {plainly(newest.reason) === "" ? newest.reason : plainly(newest.reason)}
          {held !== null && " What follows is from the run before."}
        </Stale>
      )}
      {held !== null && <Figures run={held} />}
      <Show
        from={weights}
        what="weights"
        stale={weights.data?.stale ?? false}
        asOf={weights.data?.as_of}
        isEmpty={(page) => page.data.every((row) => row.portfolio !== portfolio)}
        empty="No run has given weights yet."
      >
        {(page) => <Weights rows={page.data.filter((row) => row.portfolio === portfolio)} />}
      </Show>
      {held !== null && <LeftOut run={held} />}
      {refused.length > 0 && <Refused runs={refused} />}
    </>
  );
}

function Figures({ run }: { run: Run }) {
  return (
    <dl className="facts">
      <Fact name="As of">
        <Time value={run.as_of} precision="minute" />
      </Fact>
      <Fact name="Expected return, a year">
        <Fraction value={run.expected_return} name="expected return of the portfolio" signed />
      </Fact>
      <Fact name="Expected volatility, a year">
        <Fraction value={run.expected_volatility} name="expected volatility of the portfolio" digits={1} />
      </Fact>
      <Fact name="Turnover">
        {num(run.turnover) === null ? (
          <span className="dim">none, it is the first</span>
        ) : (
          <Fraction value={run.turnover} name="turnover of the portfolio" digits={1} />
        )}
      </Fact>
      <Fact name="Assets">{whole(run.assets)}</Fact>
      <Fact name="From">{run.reason === "" ? "–" : run.reason}</Fact>
    </dl>
  );
}

function Weights({ rows }: { rows: Weight[] }) {
  const most = largest(rows);
  return (
    <div className="weights">
      <Table
        caption="Weights of the portfolio beside those of the market"
        columns={columnsWith(most)}
        rows={rows}
        id={(row) => row.asset_id}
        order={{ by: "weight", direction: "descending" }}
        most={FIRST}
      />
      <p className="dim small">
        Returns are of a year. Prior: what the market’s weights imply; view: what the signals say; posterior: both
        together, after Black and Litterman.
      </p>
    </div>
  );
}

const nameOf = (row: Weight) => row.symbol ?? row.asset_id;

const columnsWith = (most: number): Column<Weight>[] => [
  {
    id: "asset",
    title: "Asset",
    stick: true,
    sort: nameOf,
    cell: (row) => <span title={row.name ?? row.asset_id}>{nameOf(row)}</span>,
  },
  {
    id: "weight",
    title: "Weight",
    numeric: true,
    sort: (row) => num(row.weight),
    cell: (row) => (
      <Part part={row.weight} most={most}>
        <Fraction value={row.weight} name={`weight of ${nameOf(row)}`} digits={1} />
      </Part>
    ),
  },
  {
    id: "market",
    title: "In the market",
    numeric: true,
    sort: (row) => num(row.market_weight),
    cell: (row) => (
      <Part part={row.market_weight} most={most} market>
        <Fraction value={row.market_weight} name={`market weight of ${nameOf(row)}`} digits={1} />
      </Part>
    ),
  },
  {
    id: "before",
    title: "Before",
    numeric: true,
    from: "m",
    sort: (row) => num(row.previous_weight),
    cell: (row) => <Fraction value={row.previous_weight} name={`previous weight of ${nameOf(row)}`} digits={1} />,
  },
  {
    id: "prior",
    title: "Prior",
    numeric: true,
    sort: (row) => num(row.prior_return),
    cell: (row) => <Fraction value={row.prior_return} name={`prior return of ${nameOf(row)}`} signed />,
  },
  {
    id: "view",
    title: "View",
    numeric: true,
    sort: (row) => num(row.view_return),
    cell: (row) => <Fraction value={row.view_return} name={`view return of ${nameOf(row)}`} signed />,
  },
  {
    id: "posterior",
    title: "Posterior",
    numeric: true,
    sort: (row) => num(row.posterior_return),
    cell: (row) => <Fraction value={row.posterior_return} name={`posterior return of ${nameOf(row)}`} signed />,
  },
  {
    id: "confidence",
    title: "Confidence",
    numeric: true,
    from: "m",
    sort: (row) => num(row.confidence),
    cell: (row) => <Fraction value={row.confidence} name={`confidence in the view on ${nameOf(row)}`} digits={0} />,
  },
];

function LeftOut({ run }: { run: Run }) {
  const all = Object.entries(run.left_out);
  if (all.length === 0) return null;
  return (
    <details className="left-out">
      <summary>
        {all.length} {all.length === 1 ? "asset is" : "assets are"} left out
      </summary>
      <ul>
        {all.map(([asset, reason]) => (
          <li key={asset}>
            {asset}: {reason}
          </li>
        ))}
      </ul>
    </details>
  );
}

function Refused({ runs }: { runs: Run[] }) {
  return (
    <>
      <h3>Refused runs</h3>
      <Table
        caption="Runs that gave no weights, with the reason"
        rows={runs}
        id={(row) => row.as_of}
        most={5}
        columns={[
          {
            id: "at",
            title: "When",
            sort: (row) => row.as_of,
            first: "descending",
            cell: (row) => <Time value={row.as_of} precision="minute" />,
          },
          { id: "meant", title: "What it means", cell: (row) => plainly(row.reason) || "–" },
          { id: "reason", title: "Reason", cell: (row) => row.reason },
        ]}
      />
    </>
  );
}
