/** Values with a bar below them: the bar is for the eye, the value says the same. */
import type { ReactNode } from "react";

import type { Exact } from "../../api";
import { num, signed } from "../../format";
import { Copyable } from "../../ui";
import { aroundZero } from "./shaping";

/** A strength or score from -1 to 1. */
export function Strength({ value, name }: { value: Exact | null | undefined; name: string }) {
  const place = aroundZero(value);
  const way = (num(value) ?? 0) < 0 ? "down" : "up";
  return (
    <span className="measured">
      <Copyable value={value} shown={signed(value)} name={name} />
      <span className="bar bar-centred" aria-hidden="true">
        {place !== null && (
          <span className={`bar-${way}`} style={{ left: `${place.left}%`, width: `${place.width}%` }} />
        )}
      </span>
    </span>
  );
}

/** A part of a whole: `part` and `most` say how long the bar is. */
export function Part({
  part,
  most = 1,
  market = false,
  children,
}: {
  part: Exact | null | undefined;
  most?: number;
  market?: boolean;
  children: ReactNode;
}) {
  const width = Math.max(0, Math.min(1, (num(part) ?? 0) / most)) * 100;
  return (
    <span className="measured">
      <span>{children}</span>
      <span className="bar" aria-hidden="true">
        <span className={market ? "bar-market" : ""} style={{ width: `${width}%` }} />
      </span>
    </span>
  );
}

const SIGNS: Record<string, string> = { "1": "▲", "0": "●", "-1": "▼" };
const WAYS: Record<string, string> = { "1": "up", "0": "dim", "-1": "down" };
const MEANT: Record<string, string> = { "1": "for rising prices", "0": "for neither", "-1": "for falling prices" };

/** A state with the direction it speaks for. */
export function SignalState({ state, direction }: { state: string; direction: number }) {
  const way = String(Math.sign(direction));
  return (
    <span className={`${WAYS[way] ?? "dim"} num`} title={MEANT[way]}>
      <span aria-hidden="true">{SIGNS[way]}</span> {state.replaceAll("_", " ")}
      <span className="hidden"> ({MEANT[way]})</span>
    </span>
  );
}
