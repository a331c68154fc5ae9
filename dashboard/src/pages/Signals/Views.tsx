import { useRows } from "../../api";
import { LineChart } from "../../charts";
import { ms, num, signed, whole } from "../../format";
import { changeQuery, href } from "../../router";
import { Age, Card, Copyable, Empty, Fraction, Loading, Show, Table, Time, type Column } from "../../ui";
import { instrumentsOf, useInstruments } from "../instruments";
import { SignalState, Strength } from "./Bars";
import { cellsOf, kindName, marketParts, minutes } from "./shaping";
import type { AssetView, Signal } from "./types";

const EVERY_MS = 30_000;
const FIRST = 12;
const LOOKED_AT = 40; // instruments of one asset, so that the address stays short
const BEFORE = 200; // views of the past in the drawing
export const NOTHING = "Nothing is computed yet: signals come with closed bars.";

/** All signals of each asset in one number; one asset with what it follows from. */
export function Views({ opened }: { opened: string | null }) {
  const views = useRows<AssetView>("views/latest", {}, { every: EVERY_MS, all: 2000 });
  const chosen = views.data?.data.find((one) => one.asset_id === opened) ?? null;
  return (
    <>
      <Card
        title="Views"
        aside={
          views.data?.as_of != null && (
            <>
              as of <Time value={views.data.as_of} precision="minute" />
            </>
          )
        }
      >
        <Show
          from={views}
          what="views"
          stale={views.data?.stale ?? false}
          asOf={views.data?.as_of}
          isEmpty={(page) => page.data.length === 0}
          empty={NOTHING}
        >
          {(page) => (
            <>
              <Table
                caption="View of each asset"
                columns={columnsWith(opened)}
                rows={page.data}
                id={(row) => row.asset_id}
                search={(row) => `${row.asset_id} ${row.symbol ?? ""} ${row.name ?? ""}`}
                open={(row) => toggle(row, opened)}
                most={FIRST}
              />
              <p className="dim small">
                The score is the mean strength of all signals: +1 speaks for rising prices, −1 for falling ones. z: the
                score among those of all assets. Confidence: how far they agree, times the part of them that is there.
              </p>
            </>
          )}
        </Show>
      </Card>
      {opened !== null && views.data !== null && <Detail key={opened} asset={opened} view={chosen} />}
    </>
  );
}

function toggle(row: AssetView, opened: string | null): void {
  changeQuery({ asset: row.asset_id === opened ? null : row.asset_id });
}

const columnsWith = (opened: string | null): Column<AssetView>[] => [
  {
    id: "rank",
    title: "#",
    numeric: true,
    first: "ascending",
    sort: (row) => row.rank,
    cell: (row) => row.rank ?? "–",
  },
  {
    id: "asset",
    title: "Asset",
    stick: true,
    sort: (row) => row.symbol ?? row.asset_id,
    cell: (row) => (
      <span className="asset-name">
        <button
          type="button"
          className="button"
          aria-expanded={row.asset_id === opened}
          onClick={() => toggle(row, opened)}
        >
          {row.symbol ?? row.asset_id}
          <span className="hidden">, its signals</span>
        </button>{" "}
        <span className="dim from-m" title={row.name ?? row.asset_id}>
          {row.name ?? row.asset_id}
        </span>
      </span>
    ),
  },
  {
    id: "score",
    title: "Score, −1 to 1",
    numeric: true,
    sort: (row) => num(row.score),
    cell: (row) => <Strength value={row.score} name={`score of ${row.symbol ?? row.asset_id}`} />,
  },
  {
    id: "z",
    title: "z",
    numeric: true,
    sort: (row) => num(row.zscore),
    cell: (row) => (
      <Copyable value={row.zscore} shown={signed(row.zscore)} name={`z-score of ${row.symbol ?? row.asset_id}`} />
    ),
  },
  {
    id: "confidence",
    title: "Confidence",
    numeric: true,
    sort: (row) => num(row.confidence),
    cell: (row) => <Fraction value={row.confidence} name={`confidence in ${row.symbol ?? row.asset_id}`} digits={0} />,
  },
  {
    id: "agreement",
    title: "Agreement",
    numeric: true,
    from: "m",
    sort: (row) => num(row.agreement),
    cell: (row) => <Fraction value={row.agreement} name={`agreement on ${row.symbol ?? row.asset_id}`} digits={0} />,
  },
  {
    id: "coverage",
    title: "Coverage",
    numeric: true,
    from: "m",
    sort: (row) => num(row.coverage),
    cell: (row) => <Fraction value={row.coverage} name={`coverage of ${row.symbol ?? row.asset_id}`} digits={0} />,
  },
  {
    id: "signals",
    title: "Signals",
    numeric: true,
    from: "s",
    sort: (row) => row.signals,
    cell: (row) => whole(row.signals),
  },
];

