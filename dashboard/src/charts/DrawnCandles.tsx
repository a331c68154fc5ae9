/** Lightweight Charts behind one component; loaded only when the first candles are drawn. */
import {
  CandlestickSeries,
  createChart,
  CrosshairMode,
  HistogramSeries,
  LineSeries,
  LineStyle,
  TickMarkType,
  type IChartApi,
  type IPriceLine,
  type ISeriesApi,
  type SeriesType,
  type Time,
  type UTCTimestamp,
} from "lightweight-charts";
import { useEffect, useRef, type KeyboardEvent } from "react";

import { compact, price, priceBy, time, type Zone } from "../format";
import { useSettings } from "../settings";
import { isBar } from "./bars";
import type { CandleProps, Line } from "./candleTypes";
import { faded, usePalette, type Palette } from "./palette";

const IN_VIEW = 150; // bars at the start
const NEAR_LEFT = 30; // bars before the first in view at which older ones are asked for
const GAP_SCALE = "gaps";
const VOLUME_SCALE = "volume";

const seconds = (ms: number) => (ms / 1000) as UTCTimestamp;
const millis = (at: Time) => Number(at) * 1000;

interface Parts {
  chart: IChartApi;
  candles: ISeriesApi<"Candlestick">;
  volume: ISeriesApi<"Histogram">;
  gaps: ISeriesApi<"Histogram">;
  filled: ISeriesApi<"Histogram">;
  extra: ISeriesApi<SeriesType>[];
  levels: IPriceLine[];
}

export default function DrawnCandles(props: CandleProps) {
  const place = useRef<HTMLDivElement>(null);
  const parts = useRef<Parts | null>(null);
  const latest = useRef(props);
  const chosen = useRef<number | null>(null);
  const palette = usePalette();
  const { zone } = useSettings();
  const { places, lines, levels, panes, tick, subject } = props;

  useEffect(() => {
    latest.current = props;
  });

  useEffect(() => {
    if (place.current === null) return;
    const made = build(place.current);
    parts.current = made;
    made.chart.subscribeCrosshairMove((event) => {
      if (event.time !== undefined) latest.current.onPoint(millis(event.time));
      else if (chosen.current === null) latest.current.onPoint(null);
    });
    made.chart.timeScale().subscribeVisibleLogicalRangeChange((range) => {
      if (range !== null && range.from < NEAR_LEFT) latest.current.onLeft();
    });
    return () => {
      parts.current = null;
      made.chart.remove();
    };
  }, []);

  useEffect(() => {
    if (parts.current !== null) dress(parts.current, palette, zone, tick);
  }, [palette, zone, tick]);

  useEffect(() => {
    if (parts.current !== null) fill(parts.current, places, palette);
  }, [places, palette]);

  useEffect(() => {
    if (parts.current !== null) overlay(parts.current, { lines, levels, panes }, places, palette);
  }, [lines, levels, panes, places, palette]);

  const isEmpty = places.length === 0;
  useEffect(() => {
    if (isEmpty) return;
    const count = latest.current.places.length;
    parts.current?.chart.timeScale().setVisibleLogicalRange({ from: count - IN_VIEW, to: count + 4 });
  }, [subject, isEmpty]);

  // The view may be wider than what has come so far.
  useEffect(() => {
    const range = parts.current?.chart.timeScale().getVisibleLogicalRange() ?? null;
    if (range !== null && places.length > 0 && range.from < NEAR_LEFT) latest.current.onLeft();
  }, [places]);

  const press = (event: KeyboardEvent<HTMLDivElement>) => {
    if (parts.current === null || !keys(event.key, parts.current, latest.current, chosen)) return;
    event.preventDefault();
  };
  return (
    <div
      ref={place}
      className="candles-place"
      role="application"
      aria-label={props.label}
      aria-roledescription="chart"
      tabIndex={0}
      onKeyDown={press}
      onBlur={() => {
        chosen.current = null;
        parts.current?.chart.clearCrosshairPosition();
      }}
    />
  );
}

