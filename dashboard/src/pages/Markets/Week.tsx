/** The last seven days of one asset as a small line, loaded when its row is first seen. */
import { useEffect, useRef, useState } from "react";

import { rows, type Candle } from "../../api";
import { num, percent } from "../../format";
import { Sparkline } from "../../ui";
import { hourly } from "./week";
import { queued } from "./queue";

const HOUR = 3_600_000;
const HOURS = 168;
const KEPT = new Map<string, { at: number; values: (number | null)[] }>();

export function Week({ instrument, symbol }: { instrument: string | null; symbol: string }) {
  const place = useRef<HTMLSpanElement>(null);
  const [isSeen, setSeen] = useState(false);
  const [values, setValues] = useState<(number | null)[] | null>(() => fresh(instrument));

  useEffect(() => {
    if (place.current === null) return;
    const seen = new IntersectionObserver((entries) => {
      if (entries.some((entry) => entry.isIntersecting)) setSeen(true);
    });
    seen.observe(place.current);
    return () => seen.disconnect();
  }, []);

  useEffect(() => {
    if (!isSeen || instrument === null) return;
    const stop = new AbortController();
    const load = async () => {
      const known = fresh(instrument);
      const page =
        known ??
        hourly(
          (await rows<Candle>("candles", { instrument, interval: "1h", limit: HOURS }, stop.signal)).data,
          Date.now(),
        );
      KEPT.set(instrument, { at: KEPT.get(instrument)?.at ?? Date.now(), values: page });
      if (!stop.signal.aborted) setValues(page);
    };
    void queued(load, stop.signal).catch(() => {
      if (!stop.signal.aborted) setValues([]); // a line less; the table itself says what is wrong with the API
    });
    return () => stop.abort();
  }, [isSeen, instrument]);

  const known = (values ?? []).filter((value) => value !== null);
  const [first, last] = [num(known[0]), num(known.at(-1))];
  const change = first === null || last === null || first === 0 ? null : (last / first - 1) * 100;
  return (
    <span ref={place} className="spark">
      {values !== null && <Sparkline values={values} label={`${symbol}, 7 days: ${percent(change)}`} />}
    </span>
  );
}

function fresh(instrument: string | null): (number | null)[] | null {
  const known = instrument === null ? undefined : KEPT.get(instrument);
  if (known !== undefined && Date.now() - known.at > HOUR) {
    KEPT.delete(instrument ?? "");
    return null;
  }
  return known?.values ?? null;
}
