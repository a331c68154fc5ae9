import type { Candle } from "../../api";
import { num } from "../../format";

const HOUR = 3_600_000;
const HOURS = 168;

/** Return the closes of the 168 hours before `now`, oldest first; an hour without a bar is null. Pure. */
export function hourly(candles: Candle[], now: number): (number | null)[] {
  const end = Math.floor(now / HOUR);
  const byHour = new Map(candles.map((bar) => [Math.floor(Date.parse(bar.open_time) / HOUR), num(bar.close)]));
  return Array.from({ length: HOURS }, (_, at) => byHour.get(end - HOURS + at) ?? null);
}