function Detail({ asset, view }: { asset: string; view: AssetView | null }) {
  const close = (
    <span className="row">
      <a href={href("asset", [asset])}>Its prices</a>
      <button type="button" className="button" onClick={() => changeQuery({ asset: null })}>
        Close
      </button>
    </span>
  );
  return (
    <Card title={`Signals of ${view?.name ?? view?.symbol ?? asset}`} aside={close}>
      {view === null ? (
        <Empty>There is no view of this asset now.</Empty>
      ) : (
        <>
          <h3>What the view follows from</h3>
          <Cells view={view} />
          <Before asset={asset} />
        </>
      )}
      <h3>Newest signal of each market and rule</h3>
      <States asset={asset} />
    </Card>
  );
}

function Cells({ view }: { view: AssetView }) {
  return (
    <Table
      caption={`Strength by kind and interval of ${view.asset_id}`}
      rows={cellsOf(view)}
      id={(row) => row.key}
      columns={[
        {
          id: "kind",
          title: "Kind",
          stick: true,
          sort: (row) => kindName(row.kind),
          cell: (row) => kindName(row.kind),
        },
        { id: "interval", title: "Bars", sort: (row) => minutes(row.interval), cell: (row) => row.interval },
        {
          id: "strength",
          title: "Strength, −1 to 1",
          numeric: true,
          sort: (row) => row.strength,
          cell: (row) => <Strength value={row.strength} name={`strength of ${kindName(row.kind)} ${row.interval}`} />,
        },
        {
          id: "signals",
          title: "Signals",
          numeric: true,
          sort: (row) => row.signals,
          cell: (row) => whole(row.signals),
        },
      ]}
    />
  );
}

/** The score over time, when there is more than one. */
function Before({ asset }: { asset: string }) {
  const views = useRows<AssetView>("views", { asset_id: asset, limit: BEFORE }, { every: EVERY_MS * 2 });
  const rows = [...(views.data?.data ?? [])].reverse();
  if (rows.length < 2) return null;
  const points = rows.map((row) => ({ x: ms(row.as_of) ?? 0, y: num(row.score) }));
  return (
    <LineChart
      label={`Score of ${asset} over ${rows.length} views, now ${signed(points.at(-1)?.y)}`}
      series={[{ name: "Score", points, kind: "step" }]}
      format={(value) => signed(value)}
      height="9rem"
      zero
    />
  );
}

function States({ asset }: { asset: string }) {
  const instruments = useInstruments();
  const own = instrumentsOf(instruments.data?.data ?? [], asset).filter((one) => one.gone_at === null);
  const names = own.slice(0, LOOKED_AT).map((one) => one.instrument);
  const path = names.length === 0 ? null : "signals/latest";
  const signals = useRows<Signal>(path, { instrument: names.join(","), limit: 1000 }, { every: EVERY_MS });
  if (instruments.data === null && instruments.error === null) return <Loading what="markets" />;
  if (path === null) return <Empty>No market of this asset is followed.</Empty>;
  return (
    <Show from={signals} what="signals" isEmpty={(page) => page.data.length === 0} empty={NOTHING}>
      {(page) => (
        <Table
          caption={`Newest signals of ${asset}`}
          columns={SIGNAL_COLUMNS}
          rows={page.data}
          id={signalId}
          search={signalText}
          order={{ by: "time", direction: "descending" }}
          most={FIRST}
        />
      )}
    </Show>
  );
}

export const signalId = (row: Signal) =>
  [row.instrument, row.interval, row.name, row.parameter_hash, row.version, row.bar_end].join(" ");

export const signalText = (row: Signal) =>
  `${row.instrument} ${row.interval} ${row.name} ${kindName(row.kind)} ${row.state.replaceAll("_", " ")}`;

export const SIGNAL_COLUMNS: Column<Signal>[] = [
  {
    id: "time",
    title: "Ago",
    first: "descending",
    sort: (row) => row.bar_end,
    cell: (row) => (
      <span className="num">
        <Age value={row.bar_end} />
      </span>
    ),
  },
  { id: "instrument", title: "Market", sort: (row) => row.instrument, cell: (row) => <Market name={row.instrument} /> },
  {
    id: "kind",
    title: "Kind, bars",
    sort: (row) => `${kindName(row.kind)} ${row.interval}`,
    cell: (row) => (
      <span title={row.name}>
        {kindName(row.kind)} <span className="dim">{row.interval}</span>
      </span>
    ),
  },
  {
    id: "state",
    title: "State",
    sort: (row) => row.state,
    cell: (row) => <SignalState state={row.state} direction={row.direction} />,
  },
  {
    id: "strength",
    title: "Strength",
    numeric: true,
    sort: (row) => num(row.strength),
    cell: (row) => <Strength value={row.strength} name={`strength of ${row.name} of ${row.instrument}`} />,
  },
  {
    id: "ended",
    title: "Bar ended",
    first: "descending",
    sort: (row) => row.bar_end,
    cell: (row) => <Time value={row.bar_end} precision="minute" />,
  },
];

/** A market in two short lines: its pair, and where it is traded. */
function Market({ name }: { name: string }) {
  const { pair, where } = marketParts(name);
  return (
    <span title={name}>
      <span className="num">{pair}</span> <span className="where dim small">{where}</span>
    </span>
  );
}
