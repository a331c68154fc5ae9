/** Perpetuals of all venues side by side: funding, open interest, basis and order books. */
import { useMemo, useState } from "react";

import type { Answer, FundingForecast, Instrument, OpenInterest, OrderBook, Resource, Ticker } from "../../api";
import { ABSENT, num, percent } from "../../format";
import { Card, Change, Choice, Heatmap, Price, Show, Size, Table, Time, type Column, type HeatCell } from "../../ui";
import { useInstruments } from "../instruments";
import { basisBps, changePct, per8h, perCoin, spotOf, yearly } from "./figures";
import { byName, useEarlier, useLatest, type MarkPrice, type Terms } from "./load";

const TERMS_MS = 600_000;
const FULL_PCT = 0.05; // funding per 8 hours that has the strongest tint
const HOUR_MS = 3_600_000;
const PERIODS = { "1h": HOUR_MS, "24h": 24 * HOUR_MS, "7d": 168 * HOUR_MS };
type Period = keyof typeof PERIODS;

export default function Derivatives() {
  const instruments = useInstruments();
  return (
    <Show
      from={instruments}
      what="instruments"
      stale={instruments.data?.stale ?? false}
      asOf={instruments.data?.as_of}
      isEmpty={(page) => page.data.every((one) => one.kind !== "perp" || one.gone_at !== null)}
      empty="No perpetual is followed yet."
    >
      {(page) => <Perpetuals all={page.data} />}
    </Show>
  );
}

function Perpetuals({ all }: { all: Instrument[] }) {
  const open = useMemo(() => all.filter((one) => one.gone_at === null), [all]);
  const perpetuals = useMemo(() => open.filter((one) => one.kind === "perp"), [open]);
  const names = useMemo(() => perpetuals.map((one) => one.instrument), [perpetuals]);
  const interest = useLatest<OpenInterest>("open_interest/latest", names);
  return (
    <>
      <FundingHeat perpetuals={perpetuals} names={names} />
      <Interest perpetuals={perpetuals} names={names} from={interest} />
      <Basis open={open} perpetuals={perpetuals} names={names} />
      <Books names={names} />
    </>
  );
}

function FundingHeat({ perpetuals, names }: { perpetuals: Instrument[]; names: string[] }) {
  const forecasts = useLatest<FundingForecast>("funding/forecasts/latest", names);
  const terms = useLatest<Terms>("funding/terms", names, TERMS_MS);
  const rates = byName(forecasts.data);
  const hours = byName(terms.data);
  const place = (one: Instrument) => `${one.venue} ${one.quote}`;
  const columns = [...new Set(perpetuals.map(place))].sort();
  const assets = [...new Set(perpetuals.map((one) => one.asset_id ?? one.base))].sort();
  const cell = (asset: string, column: string): HeatCell => {
    const one = perpetuals.find((row) => (row.asset_id ?? row.base) === asset && place(row) === column);
    const rate = one === undefined ? undefined : rates.get(one.instrument);
    if (one === undefined || rate === undefined) return { strength: null, text: ABSENT };
    const interval = num(hours.get(one.instrument)?.interval_hours);
    const value = per8h(rate.rate, interval);
    const old = rate.stale === true ? ", old" : "";
    const title = `${one.instrument}: ${percent(yearly(value), 2)} a year, paid every ${interval ?? "?"} h${old}`;
    return {
      strength: value === null ? null : value / FULL_PCT,
      text: percent(value, 4) + (rate.stale === true ? " ⚠" : ""),
      title,
    };
  };
  return (
    <Card title="Funding of the running period, per 8 hours">
      <Show
        from={forecasts}
        what="funding"
        stale={forecasts.data?.stale ?? false}
        asOf={forecasts.data?.as_of}
        isEmpty={(page) => page.data.length === 0}
        empty="No funding rate is stored yet."
      >
        {() => (
          <Show from={terms} what="funding intervals">
            {() => (
              <>
                <Heatmap
                  caption="Funding per 8 hours, assets by venue"
                  columns={columns}
                  rows={assets.map((asset) => ({
                    key: asset,
                    name: asset,
                    cells: columns.map((column) => cell(asset, column)),
                  }))}
                />
                <p className="dim small">
                  Above zero longs pay shorts. The strongest tint is {FULL_PCT} % or more; ⚠ marks an old rate. As of{" "}
                  <Time value={forecasts.data?.as_of} />
                </p>
              </>
            )}
          </Show>
        )}
      </Show>
    </Card>
  );
}

