/** Perpetuals of all venues side by side: funding, open interest, basis and order books. */
import { Fragment, useCallback, useEffect, useMemo, useRef, useState } from "react";

import {
  useRows,
  type FundingForecast,
  type Instrument,
  type OpenInterest,
  type OrderBook,
  type Ticker,
} from "../../api";
import { ABSENT, num, percent } from "../../format";
import {
  Card,
  Change,
  Choice,
  Empty,
  found,
  Heatmap,
  InView,
  Price,
  Search,
  Show,
  Size,
  Stale,
  Table,
  Time,
  type Column,
  type HeatCell,
} from "../../ui";
import { useInstruments } from "../instruments";
import { basisBps, changePct, heatRows, per8h, perCoin, spotOf, yearly } from "./figures";
import { byName, useEarlier, useLatest, type MarkPrice, type Terms } from "./load";

const TERMS_MS = 600_000;
const FULL_PCT = 0.05; // funding per 8 hours that has the strongest tint
const MOST = 12; // rows of a table before the reader asks for all
const REST_MS = 200; // that a view stands still before something is loaded for it
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
  const [words, setWords] = useState("");
  const open = useMemo(() => all.filter((one) => one.gone_at === null), [all]);
  const every = useMemo(() => open.filter((one) => one.kind === "perp"), [open]);
  const names = useMemo(() => every.map((one) => one.instrument), [every]);
  const perpetuals = useMemo(
    () => found(every, (one) => `${one.asset_id ?? one.base} ${one.instrument}`, words),
    [every, words],
  );
  return (
    <>
      <Card title="Perpetuals">
        <Search
          what="perpetuals of all tables"
          words={words}
          onChange={setWords}
          told={
            perpetuals.length === every.length
              ? `${every.length} perpetuals`
              : `${perpetuals.length} of ${every.length} perpetuals`
          }
        />
      </Card>
      <FundingHeat perpetuals={perpetuals} names={names} />
      <Interest perpetuals={perpetuals} names={names} />
      <Basis open={open} perpetuals={perpetuals} names={names} />
      <Books perpetuals={perpetuals} names={names} />
      <Ratios />
    </>
  );
}

function FundingHeat({ perpetuals, names }: { perpetuals: Instrument[]; names: string[] }) {
  const forecasts = useLatest<FundingForecast>("funding/forecasts/latest", names);
  const terms = useLatest<Terms>("funding/terms", names, TERMS_MS);
  const rates = byName(forecasts.data);
  const hours = byName(terms.data);
  const { columns, rows } = useMemo(() => heatRows(perpetuals), [perpetuals]);
  const cell = (one: Instrument | null): HeatCell => {
    const rate = one === null ? undefined : rates.get(one.instrument);
    if (one === null || rate === undefined) return { strength: null, text: ABSENT };
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
                  rows={rows.map((row) => ({ ...row, cells: row.cells.map(cell) }))}
                  most={MOST}
                />
                <p className="dim small">
                  Per asset, by venue and quote currency. Above zero longs pay shorts. The strongest tint is {FULL_PCT}{" "}
                  % or more; ⚠ marks an old rate. As of <Time value={forecasts.data?.as_of} />
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

function Interest({ perpetuals, names }: { perpetuals: Instrument[]; names: string[] }) {
  const from = useLatest<OpenInterest>("open_interest/latest", names);
  const [period, setPeriod] = useState<Period>("24h");
  const [inView, look] = useInView();
  const earlier = useEarlier(inView, PERIODS[period]);
  const current = byName(from.data);
  const table = perpetuals.flatMap<InterestRow>(({ instrument }) => {
    const now = current.get(instrument);
    if (now === undefined) return [];
    const change = changePct(num(now.open_interest), num(earlier.found.get(instrument)?.open_interest));
    return [{ instrument, now, change }];
  });
  const columns = useMemo(() => interestColumns(look), [look]);
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
            columns={columns}
            rows={table}
            id={(row) => row.instrument}
            most={MOST}
          />
        )}
      </Show>
      {earlier.error !== null && (
        <Stale>
          Open interest {period} ago: {earlier.error.message}
        </Stale>
      )}
      <p className="dim small" role="status">
        {earlier.loading
          ? `Loading open interest ${period} ago…`
          : earlier.found.size === 0
            ? `Nothing is stored from ${period} ago, so no change is known.`
            : "Changes are loaded for the rows in view; in the order of the change, others come last."}
      </p>
    </Card>
  );
}

const interestColumns = (look: (instrument: string, isSeen: boolean) => void): Column<InterestRow>[] => [
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
    cell: (row) => (
      <InView key={row.instrument} onChange={(isSeen) => look(row.instrument, isSeen)}>
        <Change value={row.change} />
      </InView>
    ),
  },
];

/** Return the instruments whose rows are in view, a moment after they came to rest, and what tells that. */
function useInView(): [string[], (instrument: string, isSeen: boolean) => void] {
  const seen = useRef(new Set<string>());
  const timer = useRef(0);
  const [names, setNames] = useState<string[]>([]);
  const look = useCallback((instrument: string, isSeen: boolean) => {
    if (isSeen) seen.current.add(instrument);
    else seen.current.delete(instrument);
    window.clearTimeout(timer.current);
    timer.current = window.setTimeout(() => setNames([...seen.current].sort()), REST_MS);
  }, []);
  useEffect(() => () => window.clearTimeout(timer.current), []);
  return [names, look];
}

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
            most={MOST}
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

function Books({ perpetuals, names }: { perpetuals: Instrument[]; names: string[] }) {
  const wanted = useMemo(() => new Set(perpetuals.map((one) => one.instrument)), [perpetuals]);
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
            rows={page.data.filter((row) => wanted.has(row.instrument))}
            id={(row) => row.instrument}
            most={MOST}
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

/** How many accounts are long for each that is short; no provider is asked for it yet, so there is nothing to show. */
function Ratios() {
  const ratios = useRows<unknown>("position_ratios", { limit: 1 });
  return (
    <Card title="Long/short ratios">
      <Show
        from={ratios}
        what="long/short ratios"
        isEmpty={(page) => page.data.length === 0}
        empty="No long/short ratio is collected."
      >
        {() => <Empty>Long/short ratios are stored; see /api/v1/position_ratios.</Empty>}
      </Show>
    </Card>
  );
}

function name<Row extends { instrument: string }>(): Column<Row> {
  return {
    id: "name",
    title: "Perpetual",
    stick: true,
    sort: (row) => row.instrument,
    cell: (row) => <Parts of={row.instrument} />,
  };
}

/** The name of an instrument, which may be broken between its parts where there is little room. */
function Parts({ of }: { of: string }) {
  return of.split(":").map((part, at) => (
    <Fragment key={part}>
      {at > 0 && (
        <>
          :<wbr />
        </>
      )}
      {part}
    </Fragment>
  ));
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
