/** What the chart shows as words and numbers: the bar under the crosshair, the signs, the newest bars. */
import { useState } from "react";

import type { Bar, Line } from "../../charts";
import { exact, price, time } from "../../format";
import { useSettings } from "../../settings";
import { Time } from "../../ui";

/** The exact values of the bar under the crosshair, of the last one without a crosshair. */
export function Readout({
  bar,
  at,
  last,
  lines,
}: {
  bar: Bar | undefined;
  at: number | null;
  last: Bar | undefined;
  lines: Line[];
}) {
  if (at !== null && bar === undefined)
    return (
      <div className="readout">
        <Time value={at} precision="minute" /> <b>no bar is held here</b>
      </div>
    );
  const shown = bar ?? last;
  if (shown === undefined) return null;
  const values = [
    ["O", shown.exact.open],
    ["H", shown.exact.high],
    ["L", shown.exact.low],
    ["C", shown.exact.close],
    ["V", shown.exact.volume],
  ] as const;
  return (
    <div className="readout">
      <Time value={shown.at} precision="minute" />
      {values.map(([letter, value]) => (
        <span key={letter}>
          {letter} <b>{exact(value) || "–"}</b>
        </span>
      ))}
      {shown.filledBy !== null && <b>filled by {shown.filledBy}</b>}
      {lines.map((line) => (
        <span key={line.name}>
          <span style={{ color: `var(--${line.colour})` }}>{line.name}</span> {price(line.values.get(shown.at))}
        </span>
      ))}
    </div>
  );
}

export function Legend() {
  return (
    <p className="row small">
      <span>
        <span className="key key-up" aria-hidden="true" />
        rose (hollow)
      </span>
      <span>
        <span className="key key-down" aria-hidden="true" />
        fell (solid)
      </span>
      <span>
        <span className="key key-filled" aria-hidden="true" />
        filled by another provider (marked at the top)
      </span>
      <span>
        <span className="key key-gap" aria-hidden="true" />
        gap: no bar is held
      </span>
    </p>
  );
}

const LISTED = 100;

export function NewestBars({ bars }: { bars: Bar[] }) {
  const [open, setOpen] = useState(false);
  const { zone } = useSettings();
  return (
    <details className="chart-table" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>Show the newest bars as table</summary>
      {open && (
        <div className="scroll" tabIndex={0} role="region" aria-label="Newest bars">
          <table>
            <caption className="hidden">Newest bars</caption>
            <thead>
              <tr>
                {["Start", "Open", "High", "Low", "Close", "Volume", "Filled by"].map((head) => (
                  <th key={head} scope="col">
                    {head}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {bars
                .slice(-LISTED)
                .reverse()
                .map((bar) => (
                  <tr key={bar.at}>
                    <th scope="row">{time(bar.at, zone, "minute")}</th>
                    {[bar.exact.open, bar.exact.high, bar.exact.low, bar.exact.close, bar.exact.volume].map(
                      (value, at) => (
                        <td key={at} className="num">
                          {exact(value) || "–"}
                        </td>
                      ),
                    )}
                    <td>{bar.filledBy ?? ""}</td>
                  </tr>
                ))}
            </tbody>
          </table>
        </div>
      )}
    </details>
  );
}
