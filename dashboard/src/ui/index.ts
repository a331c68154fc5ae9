export { Card } from "./Card";
export { Choice, Choices, type Option } from "./Choice";
export { useNow } from "./clock";
export { Gauge, Heatmap, Sparkline, type HeatCell } from "./drawings";
export { Empty, Failure, Loading, Show, Stale } from "./State";
export { Table, type Column } from "./Table";
export { Age, Change, Copyable, Fact, Price, Size, Time } from "./values";
