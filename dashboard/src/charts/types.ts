import type { Palette } from "./palette";

export interface Series {
  name: string;
  /** Sorted by x. On the axis of time x is in ms. A null y is a hole in the line. */
  points: { x: number; y: number | null }[];
  kind?: "line" | "area" | "step" | "bar";
  /** An area with steps, as of an order book. */
  stepped?: boolean;
  /** Bars below zero in the colour of falling. */
  signed?: boolean;
  colour?: keyof Palette;
  side?: "left" | "right";
}

export interface ChartProps {
  /** One sentence that says what the drawing shows: last value, change, range. */
  label: string;
  series: Series[];
  axis?: "time" | "linear";
  format: (value: number) => string;
  formatX?: (value: number) => string;
  formatRight?: (value: number) => string;
  logarithmic?: boolean;
  legend?: boolean;
  /** The vertical axis contains zero. */
  zero?: boolean;
}