function build(place: HTMLElement): Parts {
  const chart = createChart(place, {
    autoSize: true,
    // Its logo brings an inline style, which the content policy refuses: the attribution stands below the chart.
    layout: { attributionLogo: false, background: { color: "transparent" } },
    crosshair: { mode: CrosshairMode.Normal },
    timeScale: { timeVisible: true, secondsVisible: false, rightOffset: 4, minBarSpacing: 0.3 },
  });
  const gaps = chart.addSeries(HistogramSeries, { priceScaleId: GAP_SCALE, ...SILENT, autoscaleInfoProvider: unit });
  const filled = chart.addSeries(HistogramSeries, {
    priceScaleId: GAP_SCALE,
    base: 1,
    ...SILENT,
    autoscaleInfoProvider: unit,
  });
  chart.priceScale(GAP_SCALE).applyOptions({ scaleMargins: { top: 0, bottom: 0 } });
  const volume = chart.addSeries(HistogramSeries, {
    priceScaleId: VOLUME_SCALE,
    ...SILENT,
    priceFormat: { type: "custom", formatter: compact, minMove: 1e-9 },
  });
  chart.priceScale(VOLUME_SCALE).applyOptions({ scaleMargins: { top: 0.82, bottom: 0 } });
  const candles = chart.addSeries(CandlestickSeries, {});
  chart.priceScale("right").applyOptions({ scaleMargins: { top: 0.08, bottom: 0.22 } });
  return { chart, candles, volume, gaps, filled, extra: [], levels: [] };
}

const SILENT = { priceLineVisible: false, lastValueVisible: false };
const unit = () => ({ priceRange: { minValue: 0, maxValue: 1 } });

function dress({ chart, candles }: Parts, palette: Palette, zone: Zone, tick: number | null): void {
  chart.applyOptions({
    layout: { textColor: palette.dim, panes: { separatorColor: palette.line, separatorHoverColor: palette.line } },
    grid: { vertLines: { color: faded(palette.line, 0.6) }, horzLines: { color: faded(palette.line, 0.6) } },
    rightPriceScale: { borderColor: palette.line },
    timeScale: {
      borderColor: palette.line,
      tickMarkFormatter: (at: Time, kind: TickMarkType) => mark(millis(at), kind, zone),
    },
    localization: { timeFormatter: (at: Time) => time(millis(at), zone, "minute"), priceFormatter: priceBy(tick) },
  });
  // Rising bars are hollow, falling ones solid: the colour only repeats it.
  candles.applyOptions({
    upColor: palette.card,
    borderUpColor: palette.up,
    wickUpColor: palette.up,
    downColor: palette.down,
    borderDownColor: palette.down,
    wickDownColor: palette.down,
    priceFormat: { type: "custom", formatter: priceBy(tick), minMove: tick ?? 1e-9 },
  });
}

function mark(at: number, kind: TickMarkType, zone: Zone): string {
  const full = time(at, zone, "second", true);
  if (kind === TickMarkType.Year) return full.slice(0, 4);
  if (kind === TickMarkType.Month) return full.slice(0, 7);
  return kind === TickMarkType.DayOfMonth ? full.slice(5, 10) : full.slice(11, 16);
}

function fill({ candles, volume, gaps, filled }: Parts, places: CandleProps["places"], palette: Palette): void {
  const [rising, falling] = [faded(palette.up, 0.35), faded(palette.down, 0.35)];
  candles.setData(
    places.map((one) => {
      if (!isBar(one)) return { time: seconds(one.at) };
      const { open, high, low, close } = one;
      const bar = { time: seconds(one.at), open, high, low, close };
      return one.filledBy === null ? bar : { ...bar, borderColor: palette.filled, wickColor: palette.filled };
    }),
  );
  volume.setData(
    places.map((one) =>
      !isBar(one) || one.volume === null
        ? { time: seconds(one.at) }
        : { time: seconds(one.at), value: one.volume, color: one.close < one.open ? falling : rising },
    ),
  );
  gaps.setData(
    places.filter((one) => !isBar(one)).map((one) => ({ time: seconds(one.at), value: 1, color: palette.gap })),
  );
  filled.setData(
    places
      .filter((one) => isBar(one) && one.filledBy !== null)
      .map((one) => ({ time: seconds(one.at), value: 0.98, color: palette.filled })),
  );
}

