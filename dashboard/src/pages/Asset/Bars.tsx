/** The candles of one instrument: interval, overlays, exact values under the crosshair, and what is missing. */
import { useCallback, useMemo, useState } from "react";

import {
  useHistory,
  useRows,
  useStream,
  type Candle,
  type Coverage,
  type Indicators,
  type Instrument,
  type StreamRows,
} from "../../api";
import { barsOf, CandleChart, gridded, isBar, LENGTH_MS, longer, MADE_OF, woven, type Bar } from "../../charts";
import { num, price, time } from "../../format";
import { changeQuery } from "../../router";
import { Card, Choice, Choices, Empty, Show, Stale } from "../../ui";
import { INTERVALS, possible } from "./choose";
import { Gaps } from "./Gaps";
import { columnsOf, drawings, OVERLAYS, overlaysOf } from "./overlays";
import { Legend, NewestBars, Readout } from "./Readout";

const EVERY_MS = 60_000;

export function Bars({
  all,
  instrument,
  query,
}: {
  all: Instrument[];
  instrument: Instrument;
  query: URLSearchParams;
}) {
  const name = instrument.instrument;
  const coverage = useRows<Coverage>("coverage", { instrument: name, dataset: "candles" }, { every: 10 * EVERY_MS });
  const stored = (coverage.data?.data ?? []).map((row) => row.interval).filter((one) => one !== null);
  const choices = possible(stored);
  const wanted = query.get("interval") ?? "1h";
  const interval = INTERVALS.includes(wanted) ? wanted : "1h";
  return (
    <Card
      title={`Bars of ${name}`}
      aside={
        <label>
          <span className="hidden">Market</span>
          <select value={name} onChange={(event) => changeQuery({ on: event.target.value })}>
            {all.map((one) => (
              <option key={one.instrument} value={one.instrument}>
                {one.instrument}
              </option>
            ))}
          </select>
        </label>
      }
    >
      <Choice
        name="Length of a bar"
        value={interval}
        onChange={(value) => changeQuery({ interval: value })}
        options={INTERVALS.map((one) => ({
          value: one,
          label: one,
          ...(coverage.data !== null && !choices.has(one)
            ? { disabled: true, title: "No bars of this length are stored" }
            : {}),
        }))}
      />
      <Drawn
        key={`${name} ${interval}`}
        instrument={instrument}
        interval={interval}
        isStored={coverage.data === null || stored.includes(interval)}
        query={query}
      />
    </Card>
  );
}

function Drawn({
  instrument,
  interval,
  isStored,
  query,
}: {
  instrument: Instrument;
  interval: string;
  isStored: boolean;
  query: URLSearchParams;
}) {
  const name = instrument.instrument;
  const part = isStored ? interval : (MADE_OF[interval] ?? interval);
  const chosen = useMemo(() => overlaysOf(query.get("show")), [query]);
  const columns = columnsOf(chosen);
  const candles = useHistory<Candle>("candles", { instrument: name, interval: part }, woven, EVERY_MS);
  const indicators = useHistory<Indicators>(
    isStored && columns !== "" ? "indicators" : null,
    { instrument: name, interval, columns },
    woven,
    EVERY_MS,
  );
  const [pointed, setPointed] = useState<number | null>(null);
  const addCandles = candles.add;
  const addIndicators = indicators.add;
  const stream = useStream(
    { kinds: ["candles", "indicators"], symbols: [name], interval: part },
    useCallback(
      (news: StreamRows) => {
        if (news.rows.length === 0) return;
        if (news.kind === "candles") addCandles(news.rows as unknown as Candle[]);
        else addIndicators(news.rows as unknown as Indicators[]);
      },
      [addCandles, addIndicators],
    ),
    useCallback(() => {
      candles.reload();
      indicators.reload();
    }, [candles, indicators]),
  );

  const rows = candles.data?.data;
  const length = LENGTH_MS[interval] ?? 3_600_000;
  const places = useMemo(() => {
    const bars = barsOf(rows ?? []);
    return gridded(isStored ? bars : longer(bars, LENGTH_MS[part] ?? length, length), length);
  }, [rows, isStored, part, length]);
  const computed = indicators.data?.data;
  const { lines, panes, levels } = useMemo(() => drawings(chosen, computed ?? []), [chosen, computed]);
  const bars = useMemo(() => places.filter(isBar), [places]);
  const { older: olderCandles } = candles;
  const { older: olderIndicators } = indicators;
  const onLeft = useCallback(() => {
    olderCandles();
    olderIndicators();
  }, [olderCandles, olderIndicators]);

  return (
    <>
      <div className="row tools">
        <Choices
          name="Drawn over and below the bars"
          options={OVERLAYS.map((one) => ({ ...one, disabled: !isStored }))}
          values={chosen}
          onChange={(values) => changeQuery({ show: values.join(",") || "none" })}
        />
        <span className="dim small">{stream === "live" ? "● live" : "○ not live"}</span>
      </div>
      {!isStored && (
        <p className="dim small">
          These bars are put together from {part} bars; indicators are stored for stored bars only.
        </p>
      )}
      {indicators.error !== null && <Stale>Indicators: {indicators.error.message}</Stale>}
      <Show from={candles} what="bars" stale={candles.data?.stale ?? false} asOf={candles.data?.as_of}>
        {() =>
          bars.length === 0 ? (
            <Empty>No {interval} bars of this market are stored yet.</Empty>
          ) : (
            <>
              <Readout
                bar={bars.find((bar) => bar.at === pointed)}
                at={pointed}
                last={bars.at(-1)}
                lines={[...lines, ...panes.flatMap((pane) => pane.lines)]}
              />
              <CandleChart
                label={summary(name, interval, bars)}
                places={places}
                lines={lines}
                levels={levels}
                panes={panes}
                tick={num(instrument.tick_size)}
                subject={`${name} ${interval}`}
                onPoint={setPointed}
                onLeft={onLeft}
              />
              <Legend />
              <NewestBars bars={bars} />
            </>
          )
        }
      </Show>
      <Gaps instrument={name} interval={part} />
    </>
  );
}

function summary(name: string, interval: string, bars: Bar[]): string {
  const [first, last] = [bars[0], bars.at(-1)];
  const [low, high] = [Math.min(...bars.map((bar) => bar.low)), Math.max(...bars.map((bar) => bar.high))];
  return `${bars.length} bars of ${interval} of ${name} from ${time(first?.at, "utc", "minute")}: last ${price(last?.close)}, between ${price(low)} and ${price(high)}`;
}
