/** Chart.js behind one component; loaded only when the first chart is drawn. */
import {
  BarController,
  BarElement,
  Chart,
  Decimation,
  Filler,
  Legend,
  LinearScale,
  LineController,
  LineElement,
  LogarithmicScale,
  PointElement,
  TimeScale,
  Tooltip,
  type ChartConfiguration,
  type ChartDataset,
} from "chart.js";
import { useEffect, useRef } from "react";

import { time, type Zone } from "../format";
import { useSettings } from "../settings";
import { installDateAdapters } from "./dateAdapter";
import { faded, seriesColour, usePalette, type Palette } from "./palette";
import type { ChartProps, Series } from "./types";

Chart.register(
  BarController,
  BarElement,
  Decimation,
  Filler,
  Legend,
  LinearScale,
  LineController,
  LineElement,
  LogarithmicScale,
  PointElement,
  TimeScale,
  Tooltip,
);
installDateAdapters();

interface Point {
  x: number;
  y: number | null;
}
type Drawn = Chart<"line" | "bar", Point[]>;

export default function DrawnChart(props: ChartProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const chart = useRef<Drawn | null>(null);
  const palette = usePalette();
  const { zone } = useSettings();

  // One instance for the life of the canvas: new data is put into it, without an animation.
  useEffect(() => {
    if (canvas.current === null) return;
    chart.current = new Chart(canvas.current, configuration(props, palette, zone));
    return () => {
      chart.current?.destroy();
      chart.current = null;
    };
    // eslint-disable-next-line react-hooks/exhaustive-deps -- the next effect brings everything else up to date
  }, []);
  useEffect(() => {
    if (chart.current === null) return;
    const { data, options } = configuration(props, palette, zone);
    chart.current.data.datasets = data.datasets;
    if (options !== undefined) chart.current.options = options;
    chart.current.update("none");
  }, [props, palette, zone]);

  return <canvas ref={canvas} role="img" aria-label={props.label} />;
}

function configuration(props: ChartProps, palette: Palette, zone: Zone): ChartConfiguration<"line" | "bar", Point[]> {
  const {
    series,
    axis = "time",
    format,
    formatX,
    logarithmic = false,
    legend = series.length > 1,
    zero = false,
  } = props;
  const bottom = formatX ?? ((x: number) => (axis === "time" ? time(x, zone, "minute") : String(x)));
  const grid = { color: palette.line };
  const words = { color: palette.dim, maxRotation: 0, autoSkipPadding: 16 };
  const onRight = series.some((one) => one.side === "right");
  return {
    type: "line",
    data: { datasets: series.map((one, at) => dataset(one, at, palette)) },
    options: {
      animation: false,
      parsing: false,
      normalized: true,
      responsive: true,
      maintainAspectRatio: false,
      interaction: { mode: axis === "time" ? "index" : "nearest", axis: "x", intersect: false },
      scales: {
        x:
          axis === "time"
            ? { type: "time", grid, ticks: words, adapters: { date: { zone } } }
            : { type: "linear", grid, ticks: { ...words, callback: (value) => bottom(Number(value)) } },
        y: {
          type: logarithmic ? "logarithmic" : "linear",
          beginAtZero: zero,
          grid,
          ticks: { ...words, callback: (value) => format(Number(value)) },
        },
        ...(onRight
          ? {
              right: {
                position: "right" as const,
                grid: { display: false },
                ticks: { ...words, callback: (value: string | number) => (props.formatRight ?? format)(Number(value)) },
              },
            }
          : {}),
      },
      plugins: {
        decimation: { enabled: true, algorithm: "lttb", samples: 800, threshold: 1600 },
        legend: {
          display: legend,
          labels: { color: palette.text, usePointStyle: true, pointStyle: "line", pointStyleWidth: 28 },
        },
        tooltip: {
          callbacks: {
            title: (items) => (items[0] === undefined ? "" : bottom(items[0].parsed.x ?? 0)),
            label: (item) => {
              const shape = series[item.datasetIndex]?.side === "right" ? (props.formatRight ?? format) : format;
              return `${item.dataset.label ?? ""}: ${item.parsed.y === null ? "–" : shape(item.parsed.y)}`;
            },
          },
        },
      },
    },
  };
}

const DASHES = [[], [10, 3], [2, 2], [8, 3, 2, 3]];

function dataset(one: Series, at: number, palette: Palette): ChartDataset<"line" | "bar", Point[]> {
  const colour = one.colour === undefined ? seriesColour(palette, at) : palette[one.colour];
  const shared = { label: one.name, data: one.points, yAxisID: one.side === "right" ? "right" : "y" };
  if (one.kind === "bar")
    return {
      ...shared,
      type: "bar",
      backgroundColor:
        one.signed === true ? one.points.map((p) => ((p.y ?? 0) < 0 ? palette.down : palette.up)) : faded(colour, 0.7),
      borderWidth: 0,
      minBarLength: 1,
    };
  return {
    ...shared,
    type: "line",
    borderColor: colour,
    backgroundColor: faded(colour, 0.15),
    fill: one.kind === "area",
    stepped: one.kind === "step" || one.stepped === true ? "before" : false,
    borderWidth: 1.75,
    // Neighbours differ without their colour; areas do by where they are.
    borderDash: one.kind === "area" ? [] : (DASHES[(at + Math.floor(at / 8)) % DASHES.length] ?? []),
    pointRadius: one.points.length === 1 ? 3 : 0,
    pointHitRadius: 8,
    spanGaps: false,
  };
}
