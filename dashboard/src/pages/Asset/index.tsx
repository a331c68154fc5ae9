/** One asset: its bars with what is computed on them, and its perpetuals at each venue. */
import { useRows, type Market } from "../../api";
import { price, time } from "../../format";
import { href } from "../../router";
import { useSettings } from "../../settings";
import { Age, Card, Change, Empty, Fact, Price, Show, Size, Spoken } from "../../ui";
import type { PageProps } from "../index";
import { instrumentsOf, useInstruments } from "../instruments";
import { spoken } from "../Markets/live";
import { Bars } from "./Bars";
import { assetOf, instrumentOf } from "./choose";
import { Perpetuals } from "./Perpetuals";
import "./Asset.css";

const EVERY_MS = 20_000;

export default function Asset({ route }: PageProps) {
  const { zone } = useSettings();
  const markets = useRows<Market>("markets/latest", { followed: true }, { every: EVERY_MS, all: 2000 });
  const instruments = useInstruments();
  const asset = assetOf(markets.data?.data ?? [], route.rest[0]);
  return (
    <Show
      from={markets}
      what="asset"
      stale={asset?.stale ?? false}
      asOf={asset?.observed_at}
      isEmpty={(page) => page.data.length === 0}
      empty="No asset is followed yet: the first collection takes about a minute."
    >
      {(page) =>
        asset === null ? (
          <Empty>
            {route.rest[0]} is not followed. <a href={href("markets")}>See what is</a>
          </Empty>
        ) : (
          <>
            <Head asset={asset} all={page.data} />
            <Spoken key={asset.asset_id} text={spoken([asset], (at) => time(at, zone, "minute"), price)} />
            <Show from={instruments} what="instruments">
              {({ data }) => {
                const instrument = instrumentOf(data, asset.asset_id, route.query.get("on"));
                if (instrument === null)
                  return <Empty>No market of {asset.symbol} is followed, so there are no bars of it.</Empty>;
                const own = instrumentsOf(data, asset.asset_id);
                const perpetuals = own.filter((one) => one.kind === "perp");
                return (
                  <>
                    <Bars all={own} instrument={instrument} query={route.query} />
                    {perpetuals.length === 0 ? (
                      <Empty>No perpetual of {asset.symbol} is followed.</Empty>
                    ) : (
                      <Perpetuals key={asset.asset_id} symbol={asset.symbol} all={perpetuals} />
                    )}
                  </>
                );
              }}
            </Show>
          </>
        )
      }
    </Show>
  );
}

function Head({ asset, all }: { asset: Market; all: Market[] }) {
  const ranked = [...all].sort((a, b) => (a.rank ?? Infinity) - (b.rank ?? Infinity));
  const picker = (
    <label>
      <span className="hidden">Asset</span>
      <select
        value={asset.asset_id}
        onChange={(event) => {
          window.location.hash = href("asset", [event.target.value]);
        }}
      >
        {ranked.map((one) => (
          <option key={one.asset_id} value={one.asset_id}>
            {one.symbol} {one.name}
          </option>
        ))}
      </select>
    </label>
  );
  return (
    <Card title={`${asset.name} (${asset.symbol})`} aside={picker}>
      <p className="big">
        $<Price value={asset.price_usd} name="price in dollars" />{" "}
        <small>
          <Change value={asset.change_24h_pct} />
        </small>
      </p>
      <dl className="facts">
        <Fact name="1 h">
          <Change value={asset.change_1h_pct} />
        </Fact>
        <Fact name="7 d">
          <Change value={asset.change_7d_pct} />
        </Fact>
        <Fact name="Volume 24 h">
          <Size value={asset.volume_24h_usd} unit="$" name="volume of 24 hours in dollars" />
        </Fact>
        <Fact name="Market cap">
          <Size value={asset.market_cap_usd} unit="$" name="market cap in dollars" />
        </Fact>
        <Fact name="Low 24 h">
          <Price value={asset.low_24h_usd} name="low of 24 hours in dollars" />
        </Fact>
        <Fact name="High 24 h">
          <Price value={asset.high_24h_usd} name="high of 24 hours in dollars" />
        </Fact>
        <Fact name="Circulating">
          <Size value={asset.circulating_supply} name="circulating supply" />
        </Fact>
        <Fact name="All-time high">
          <Price value={asset.ath_usd} name="all-time high in dollars" />
        </Fact>
        <Fact name={`By ${asset.source}`}>
          <Age value={asset.observed_at} stale={asset.stale ?? false} /> ago
        </Fact>
      </dl>
    </Card>
  );
}