function overlay(
  parts: Parts,
  { lines, levels, panes }: Pick<CandleProps, "lines" | "levels" | "panes">,
  places: CandleProps["places"],
  palette: Palette,
): void {
  const { chart, candles } = parts;
  for (const series of parts.extra) chart.removeSeries(series);
  for (const level of parts.levels) candles.removePriceLine(level);
  parts.extra = lines.map((line) => drawn(chart, line, 0, places, palette));
  panes.forEach((pane, at) => {
    const series = pane.lines.map((line) => drawn(chart, line, at + 1, places, palette));
    for (const value of pane.levels ?? [])
      series[0]?.createPriceLine({
        price: value,
        color: palette.dim,
        lineWidth: 1,
        lineStyle: LineStyle.Dotted,
        axisLabelVisible: false,
        title: "",
      });
    parts.extra.push(...series);
  });
  chart.panes().forEach((pane, at) => pane.setStretchFactor(at === 0 ? 4 : 1));
  parts.levels = levels.map((level) =>
    candles.createPriceLine({
      price: level.price,
      title: level.name,
      color: palette[level.colour],
      lineWidth: 1,
      lineStyle: LineStyle.Dashed,
      axisLabelVisible: true,
    }),
  );
}

function drawn(
  chart: IChartApi,
  line: Line,
  pane: number,
  places: CandleProps["places"],
  palette: Palette,
): ISeriesApi<SeriesType> {
  const colour = palette[line.colour];
  const data = places.map(({ at }) => {
    const value = line.values.get(at);
    if (value === undefined) return { time: seconds(at) };
    const shade = line.kind === "histogram" ? { color: faded(value < 0 ? palette.down : palette.up, 0.6) } : {};
    return { time: seconds(at), value, ...shade };
  });
  const shown = {
    ...SILENT,
    crosshairMarkerVisible: false,
    priceFormat: { type: "custom" as const, formatter: price, minMove: 1e-9 },
  };
  if (line.kind === "histogram") {
    const bars = chart.addSeries(HistogramSeries, shown, pane);
    bars.setData(data);
    return bars;
  }
  const style = line.kind === "dashed" ? LineStyle.Dashed : LineStyle.Solid;
  const series = chart.addSeries(LineSeries, { ...shown, color: colour, lineWidth: 1, lineStyle: style }, pane);
  series.setData(data);
  return series;
}

/** Do what a key stands for; return whether it stands for something. */
function keys(
  key: string,
  { chart, candles }: Parts,
  { places, onPoint }: CandleProps,
  chosen: { current: number | null },
): boolean {
  const scale = chart.timeScale();
  const range = scale.getVisibleLogicalRange();
  const last = places.length - 1;
  const at = chosen.current ?? last + 1;
  const to = { ArrowLeft: at - 1, ArrowRight: at + 1, PageUp: at - 20, PageDown: at + 20, Home: 0, End: last }[key];
  if (range !== null && (key === "+" || key === "=" || key === "-")) {
    const [middle, half] = [(range.from + range.to) / 2, (range.to - range.from) / 2];
    const wide = key === "-" ? half * 1.5 : half / 1.5;
    scale.setVisibleLogicalRange({ from: middle - wide, to: middle + wide });
    return true;
  }
  if (to === undefined || last < 0) return false;
  chosen.current = Math.min(last, Math.max(0, to));
  const one = places[chosen.current];
  if (one === undefined) return false;
  if (range !== null && (chosen.current < range.from || chosen.current > range.to)) {
    const half = (range.to - range.from) / 2;
    scale.setVisibleLogicalRange({ from: chosen.current - half, to: chosen.current + half });
  }
  const before = places.slice(0, chosen.current + 1).findLast(isBar);
  if (before !== undefined) chart.setCrosshairPosition(before.close, seconds(one.at), candles);
  onPoint(one.at);
  return true;
}
