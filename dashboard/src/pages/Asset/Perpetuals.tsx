/** The perpetuals of an asset, venue by venue: funding, open interest and the order book. */
import { useMemo, useState } from "react";

import {
  rows,
  useResource,
  useRows,
  type Answer,
  type Exact,
  type Funding,
  type FundingForecast,
  type Instrument,
  type OpenInterest,
  type OrderBook,
  type Ticker,
} from "../../api";
import { LineChart, type Series } from "../../charts";
import { compact, num, percent, priceBy } from "../../format";
import { Age, Card, Change, Choice, Empty, Price, Show, Size, Table, Time, type Column } from "../../ui";
import { bookSides } from "./book";

const EVERY_MS = 20_000;
const SLOW_MS = 300_000;
const POINTS = 500;

interface Row {
  instrument: Instrument;
  ticker: Ticker | undefined;
  forecast: FundingForecast | undefined;
  interest: OpenInterest | undefined;
  book: OrderBook | undefined;
}

export function Perpetuals({ symbol, all }: { symbol: string; all: Instrument[] }) {
  const names = all.map((one) => one.instrument).join(",");
  const tickers = useRows<Ticker>("tickers/latest", { instrument: names }, { every: EVERY_MS });
  const forecasts = useRows<FundingForecast>("funding/forecasts/latest", { instrument: names }, { every: EVERY_MS });
  const interests = useRows<OpenInterest>("open_interest/latest", { instrument: names }, { every: EVERY_MS });
  const books = useRows<OrderBook>(
    "order_books/latest",
    { instrument: names, levels: 400, limit: 200 },
    { every: EVERY_MS },
  );
  const of = <T extends { instrument: string }>(page: Answer<T> | null, name: string) =>
    page?.data.find((row) => row.instrument === name);
  const table = all.map((instrument) => ({
    instrument,
    ticker: of(tickers.data, instrument.instrument),
    forecast: of(forecasts.data, instrument.instrument),
    interest: of(interests.data, instrument.instrument),
    book: of(books.data, instrument.instrument),
  }));
  return (
    <>
      <Card title={`Perpetuals of ${symbol}`}>
        <Show from={tickers} what="perpetuals" stale={tickers.data?.stale ?? false} asOf={tickers.data?.as_of}>
          {() => (
            <Table
              caption="Perpetuals, venue by venue"
              columns={COLUMNS}
              rows={table}
              id={(row) => row.instrument.instrument}
            />
          )}
        </Show>
      </Card>
      <div className="grid wide-cards">
        <Card title="Funding, settled">
          <Histories<Funding>
            path="funding"
            names={all}
            time={(row) => row.funding_time}
            value={(row) => rate(row.rate)}
            format={(value) => percent(value, 4)}
            what="Funding rate"
            step
          />
        </Card>
        <Card title={`Open interest, ${symbol}`}>
          <Histories<OpenInterest>
            path="open_interest"
            names={all}
            time={(row) => row.observed_at}
            value={coins}
            format={compact}
            what={`Open interest in ${symbol}`}
          />
        </Card>
      </div>
      <Card title="Order-book depth">
        <Show
          from={books}
          what="order books"
          stale={books.data?.stale ?? false}
          asOf={books.data?.as_of}
          isEmpty={(page) => page.data.length === 0}
          empty="No order book is stored yet."
        >
          {(page) => <Depth books={page.data} all={all} />}
        </Show>
      </Card>
    </>
  );
}

const rate = (value: Exact | null | undefined) => {
  const found = num(value);
  return found === null ? null : found * 100;
};

const COLUMNS: Column<Row>[] = [
  {
    id: "name",
    title: "Perpetual",
    stick: true,
    sort: (row) => row.instrument.instrument,
    cell: (row) => row.instrument.instrument,
  },
  {
    id: "last",
    title: "Last",
    numeric: true,
    sort: (row) => num(row.ticker?.last_price),
    cell: (row) => <Price value={row.ticker?.last_price} name="last price" />,
  },
  {
    id: "change",
    title: "24 h",
    numeric: true,
    sort: (row) => num(row.ticker?.change_24h_pct),
    cell: (row) => <Change value={row.ticker?.change_24h_pct} />,
  },
  {
    id: "volume",
    title: "Volume 24 h",
    numeric: true,
    sort: (row) => num(row.ticker?.quote_volume_24h),
    cell: (row) => <Size value={row.ticker?.quote_volume_24h} name="volume of 24 hours in the quote currency" />,
  },
  {
    id: "funding",
    title: "Funding, running",
    numeric: true,
    sort: (row) => num(row.forecast?.rate),
    cell: (row) => <Change value={rate(row.forecast?.rate)} digits={4} />,
  },
  { id: "next", title: "Paid at", cell: (row) => <Time value={row.forecast?.funding_time} precision="minute" /> },
  {
    id: "coins",
    title: "Open interest",
    numeric: true,
    sort: (row) => num(row.interest?.open_interest),
    cell: (row) => <Size value={row.interest?.open_interest} name="open interest in units of the instrument" />,
  },
  {
    id: "interest",
    title: "Open interest, $",
    numeric: true,
    sort: (row) => num(row.interest?.value_usd),
    cell: (row) => <Size value={row.interest?.value_usd} name="open interest in dollars" />,
  },
  {
    id: "spread",
    title: "Spread, bps",
    numeric: true,
    sort: (row) => row.book?.spread_bps ?? null,
    cell: (row) => row.book?.spread_bps?.toFixed(3) ?? "–",
  },
  {
    id: "imbalance",
    title: "Imbalance",
    numeric: true,
    sort: (row) => row.book?.imbalance ?? null,
    cell: (row) => <Imbalance value={row.book?.imbalance ?? null} />,
  },
  {
    id: "age",
    title: "Age",
    numeric: true,
    cell: (row) => <Age value={row.ticker?.observed_at} stale={row.ticker?.stale ?? false} />,
  },
];

