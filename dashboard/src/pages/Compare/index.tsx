/** Several assets over one period: what each gained, how it moved, and how they move together. */
import { useMemo } from "react";

import type { Instrument } from "../../api";
import { LineChart } from "../../charts";
import { ABSENT, age, percent, share } from "../../format";
import { changeQuery } from "../../router";
import { Card, Change, Choice, Choices, Empty, Heatmap, Show, Stale, Table, Time, useNow, type Column } from "../../ui";
import type { PageProps } from "..";
import { byAsset, useInstruments } from "../instruments";
import { correlation, drawdownPct, logReturns, normalised, returnPct, volatilityPct } from "./figures";
import { doubts, shaped, useBars, type Compared } from "./load";
import { Trends } from "./Trends";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const MOST = 8; // as many as there are colours
const FIRST = ["bitcoin", "ethereum", "solana"];
const PERIODS = {
  "7d": { interval: "1h", bar: HOUR_MS, span: 7 * DAY_MS },
  "30d": { interval: "1h", bar: HOUR_MS, span: 30 * DAY_MS },
  "90d": { interval: "1d", bar: DAY_MS, span: 90 * DAY_MS },
  "1y": { interval: "1d", bar: DAY_MS, span: 365 * DAY_MS },
};
type Period = keyof typeof PERIODS;
const SPANS: Record<Period, string> = { "7d": "7d", "30d": "30d", "90d": "90d", "1y": "365d" }; // as the API calls them

export default function Compare({ route }: PageProps) {
  const instruments = useInstruments();
  return (
    <Show
      from={instruments}
      what="instruments"
      stale={instruments.data?.stale ?? false}
      asOf={instruments.data?.as_of}
      isEmpty={(page) => page.data.every((one) => one.asset_id === null)}
      empty="No market is followed yet."
    >
      {(page) => <Chosen all={page.data} query={route.query} />}
    </Show>
  );
}

function Chosen({ all, query }: { all: Instrument[]; query: URLSearchParams }) {
  const markets = useMemo(() => byAsset(all), [all]);
  const known = [...markets.keys()].sort();
  const asked = query.get("assets");
  const wanted = (asked === null ? FIRST : asked.split(",")).filter((asset) => markets.has(asset));
  const assets = (asked === null && wanted.length === 0 ? known.slice(0, 3) : wanted).slice(0, MOST);
  const said = query.get("period") ?? "";
  const period: Period = said in PERIODS ? (said as Period) : "30d";
  return (
    <>
      <Card
        title="Assets"
        aside={
          <Choice
            name="Period"
            value={period}
            onChange={(value) => changeQuery({ period: value })}
            options={(Object.keys(PERIODS) as Period[]).map((value) => ({ value, label: value }))}
          />
        }
      >
        <Choices
          name="Assets to compare"
          values={assets}
          onChange={(values) => changeQuery({ assets: values.length === 0 ? "none" : values.join(",") })}
          options={known.map((value) => ({
            value,
            label: value,
            disabled: assets.length >= MOST && !assets.includes(value),
          }))}
        />
        <p className="dim small">{MOST} at most, each by the market that stands for it.</p>
      </Card>
      {assets.length === 0 ? (
        <Empty>Choose an asset.</Empty>
      ) : (
        <Figures assets={assets} markets={markets} period={period} />
      )}
      <Trends assets={assets} span={SPANS[period]} />
    </>
  );
}

function Figures({ assets, markets, period }: { assets: string[]; markets: Map<string, string>; period: Period }) {
  const { interval, bar, span } = PERIODS[period];
  const names = assets.map((asset) => markets.get(asset) ?? "");
  const bars = useBars(names, { interval, span });
  const now = useNow(10_000);
  const compared = useMemo(() => shaped(assets, names, bars.data ?? []), [bars.data]); // eslint-disable-line react-hooks/exhaustive-deps -- the parts belong to these names
  const old = (asOf: string | null) => age(asOf === null ? null : now - Date.parse(asOf));
  return (
    <Show
      from={bars}
      what="candles"
      isEmpty={(parts) => parts.every(({ page }) => page === null || page.data.length < 2)}
      empty="Too few bars of this period are stored."
    >
      {(parts) => (
        <>
          {doubts(compared, parts, old).map((doubt) => (
            <Stale key={doubt}>{doubt}</Stale>
          ))}
          <Shown compared={compared.filter((one) => one.closes.length > 1)} bar={bar} period={period} />
        </>
      )}
    </Show>
  );
}

function Shown({ compared, bar, period }: { compared: Compared[]; bar: number; period: Period }) {
  const returns = compared.map((one) => logReturns(one.closes, bar));
  const series = compared.map((one) => ({ name: one.asset, points: normalised(one.closes) }));
  const told = compared.map((one) => `${one.asset} ${percent(returnPct(one.closes))}`).join(", ");
  const table = compared.map((one) => ({
    ...one,
    gained: returnPct(one.closes),
    volatility: volatilityPct(one.closes, bar),
    drawdown: drawdownPct(one.closes),
  }));
  return (
    <>
      <Card title={`Value of 100, ${period}`}>
        <LineChart
          label={`Assets that start at 100, over ${period}: ${told}`}
          series={series}
          format={(value) => value.toFixed(1)}
          legend
        />
        <Table caption={`Figures over ${period}`} columns={COLUMNS} rows={table} id={(row) => row.asset} />
        <p className="dim small">
          All start at the first bar that they have in common:{" "}
          <Time value={compared.find((one) => one.closes.length > 0)?.closes[0]?.at} precision="minute" />. Volatility:
          standard deviation of log returns, a year.
        </p>
      </Card>
      <Card title="Correlation of log returns">
        <Heatmap
          caption={`Correlation of log returns over ${period}`}
          columns={compared.map((one) => one.asset)}
          rows={compared.map((one, row) => ({
            key: one.asset,
            name: one.asset,
            cells: returns.map((other) => {
              const value = correlation(returns[row] ?? new Map<number, number>(), other);
              return { strength: value, text: value === null ? ABSENT : value.toFixed(2).replace("-", "−") };
            }),
          }))}
        />
      </Card>
    </>
  );
}

interface Row extends Compared {
  gained: number | null;
  volatility: number | null;
  drawdown: number | null;
}

const COLUMNS: Column<Row>[] = [
  { id: "asset", title: "Asset", stick: true, sort: (row) => row.asset, cell: (row) => row.asset },
  {
    id: "return",
    title: "Return",
    numeric: true,
    sort: (row) => row.gained,
    cell: (row) => <Change value={row.gained} />,
  },
  {
    id: "volatility",
    title: "Volatility, a year",
    numeric: true,
    sort: (row) => row.volatility,
    cell: (row) => share(row.volatility),
  },
  {
    id: "drawdown",
    title: "Drawdown",
    numeric: true,
    sort: (row) => row.drawdown,
    cell: (row) => <Change value={row.drawdown} />,
  },
  { id: "market", title: "Market", from: "m", cell: (row) => row.instrument },
  { id: "since", title: "Since", from: "s", cell: (row) => <Time value={row.closes[0]?.at} precision="minute" /> },
  {
    id: "until",
    title: "Last bar",
    from: "s",
    cell: (row) => <Time value={row.closes.at(-1)?.at} precision="minute" />,
  },
];
