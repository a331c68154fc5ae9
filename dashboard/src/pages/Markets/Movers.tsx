import { get, useResource, type Mover, type Overview } from "../../api";
import { href } from "../../router";
import { Card, Change, Price, Show } from "../../ui";

const EVERY_MS = 60_000;
const MOST = 5;

/** The largest rises and falls of 24 hours, and what changes hands fastest. */
export function Movers() {
  const overview = useResource<Overview>(
    "overview",
    (signal) => get<Overview>("market/overview", {}, signal),
    EVERY_MS,
  );
  const lists = [
    ["Gainers, 24 h", "topGainers"],
    ["Losers, 24 h", "topLosers"],
    ["Most traded for their size", "trending"],
  ] as const;
  return (
    <div className="grid">
      {lists.map(([title, name]) => (
        <Card key={name} title={title}>
          <Show
            from={overview}
            stale={overview.data?.stale ?? false}
            isEmpty={({ data }) => data[name].length === 0}
            empty="No asset has a change and a volume of 1M dollars yet."
          >
            {({ data }) => <List rows={data[name].slice(0, MOST)} />}
          </Show>
        </Card>
      ))}
    </div>
  );
}

function List({ rows }: { rows: Mover[] }) {
  return (
    <ol className="movers">
      {rows.map((row) => (
        <li key={`${row.symbol} ${row.rank ?? ""}`}>
          <a href={href("asset", [row.symbol])} title={row.name}>
            {row.symbol}
          </a>
          <Price value={row.price} name={`price of ${row.symbol} in dollars`} />
          <Change value={row.change24h} />
        </li>
      ))}
    </ol>
  );
}
