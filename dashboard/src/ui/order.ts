/** Order and search of table rows; pure. */

export type SortKey = string | number | null;
export type Direction = "ascending" | "descending";

/** Return rows in order; what has no value comes last either way, equals keep their order. */
export function sorted<Row>(rows: readonly Row[], key: (row: Row) => SortKey, direction: Direction): Row[] {
  const sign = direction === "ascending" ? 1 : -1;
  return [...rows].sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    if (x === null || y === null) return x === y ? 0 : x === null ? 1 : -1;
    if (typeof x === "string" || typeof y === "string") return sign * String(x).localeCompare(String(y), "en");
    return sign * (x - y);
  });
}

/** Return the rows in whose text every word of the search occurs, in any case. */
export function found<Row>(rows: readonly Row[], text: (row: Row) => string, search: string): Row[] {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return [...rows];
  return rows.filter((row) => {
    const said = text(row).toLowerCase();
    return words.every((word) => said.includes(word));
  });
}
