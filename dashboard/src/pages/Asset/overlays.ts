/** What can be drawn over the candles and below them, and which columns of the API it takes; pure. */
import type { Exact, Indicators } from "../../api";
import type { Level, Line, Pane, Palette } from "../../charts";
import { num } from "../../format";

export type Overlay = "sma" | "ema" | "bb" | "pivots" | "fib" | "rsi" | "macd";

export const OVERLAYS: { value: Overlay; label: string; title: string }[] = [
  { value: "sma", label: "SMA", title: "Simple moving averages of 20, 50 and 200 bars" },
  { value: "ema", label: "EMA", title: "Exponential moving averages of 12, 26, 50 and 200 bars" },
  { value: "bb", label: "Bollinger", title: "Bollinger bands: 20 bars, two standard deviations" },
  { value: "pivots", label: "Pivots", title: "Pivot, supports and resistances of the newest bar" },
  { value: "fib", label: "Fibonacci", title: "Retracements between the last swing high and low" },
  { value: "rsi", label: "RSI", title: "Relative strength index of 14 bars" },
  { value: "macd", label: "MACD", title: "Moving average convergence divergence, 12, 26 and 9 bars" },
];

type Drawing = [column: string, name: string, colour: keyof Palette, kind?: Line["kind"]];

const OVER: Partial<Record<Overlay, Drawing[]>> = {
  sma: [
    ["sma_20", "SMA 20", "series-1"],
    ["sma_50", "SMA 50", "series-2"],
    ["sma_200", "SMA 200", "series-3"],
  ],
  ema: [
    ["ema_12", "EMA 12", "series-4"],
    ["ema_26", "EMA 26", "series-5"],
    ["ema_50", "EMA 50", "series-6"],
    ["ema_200", "EMA 200", "series-8"],
  ],
  bb: [
    ["bb_upper", "Bollinger upper", "series-7", "dashed"],
    ["bb_middle", "Bollinger middle", "series-7"],
    ["bb_lower", "Bollinger lower", "series-7", "dashed"],
  ],
};
const BELOW: Partial<Record<Overlay, { name: string; lines: Drawing[]; levels?: number[] }>> = {
  rsi: { name: "RSI", lines: [["rsi_14", "RSI 14", "series-3"]], levels: [30, 70] },
  macd: {
    name: "MACD",
    lines: [
      ["macd_hist", "Histogram", "series-7", "histogram"],
      ["macd", "MACD", "series-1"],
      ["macd_signal", "Signal", "series-2"],
    ],
  },
};
const LEVELS: Partial<Record<Overlay, Drawing[]>> = {
  pivots: [
    ["pivot_r3", "R3", "series-5"],
    ["pivot_r2", "R2", "series-5"],
    ["pivot_r1", "R1", "series-5"],
    ["pivot", "Pivot", "series-7"],
    ["pivot_s1", "S1", "series-4"],
    ["pivot_s2", "S2", "series-4"],
    ["pivot_s3", "S3", "series-4"],
  ],
  fib: [
    ["swing_high", "Swing high", "series-2"],
    ["fib_236", "23.6 %", "series-2"],
    ["fib_382", "38.2 %", "series-2"],
    ["fib_500", "50 %", "series-2"],
    ["fib_618", "61.8 %", "series-2"],
    ["fib_786", "78.6 %", "series-2"],
    ["swing_low", "Swing low", "series-2"],
  ],
};

/** Return the names of the address that are known ones. */
export function overlaysOf(text: string | null): Overlay[] {
  const words = (text ?? "sma").split(",");
  return OVERLAYS.map((one) => one.value).filter((name) => words.includes(name));
}

/** Return the columns that these take, for `columns=`. */
export function columnsOf(chosen: readonly Overlay[]): string {
  return chosen
    .flatMap((name) => [...(OVER[name] ?? []), ...(BELOW[name]?.lines ?? []), ...(LEVELS[name] ?? [])])
    .map(([column]) => column)
    .join(",");
}

/** Return the drawings of rows, newest first. */
export function drawings(
  chosen: readonly Overlay[],
  rows: readonly Indicators[],
): { lines: Line[]; panes: Pane[]; levels: Level[] } {
  const lines = chosen.flatMap((name) => (OVER[name] ?? []).map((one) => line(one, rows)));
  const panes = chosen.flatMap((name) => {
    const pane = BELOW[name];
    if (pane === undefined) return [];
    return [
      {
        name: pane.name,
        lines: pane.lines.map((one) => line(one, rows)),
        ...(pane.levels === undefined ? {} : { levels: pane.levels }),
      },
    ];
  });
  const newest = rows[0];
  const levels = chosen.flatMap((name) =>
    (LEVELS[name] ?? []).flatMap(([column, title, colour]) => {
      const price = valueOf(newest, column);
      return price === null ? [] : [{ name: title, price, colour }];
    }),
  );
  return { lines, panes, levels };
}

function line([column, name, colour, kind]: Drawing, rows: readonly Indicators[]): Line {
  const values = new Map<number, number>();
  for (const row of rows) {
    const value = valueOf(row, column);
    if (value !== null) values.set(Date.parse(row.open_time), value);
  }
  return { name, colour, values, ...(kind === undefined ? {} : { kind }) };
}

function valueOf(row: Indicators | undefined, column: string): number | null {
  const value = row?.[column];
  return typeof value === "string" || typeof value === "number" ? num(value satisfies Exact) : null;
}
