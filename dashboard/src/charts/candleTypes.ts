import type { Bar, Hole } from "./bars";
import type { Palette } from "./palette";

export interface Line {
  name: string;
  /** By start of the bar in ms. */
  values: Map<number, number>;
  colour: keyof Palette;
  kind?: "line" | "dashed" | "histogram";
}

export interface Pane {
  name: string;
  lines: Line[];
  /** Levels across the pane, as 30 and 70 of RSI. */
  levels?: number[];
}

export interface Level {
  name: string;
  price: number;
  colour: keyof Palette;
}

export interface CandleProps {
  /** What the chart shows, in one sentence. */
  label: string;
  /** Oldest first, holes included. */
  places: (Bar | Hole)[];
  lines: Line[];
  levels: Level[];
  panes: Pane[];
  /** Smallest step of the price; null: not known. */
  tick: number | null;
  /** What the chart is about: when it changes, the newest bars come into view. */
  subject: string;
  /** The bar under the crosshair, null when there is none. */
  onPoint: (at: number | null) => void;
  /** The left end is in sight: older bars are wished. */
  onLeft: () => void;
}
