/** Single values: prices, sizes, changes, times. Each shows the short form and gives the exact one. */
import { useEffect, useState, type ReactNode } from "react";

import type { Exact } from "../api";
import { ABSENT, age, compact, exact, ms, num, percent, price, share, time, type Precision } from "../format";
import { useSettings } from "../settings";
import { useNow } from "./clock";

/** A value that is copied exactly when it is pressed. `shown` is its short form, `unit` what stands before it. */
export function Copyable({ value, shown, name }: { value: Exact | null | undefined; shown: string; name: string }) {
  const [said, setSaid] = useState("");
  useEffect(() => {
    if (said === "") return;
    const timer = window.setTimeout(() => setSaid(""), 1500);
    return () => window.clearTimeout(timer);
  }, [said]);
  if (num(value) === null) return <span className="num">{ABSENT}</span>;
  const all = exact(value);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(all);
      setSaid("copied");
    } catch {
      setSaid(all); // no clipboard without https: the digits are shown instead
    }
  };
  return (
    <button
      type="button"
      className="num copy"
      title={`${all} (press to copy)`}
      aria-label={`${name} ${said === "" ? shown : said}, copy ${all}`} // begins with what is seen: it is said by voice
      onClick={() => void copy()}
    >
      {said === "" ? shown : said}
    </button>
  );
}

export function Price({ value, name = "price" }: { value: Exact | null | undefined; name?: string }) {
  return <Copyable value={value} shown={price(value)} name={name} />;
}

export function Size({ value, name, unit = "" }: { value: Exact | null | undefined; name: string; unit?: string }) {
  return <Copyable value={value} shown={unit + compact(value)} name={name} />;
}

/** A change in percent: sign, arrow and colour say the same. */
export function Change({ value, digits = 2 }: { value: Exact | null | undefined; digits?: number }) {
  const found = num(value);
  const shown = percent(value, digits);
  const way = found === null || /^0[.0]* %$/.test(shown) ? "flat" : found > 0 ? "up" : "down";
  const arrow = { up: "▲", down: "▼", flat: "" }[way];
  return (
    <span className={`num ${way}`} title={found === null ? "not known" : `${exact(value)} %`}>
      {arrow !== "" && (
        <span className="arrow" aria-hidden="true">
          {arrow}
        </span>
      )}
      {shown}
    </span>
  );
}

/**
 * A fraction shown in percent, and copied as the fraction it is. `signed`: a change, with sign, arrow and colour; otherwise
 * a part of a whole.
 */
export function Fraction({
  value,
  name,
  digits = 2,
  signed = false,
}: {
  value: Exact | null | undefined;
  name: string;
  digits?: number;
  signed?: boolean;
}) {
  const found = num(value);
  const hundred = found === null ? null : found * 100;
  if (!signed) return <Copyable value={value} shown={share(hundred, digits)} name={name} />;
  const shown = percent(hundred, digits);
  const way = found === null || /^0[.0]* %$/.test(shown) ? "flat" : found > 0 ? "up" : "down";
  return (
    <span className={`num ${way}`}>
      {way !== "flat" && (
        <span className="arrow" aria-hidden="true">
          {way === "up" ? "▲" : "▼"}
        </span>
      )}
      <Copyable value={value} shown={shown} name={name} />
    </span>
  );
}

/** A time in the zone that the reader chose. */
export function Time({
  value,
  precision = "second",
}: {
  value: string | number | null | undefined;
  precision?: Precision;
}) {
  const { zone } = useSettings();
  const found = ms(value);
  if (found === null) return <span>{ABSENT}</span>;
  return <time dateTime={new Date(found).toISOString()}>{time(found, zone, precision)}</time>;
}

/** How old something is, counted on; the full time when pointed at. */
export function Age({ value, stale = false }: { value: string | number | null | undefined; stale?: boolean }) {
  const { zone } = useSettings();
  const now = useNow(1000);
  const found = ms(value);
  if (found === null) return <span>{ABSENT}</span>;
  return (
    <time className={stale ? "old" : ""} dateTime={new Date(found).toISOString()} title={time(found, zone)}>
      {stale && "old: "}
      {age(now - found)}
    </time>
  );
}

/** A name and its value in a list of facts. */
export function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <div className="fact">
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}
