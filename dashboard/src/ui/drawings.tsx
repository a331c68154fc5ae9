/** Small drawings made of SVG and tables: no canvas, no library. */
import type { ReactNode } from "react";

import { useFew } from "./few";
import { points } from "./path";

/** A line of the last values, `label` says in words what it shows. A hole is drawn as a hole. */
export function Sparkline({
  values,
  label,
  width = 120,
  height = 32,
}: {
  values: (number | null)[];
  label: string;
  width?: number;
  height?: number;
}) {
  const known = values.filter((value) => value !== null);
  const way = (known.at(-1) ?? 0) >= (known[0] ?? 0) ? "up" : "down";
  if (known.length < 2) return <span className="dim">–</span>;
  return (
    <svg
      className={`sparkline ${way}`}
      viewBox={`0 0 ${width} ${height}`}
      width={width}
      height={height}
      role="img"
      aria-label={label}
    >
      <path d={points(values, width, height, 2)} />
    </svg>
  );
}

/** A half circle of 0 to 100 with a needle; `word` says what the value means. */
export function Gauge({ value, word, label }: { value: number; word: string; label: string }) {
  const angle = Math.PI * (1 - Math.min(100, Math.max(0, value)) / 100);
  const [x, y] = [60 + 44 * Math.cos(angle), 60 - 44 * Math.sin(angle)];
  return (
    <figure className="gauge">
      <svg viewBox="0 0 120 68" role="img" aria-label={`${label}: ${value} of 100, ${word}`}>
        {[0, 1, 2, 3, 4].map((part) => (
          <path key={part} className={`gauge-${part}`} d={arc(part / 5, (part + 1) / 5)} />
        ))}
        <line x1="60" y1="60" x2={x.toFixed(2)} y2={y.toFixed(2)} className="needle" />
        <circle cx="60" cy="60" r="4" className="pin" />
      </svg>
      <figcaption>
        <strong>{value}</strong> {word}
      </figcaption>
    </figure>
  );
}

function arc(from: number, to: number): string {
  const gap = 0.006;
  const at = (part: number) => {
    const angle = Math.PI * (1 - part);
    return `${(60 + 52 * Math.cos(angle)).toFixed(2)} ${(60 - 52 * Math.sin(angle)).toFixed(2)}`;
  };
  return `M ${at(from + gap)} A 52 52 0 0 1 ${at(to - gap)}`;
}

export interface HeatCell {
  /** -1 to 1: how strong, and which way; null: no value. */
  strength: number | null;
  text: string;
  title?: string;
}

/** A table whose cells are tinted by their value; the value itself is always written in the cell. */
export function Heatmap({
  caption,
  columns,
  rows,
  most = Infinity,
}: {
  caption: string;
  columns: ReactNode[];
  rows: { name: ReactNode; key: string; cells: HeatCell[] }[];
  /** So many rows are shown until the reader asks for all. */
  most?: number;
}) {
  const [shown, more] = useFew(rows, most);
  return (
    <>
      <div className="scroll" tabIndex={0} role="region" aria-label={caption}>
        <table className="heat">
          <caption className="hidden">{caption}</caption>
          <thead>
            <tr>
              <td />
              {columns.map((column, at) => (
                <th key={at} scope="col">
                  {column}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {shown.map((row) => (
              <tr key={row.key}>
                <th scope="row">{row.name}</th>
                {row.cells.map((cell, at) => (
                  <td key={at} title={cell.title} className={tint(cell.strength)}>
                    {cell.text}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {rows.length === 0 && <p className="state state-empty">Nothing fits.</p>}
      {more}
    </>
  );
}

/** Return the class of a tint: heat-0 for none, heat-p1 to heat-p5, heat-n1 to heat-n5. */
function tint(strength: number | null): string {
  if (strength === null) return "heat-none";
  const step = Math.round(Math.min(1, Math.abs(strength)) * 5);
  return step === 0 ? "heat-0" : `heat-${strength > 0 ? "p" : "n"}${step}`;
}
