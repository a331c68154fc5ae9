import { type Answer, type Global, type Resource, type Sentiment } from "../../api";
import { LineChart } from "../../charts";
import { num, share, time } from "../../format";
import { useSettings } from "../../settings";
import { Age, Card, Change, Gauge, Show, Size } from "../../ui";

export function Overview({
  globals,
  sentiments,
}: {
  globals: Resource<Answer<Global>>;
  sentiments: Resource<Answer<Sentiment>>;
}) {
  return (
    <div className="grid">
      <Card title="Whole market">
        <Show
          from={globals}
          stale={globals.data?.stale ?? false}
          asOf={globals.data?.as_of}
          isEmpty={(page) => page.data.length === 0}
          empty="No global figures are stored yet."
        >
          {({ data: [row] }) => row !== undefined && <Whole row={row} />}
        </Show>
      </Card>
      <Card
        title="Fear & greed"
        aside={
          <a href="https://alternative.me/crypto/" rel="noreferrer">
            alternative.me
          </a>
        }
      >
        <Show
          from={sentiments}
          stale={sentiments.data?.stale ?? false}
          asOf={sentiments.data?.as_of}
          isEmpty={(page) => page.data.length === 0}
          empty="No index is stored yet."
        >
          {({ data: [row] }) =>
            row !== undefined && <Gauge value={row.value} word={row.classification} label="Fear and greed index" />
          }
        </Show>
      </Card>
      {sentiments.data !== null && sentiments.data.data.length > 1 && <History rows={sentiments.data.data} />}
    </div>
  );
}

function Whole({ row }: { row: Global }) {
  return (
    <>
      <p className="big">
        <Size value={row.market_cap_usd} name="total market cap in dollars" unit="$" />{" "}
        <small>
          <Change value={row.market_cap_change_24h_pct} />
        </small>
      </p>
      <dl className="facts">
        <div className="fact">
          <dt>Volume 24 h</dt>
          <dd>
            <Size value={row.volume_24h_usd} name="volume of 24 hours in dollars" unit="$" />
          </dd>
        </div>
        <div className="fact">
          <dt>BTC share</dt>
          <dd>{share(row.btc_dominance_pct)}</dd>
        </div>
        <div className="fact">
          <dt>ETH share</dt>
          <dd>{share(row.eth_dominance_pct)}</dd>
        </div>
        <div className="fact">
          <dt>{row.source}</dt>
          <dd>
            <Age value={row.observed_at} /> ago
          </dd>
        </div>
      </dl>
    </>
  );
}

function History({ rows }: { rows: Sentiment[] }) {
  const { zone } = useSettings();
  const points = rows.map((row) => ({ x: Date.parse(row.observed_at), y: num(row.value) })).reverse();
  const values = rows.map((row) => row.value);
  return (
    <Card title={`Fear & greed, ${rows.length} days`}>
      <LineChart
        height="9rem"
        label={`Fear and greed index of ${rows.length} days: between ${Math.min(...values)} and ${Math.max(...values)}, last ${rows[0]?.value ?? ""}`}
        series={[{ name: "Fear & greed", points, kind: "step" }]}
        format={(value) => String(value)}
        formatX={(x) => time(x, zone, "date")}
      />
    </Card>
  );
}
