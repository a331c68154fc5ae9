import { useState, type ReactNode } from "react";

/** Return the first rows of a list, and the button that shows all of them (null when all are shown). */
export function useFew<Row>(rows: readonly Row[], most: number): [readonly Row[], ReactNode] {
  const [isWhole, setWhole] = useState(false);
  if (rows.length <= most) return [rows, null];
  return [
    isWhole ? rows : rows.slice(0, most),
    <button key="more" type="button" className="more" aria-expanded={isWhole} onClick={() => setWhole(!isWhole)}>
      {isWhole ? `Show the first ${most} only` : `Show all ${rows.length} rows`}
    </button>,
  ];
}
