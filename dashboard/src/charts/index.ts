export { barsOf, gridded, isBar, LENGTH_MS, longer, MADE_OF, woven, type Bar, type Hole } from "./bars";
export { CandleChart } from "./CandleChart";
export type { CandleProps, Level, Line, Pane } from "./candleTypes";
export { LineChart } from "./LineChart";
export { faded, seriesColour, usePalette, type Palette } from "./palette";
export type { ChartProps, Series } from "./types";
