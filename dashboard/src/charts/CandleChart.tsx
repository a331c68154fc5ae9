/** The big chart of candles: zoom, pan, panes below, a crosshair that the arrow keys move too. */
import { lazy, Suspense } from "react";

import { Loading } from "../ui/State";
import type { CandleProps } from "./candleTypes";

const Drawn = lazy(() => import("./DrawnCandles"));

export function CandleChart(props: CandleProps) {
  return (
    <>
      <div className="candles">
        <Suspense fallback={<Loading what="chart" />}>
          <Drawn {...props} />
        </Suspense>
      </div>
      <p className="dim small">
        Drawn with{" "}
        <a href="https://www.tradingview.com/" rel="noreferrer">
          TradingView Lightweight Charts™
        </a>
        , © 2025 TradingView, Inc. Arrow keys choose a bar, + and − zoom, Home and End go to the ends.
      </p>
    </>
  );
}
