/** The market at a glance, and every followed asset; renewed by the event stream. */
import { useCallback } from "react";

import { useRows, useStream, type Global, type Market, type Sentiment, type StreamRows } from "../../api";
import { price, time } from "../../format";
import { useSettings } from "../../settings";
import { Card, Show, Spoken } from "../../ui";
import { merged, spoken } from "./live";
import { MarketTable } from "./MarketTable";
import { Movers } from "./Movers";
import { Overview } from "./Overview";

const EVERY_MS = 60_000; // what the stream does not say, or while it is away

export default function Markets() {
  const { zone } = useSettings();
  const markets = useRows<Market>("markets/latest", { followed: true }, { every: EVERY_MS, all: 2000 });
  const globals = useRows<Global>("global", { limit: 1 }, { every: EVERY_MS });
  const sentiments = useRows<Sentiment>("sentiments", { limit: 90 }, { every: 10 * EVERY_MS });
  const { patch, reload } = markets;
  const patchGlobal = globals.patch;
  const reloadGlobal = globals.reload;

  const onRows = useCallback(
    (news: StreamRows) => {
      if (news.kind === "markets") patch((old) => ({ ...old, data: merged(old.data, news.rows), stale: false }));
      else if (news.rows.length > 0)
        patchGlobal((old) => ({ ...old, data: [news.rows.at(-1) as unknown as Global], stale: false }));
    },
    [patch, patchGlobal],
  );
  const onReset = useCallback(() => {
    reload();
    reloadGlobal();
  }, [reload, reloadGlobal]);
  const stream = useStream({ kinds: ["markets", "global"] }, onRows, onReset);

  return (
    <>
      <Overview globals={globals} sentiments={sentiments} />
      <Movers />
      <Card
        title="Followed assets"
        aside={
          { live: "● live", connecting: "○ connecting…", waiting: "○ not live: reconnecting", paused: "○ paused" }[
            stream
          ]
        }
      >
        <Show
          from={markets}
          what="assets"
          stale={markets.data?.stale ?? false}
          asOf={markets.data?.as_of}
          isEmpty={(page) => page.data.length === 0}
          empty="No asset is followed yet: the first collection takes about a minute."
        >
          {(page) => (
            <>
              <Spoken text={spoken(page.data, (at) => time(at, zone, "minute"), price)} />
              <MarketTable rows={page.data} />
            </>
          )}
        </Show>
      </Card>
    </>
  );
}