function Imbalance({ value }: { value: number | null }) {
  if (value === null) return <>–</>;
  const side = value > 0 ? "bids" : value < 0 ? "asks" : "even";
  return (
    <span className={value > 0 ? "up" : value < 0 ? "down" : ""}>
      {Math.abs(value).toFixed(2)} {side}
    </span>
  );
}

/** One line per perpetual of a series that each has at the API. */
function Histories<T>({
  path,
  names,
  time,
  value,
  format,
  what,
  step = false,
}: {
  path: string;
  names: Instrument[];
  time: (row: T) => string;
  value: (row: T, instrument: Instrument) => number | null;
  format: (value: number) => string;
  what: string;
  step?: boolean;
}) {
  const key = `${path} ${names.map((one) => one.instrument).join(",")}`;
  const all = useResource(
    key,
    (signal) => Promise.all(names.map((one) => rows<T>(path, { instrument: one.instrument, limit: POINTS }, signal))),
    SLOW_MS,
  );
  const pages = all.data;
  const series = useMemo<Series[]>(
    () =>
      (pages ?? []).map((page, at) => {
        const named = names[at];
        const points = page.data
          .map((row) => ({ x: Date.parse(time(row)), y: named === undefined ? null : value(row, named) }))
          .sort((a, b) => a.x - b.x);
        return { name: named?.instrument ?? "", kind: step ? "step" : "line", points };
      }),
    // eslint-disable-next-line react-hooks/exhaustive-deps -- what the pages are of is named by the key
    [pages],
  );
  return (
    <Show
      from={all}
      stale={pages?.some((page) => page.stale) ?? false}
      isEmpty={(data) => data.every((page) => page.data.length === 0)}
    >
      {() => (
        <LineChart
          label={`${what}: ${series.map((one) => `${one.name} last ${format(one.points.at(-1)?.y ?? NaN)}`).join("; ")}`}
          series={series}
          format={format}
          legend
        />
      )}
    </Show>
  );
}

/** Return open interest in units of the asset: a contract of 1000PEPE counts a thousand. */
function coins(row: OpenInterest, instrument: Instrument): number | null {
  const found = num(row.open_interest);
  return found === null ? null : found * (num(instrument.asset_units) ?? 1);
}

function Depth({ books, all }: { books: OrderBook[]; all: Instrument[] }) {
  const [wanted, setWanted] = useState<string | null>(null);
  const book = books.find((one) => one.instrument === wanted) ?? books[0];
  const sides = useMemo(() => (book === undefined ? null : bookSides(book)), [book]);
  if (book === undefined || sides === null) return null;
  const series: Series[] = [
    { name: "Bids", points: sides.bids, kind: "area", stepped: true, colour: "up" },
    { name: "Asks", points: sides.asks, kind: "area", stepped: true, colour: "down" },
  ];
  const side = (points: { x: number; y: number }[]) => compact(Math.max(0, ...points.map((point) => point.y)));
  return (
    <>
      <Choice
        name="Order book of"
        value={book.instrument}
        onChange={setWanted}
        options={books.map((one) => ({ value: one.instrument, label: one.instrument }))}
      />
      {sides.bids.length + sides.asks.length === 0 ? (
        <Empty>This book is empty.</Empty>
      ) : (
        <LineChart
          height="18rem"
          axis="linear"
          zero
          legend
          label={`Depth of ${book.instrument}: bids of ${side(sides.bids)} and asks of ${side(sides.asks)} in reach, spread ${book.spread_bps?.toFixed(3) ?? "not known"} bps`}
          series={series}
          format={compact}
          formatX={priceBy(all.find((one) => one.instrument === book.instrument)?.tick_size)}
        />
      )}
      <p className="dim small">
        Sizes added up from the middle outwards, in units of the instrument, as of <Time value={book.observed_at} />
      </p>
    </>
  );
}
