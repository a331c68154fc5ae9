import { useMemo, useRef, useState, type KeyboardEvent, type ReactNode } from "react";

import { useFew } from "./few";
import { Search } from "./Search";
import { found, sorted, type Direction, type SortKey } from "./order";

export interface Column<Row> {
  id: string;
  title: ReactNode;
  cell: (row: Row) => ReactNode;
  /** What the column is sorted by; without it the column cannot be sorted. */
  sort?: (row: Row) => SortKey;
  /** First direction when its head is pressed; default descending for numbers, ascending otherwise. */
  first?: Direction;
  numeric?: boolean;
  /** Stays in view while the table is scrolled sideways. */
  stick?: boolean;
  /** Left out on screens narrower than: s 640 px, m 960 px, l 1280 px. */
  from?: "s" | "m" | "l";
}

/**
 * A table for reading: sortable heads, a search field, rows that the arrow keys walk through (Home, End, Enter opens).
 * `caption` names it for screen readers. `open` makes rows openable by Enter and double click.
 */
export function Table<Row>({
  caption,
  columns,
  rows,
  id,
  search,
  order,
  open,
  most = Infinity,
  empty = "Nothing fits.",
}: {
  caption: string;
  columns: Column<Row>[];
  rows: readonly Row[];
  id: (row: Row) => string;
  /** The text of a row that the search field looks in; without it there is no field. */
  search?: (row: Row) => string;
  order?: { by: string; direction: Direction };
  open?: (row: Row) => void;
  /** So many rows are shown until the reader asks for all. */
  most?: number;
  empty?: string;
}) {
  const [words, setWords] = useState("");
  const [by, setBy] = useState(order ?? null);
  const body = useRef<HTMLTableSectionElement>(null);
  const [active, setActive] = useState<string | null>(null);

  const ordered = useMemo(() => {
    const fitting = search === undefined ? [...rows] : found(rows, search, words);
    const key = by === null ? undefined : columns.find((column) => column.id === by.by)?.sort;
    return by === null || key === undefined ? fitting : sorted(fitting, key, by.direction);
  }, [rows, columns, search, words, by]);
  const [shown, more] = useFew(ordered, most);
  const focusable = shown.some((row) => id(row) === active) ? active : shown[0] === undefined ? null : id(shown[0]);

  const press = (column: Column<Row>) => {
    const first = column.first ?? (column.numeric === true ? "descending" : "ascending");
    const other = first === "ascending" ? "descending" : "ascending";
    setBy({ by: column.id, direction: by?.by === column.id && by.direction === first ? other : first });
  };
  const move = (event: KeyboardEvent<HTMLTableRowElement>, at: number, row: Row) => {
    if (event.target !== event.currentTarget) return;
    const last = shown.length - 1;
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: last, PageDown: at + 10, PageUp: at - 10 }[
      event.key
    ];
    if (event.key === "Enter" && open !== undefined) open(row);
    else if (to === undefined) return;
    else body.current?.querySelectorAll<HTMLElement>("tr")[Math.min(last, Math.max(0, to))]?.focus();
    event.preventDefault();
  };

  return (
    <div className="table">
      {search !== undefined && (
        <Search
          what={caption}
          words={words}
          onChange={setWords}
          told={ordered.length === rows.length ? `${rows.length} rows` : `${ordered.length} of ${rows.length} rows`}
        />
      )}
      <div className="scroll" tabIndex={0} role="region" aria-label={caption}>
        <table>
          <caption className="hidden">{caption}</caption>
          <thead>
            <tr>
              {columns.map((column) => (
                <th
                  key={column.id}
                  scope="col"
                  className={classes(column)}
                  aria-sort={by?.by === column.id ? by.direction : undefined}
                >
                  {column.sort === undefined ? (
                    column.title
                  ) : (
                    <button type="button" onClick={() => press(column)}>
                      {column.title}
                      <span aria-hidden="true" className="sort">
                        {by?.by === column.id ? (by.direction === "ascending" ? "▲" : "▼") : ""}
                      </span>
                    </button>
                  )}
                </th>
              ))}
            </tr>
          </thead>
          <tbody ref={body}>
            {shown.map((row, at) => (
              <tr
                key={id(row)}
                tabIndex={id(row) === focusable ? 0 : -1}
                onFocus={() => setActive(id(row))}
                onKeyDown={(event) => move(event, at, row)}
                onDoubleClick={open === undefined ? undefined : () => open(row)}
              >
                {columns.map((column) => (
                  <td key={column.id} className={classes(column)}>
                    {column.cell(row)}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
        {shown.length === 0 && <p className="state state-empty">{empty}</p>}
      </div>
      {more}
    </div>
  );
}

function classes<Row>(column: Column<Row>): string {
  return [
    column.stick === true ? "stick" : "",
    column.numeric === true ? "right" : "",
    column.from === undefined ? "" : `from-${column.from}`,
  ]
    .filter(Boolean)
    .join(" ");
}