interface InterestRow {
  instrument: string;
  now: OpenInterest;
  change: number | null;
}

function Interest({
  perpetuals,
  names,
  from,
}: {
  perpetuals: Instrument[];
  names: string[];
  from: Resource<Answer<OpenInterest>>;
}) {
  const [period, setPeriod] = useState<Period>("24h");
  const earlier = useEarlier(names, PERIODS[period]);
  const current = byName(from.data);
  const table = perpetuals.flatMap<InterestRow>(({ instrument }) => {
    const now = current.get(instrument);
    if (now === undefined) return [];
    const change = changePct(num(now.open_interest), num(earlier.data?.get(instrument)?.open_interest));
    return [{ instrument, now, change }];
  });
  return (
    <Card
      title="Open interest"
      aside={
        <Choice
          name="Change over"
          value={period}
          onChange={setPeriod}
          options={(Object.keys(PERIODS) as Period[]).map((value) => ({ value, label: value }))}
        />
      }
    >
      <Show
        from={from}
        what="open interest"
        stale={from.data?.stale ?? false}
        asOf={from.data?.as_of}
        isEmpty={(page) => page.data.length === 0}
        empty="No open interest is stored yet."
      >
        {() => (
          <Table
            caption={`Open interest and its change over ${period}`}
            columns={INTEREST}
            rows={table}
            id={(row) => row.instrument}
          />
        )}
      </Show>
      <Show
        from={earlier}
        what={`open interest ${period} ago`}
        isEmpty={(found) => found.size === 0}
        empty={`Nothing is stored from ${period} ago.`}
      >
        {() => null}
      </Show>
    </Card>
  );
}

const INTEREST: Column<InterestRow>[] = [
  name<InterestRow>(),
  {
    id: "now",
    title: "Open interest",
    numeric: true,
    sort: (row) => num(row.now.open_interest),
    cell: (row) => <Size value={row.now.open_interest} name={`open interest of ${row.instrument}`} />,
  },
  {
    id: "usd",
    title: "In dollars",
    numeric: true,
    from: "s",
    sort: (row) => num(row.now.value_usd),
    cell: (row) => <Size value={row.now.value_usd} name={`open interest of ${row.instrument} in dollars`} />,
  },
  {
    id: "change",
    title: "Change",
    numeric: true,
    sort: (row) => row.change,
    cell: (row) => <Change value={row.change} />,
  },
];

interface BasisRow {
  instrument: string;
  mark: MarkPrice;
  index: number | null;
  spot: number | null;
  spotName: string | null;
}

