import { useMemo } from "react";

import type { Market } from "../../api";
import { num } from "../../format";
import { href } from "../../router";
import { Age, Change, Price, Size, Table, type Column } from "../../ui";
import { byAsset, useInstruments } from "../instruments";
import { Week } from "./Week";

function columnsWith(instruments: Map<string, string>): Column<Market>[] {
  return [
    {
      id: "rank",
      title: "#",
      numeric: true,
      first: "ascending",
      sort: (row) => row.rank,
      cell: (row) => row.rank ?? "–",
      from: "s",
    },
    {
      id: "name",
      title: "Asset",
      stick: true,
      sort: (row) => row.symbol,
      cell: (row) => (
        <span className="asset-name">
          <a href={href("asset", [row.asset_id])}>{row.symbol}</a>{" "}
          <span className="dim from-m" title={row.name}>
            {row.name}
          </span>
        </span>
      ),
    },
    {
      id: "price",
      title: "Price, $",
      numeric: true,
      sort: (row) => num(row.price_usd),
      cell: (row) => <Price value={row.price_usd} name={`price of ${row.symbol} in dollars`} />,
    },
    {
      id: "h1",
      title: "1 h",
      numeric: true,
      sort: (row) => num(row.change_1h_pct),
      cell: (row) => <Change value={row.change_1h_pct} />,
    },
    {
      id: "h24",
      title: "24 h",
      numeric: true,
      sort: (row) => num(row.change_24h_pct),
      cell: (row) => <Change value={row.change_24h_pct} />,
    },
    {
      id: "d7",
      title: "7 d",
      numeric: true,
      sort: (row) => num(row.change_7d_pct),
      cell: (row) => <Change value={row.change_7d_pct} />,
    },
    {
      id: "volume",
      title: "Volume 24 h, $",
      numeric: true,
      sort: (row) => num(row.volume_24h_usd),
      cell: (row) => <Size value={row.volume_24h_usd} name={`volume of ${row.symbol} in dollars`} />,
    },
    {
      id: "cap",
      title: "Market cap, $",
      numeric: true,
      sort: (row) => num(row.market_cap_usd),
      cell: (row) => <Size value={row.market_cap_usd} name={`market cap of ${row.symbol} in dollars`} />,
    },
    {
      id: "week",
      title: "7 days",
      cell: (row) => <Week instrument={instruments.get(row.asset_id) ?? null} symbol={row.symbol} />,
    },
    { id: "source", title: "Source", sort: (row) => row.source, cell: (row) => row.source },
    {
      id: "age",
      title: "Age",
      numeric: true,
      first: "ascending",
      sort: (row) => -Date.parse(row.observed_at),
      cell: (row) => <Age value={row.observed_at} stale={row.stale ?? false} />,
    },
  ];
}

export function MarketTable({ rows }: { rows: Market[] }) {
  const followed = useInstruments().data?.data;
  const columns = useMemo(() => columnsWith(byAsset(followed ?? [])), [followed]);
  return (
    <Table
      caption="Table of followed assets"
      columns={columns}
      rows={rows}
      id={(row) => row.asset_id}
      search={(row) => `${row.symbol} ${row.name} ${row.asset_id}`}
      order={{ by: "rank", direction: "ascending" }}
      open={(row) => {
        window.location.hash = href("asset", [row.asset_id]);
      }}
    />
  );
}
