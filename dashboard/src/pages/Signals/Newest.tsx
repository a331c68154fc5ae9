import { useState } from "react";

import { useRows } from "../../api";
import { Card, Choice, Price, Show, Table, type Column } from "../../ui";
import { kindName } from "./shaping";
import type { Signal } from "./types";
import { NOTHING, SIGNAL_COLUMNS, signalId, signalText } from "./Views";

const EVERY_MS = 15_000;
const ROWS = 100;
const FIRST = 10;
const KINDS = ["ema_cross", "macd", "rsi", "breakout", "funding"];

const COLUMNS: Column<Signal>[] = [
  ...SIGNAL_COLUMNS,
  {
    id: "price",
    title: "Close",
    numeric: true,
    cell: (row) => <Price value={row.price} name={`close of ${row.instrument}`} />,
  },
];

/** States that changed at closed bars, as they come. */
export function Newest() {
  const [kind, setKind] = useState("all");
  const params = { limit: ROWS, kind: kind === "all" ? null : kind };
  const signals = useRows<Signal>("signals", params, { every: EVERY_MS });
  return (
    <Card
      title="Newest signals"
      aside={
        <Choice
          name="Kind"
          value={kind}
          onChange={setKind}
          options={["all", ...KINDS].map((value) => ({ value, label: value === "all" ? "All" : kindName(value) }))}
        />
      }
    >
      <Show
        from={signals}
        what="signals"
        isEmpty={(page) => page.data.length === 0}
        empty={kind === "all" ? NOTHING : "There is no signal of this kind yet."}
      >
        {(page) => (
          <Table
            caption={`The newest ${page.count} signals`}
            columns={COLUMNS}
            rows={page.data}
            id={signalId}
            search={signalText}
            most={FIRST}
          />
        )}
      </Show>
    </Card>
  );
}
