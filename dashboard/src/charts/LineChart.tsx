import { lazy, Suspense, useState } from "react";

import { time } from "../format";
import { useSettings } from "../settings";
import { Loading } from "../ui/State";
import type { ChartProps } from "./types";

const Drawn = lazy(() => import("./DrawnChart"));
const TABLE_ROWS = 200; // of the newest; more are no help to a reader, and the API has them all

/** Lines, areas, steps and bars over time or numbers, and the same as a table for who does not see the drawing. */
export function LineChart({ height = "14rem", ...props }: ChartProps & { height?: string }) {
  return (
    <div>
      <div className="chart" style={{ height }}>
        <Suspense fallback={<Loading what="chart" />}>
          <Drawn {...props} />
        </Suspense>
      </div>
      <AsTable {...props} />
    </div>
  );
}

function AsTable({ label, series, axis = "time", format, formatX, formatRight }: ChartProps) {
  const [open, setOpen] = useState(false);
  return (
    <details className="chart-table" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>Show as table</summary>
      {open && <Rows {...{ label, series, axis, format, formatX, formatRight }} />}
    </details>
  );
}

type RowsProps = Pick<ChartProps, "label" | "series" | "axis" | "format"> & {
  formatX: ChartProps["formatX"] | undefined;
  formatRight: ChartProps["formatRight"] | undefined;
};

function Rows({ label, series, axis, format, formatX, formatRight }: RowsProps) {
  const { zone } = useSettings();
  const byX = new Map<number, (number | null)[]>();
  series.forEach((one, at) => {
    for (const point of one.points.slice(-TABLE_ROWS)) {
      const row = byX.get(point.x) ?? series.map(() => null);
      row[at] = point.y;
      byX.set(point.x, row);
    }
  });
  const rows = [...byX.entries()].sort(([a], [b]) => b - a).slice(0, TABLE_ROWS);
  return (
    <div className="scroll" tabIndex={0} role="region" aria-label={label}>
      <table>
        <caption className="hidden">{label}</caption>
        <thead>
          <tr>
            <th scope="col">{axis === "time" ? "Time" : "At"}</th>
            {series.map((one) => (
              <th key={one.name} scope="col" className="right">
                {one.name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map(([x, values]) => (
            <tr key={x}>
              <th scope="row">{formatX?.(x) ?? (axis === "time" ? time(x, zone, "minute") : String(x))}</th>
              {values.map((value, at) => (
                <td key={at} className="right">
                  {value === null ? "–" : series[at]?.side === "right" ? (formatRight ?? format)(value) : format(value)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