function Basis({ open, perpetuals, names }: { open: Instrument[]; perpetuals: Instrument[]; names: string[] }) {
  const marks = useLatest<MarkPrice>("mark_prices/latest", names);
  const spotNames = useMemo(() => open.filter((one) => one.kind === "spot").map((one) => one.instrument), [open]);
  const spots = useLatest<Ticker>("tickers/latest", spotNames);
  const known = byName(marks.data);
  const prices = byName(spots.data);
  const table = perpetuals.flatMap<BasisRow>((one) => {
    const mark = known.get(one.instrument);
    if (mark === undefined) return [];
    const ticker = spotOf(one, open, prices);
    const units = open.find((row) => row.instrument === ticker?.instrument)?.asset_units ?? null;
    return [
      {
        instrument: one.instrument,
        mark,
        index: basisBps(num(mark.mark_price), num(mark.index_price)),
        spot: basisBps(perCoin(mark.mark_price, one.asset_units), perCoin(ticker?.last_price, units)),
        spotName: ticker?.instrument ?? null,
      },
    ];
  });
  return (
    <Card title="Basis">
      <Show
        from={marks}
        what="mark prices"
        stale={marks.data?.stale ?? false}
        asOf={marks.data?.as_of}
        isEmpty={(page) => page.data.length === 0}
        empty="No mark price is stored yet."
      >
        {() => (
          <Table
            caption="Mark price above or below index and spot, in basis points"
            columns={BASIS}
            rows={table}
            id={(row) => row.instrument}
          />
        )}
      </Show>
      {spotNames.length > 0 && (
        <Show from={spots} what="spot prices" stale={spots.data?.stale ?? false} asOf={spots.data?.as_of}>
          {() => null}
        </Show>
      )}
    </Card>
  );
}

const BASIS: Column<BasisRow>[] = [
  name<BasisRow>(),
  {
    id: "mark",
    title: "Mark",
    numeric: true,
    cell: (row) => <Price value={row.mark.mark_price} name={`mark price of ${row.instrument}`} />,
  },
  { id: "index", title: "To index, bps", numeric: true, sort: (row) => row.index, cell: (row) => signed(row.index) },
  { id: "spot", title: "To spot, bps", numeric: true, sort: (row) => row.spot, cell: (row) => signed(row.spot) },
  { id: "which", title: "Spot", from: "m", cell: (row) => row.spotName ?? ABSENT },
];

function Books({ names }: { names: string[] }) {
  const books = useLatest<OrderBook>("order_books/depth/latest", names);
  return (
    <Card title="Order-book imbalance">
      <Show
        from={books}
        what="order books"
        stale={books.data?.stale ?? false}
        asOf={books.data?.as_of}
        isEmpty={(page) => page.data.length === 0}
        empty="No order book is stored yet."
      >
        {(page) => (
          <Table
            caption="Imbalance of order books: 1 is bids only, −1 asks only"
            columns={BOOKS}
            rows={page.data}
            id={(row) => row.instrument}
          />
        )}
      </Show>
    </Card>
  );
}

const BOOKS: Column<OrderBook>[] = [
  name<OrderBook>(),
  {
    id: "imbalance",
    title: "Imbalance",
    numeric: true,
    sort: (row) => row.imbalance,
    cell: (row) => signed(row.imbalance, 3),
  },
  {
    id: "spread",
    title: "Spread, bps",
    numeric: true,
    sort: (row) => row.spread_bps,
    cell: (row) => row.spread_bps?.toFixed(3) ?? ABSENT,
  },
  {
    id: "bids",
    title: "Bids in 10 bps",
    numeric: true,
    from: "s",
    sort: (row) => num(row.depth_bid_10bps),
    cell: (row) => <Size value={row.depth_bid_10bps} name={`bids of ${row.instrument}`} />,
  },
  {
    id: "asks",
    title: "Asks in 10 bps",
    numeric: true,
    from: "s",
    sort: (row) => num(row.depth_ask_10bps),
    cell: (row) => <Size value={row.depth_ask_10bps} name={`asks of ${row.instrument}`} />,
  },
];

function name<Row extends { instrument: string }>(): Column<Row> {
  return {
    id: "name",
    title: "Perpetual",
    stick: true,
    sort: (row) => row.instrument,
    cell: (row) => row.instrument,
  };
}

function signed(value: number | null, digits = 1) {
  if (value === null) return ABSENT;
  const shown = Math.abs(value).toFixed(digits);
  const way = Number(shown) === 0 ? "flat" : value > 0 ? "up" : "down";
  return (
    <span className={`num ${way}`}>
      {way === "flat" ? "" : value > 0 ? "▲ +" : "▼ −"}
      {shown}
    </span>
  );
}
