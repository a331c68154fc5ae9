/** Times on the axes of Chart.js, in UTC or local time, without a date library. */
import { _adapters, type DateAdapter, type TimeUnit } from "chart.js";

import { ms, time, type Zone } from "../format";

const LENGTH: Record<TimeUnit, number> = {
  millisecond: 1,
  second: 1000,
  minute: 60_000,
  hour: 3_600_000,
  day: 86_400_000,
  week: 7 * 86_400_000,
  month: 30 * 86_400_000,
  quarter: 91 * 86_400_000,
  year: 365 * 86_400_000,
};
const MONTHS: Partial<Record<TimeUnit, number>> = { month: 1, quarter: 3, year: 12 };
const FORMATS = {
  millisecond: "second",
  second: "second",
  minute: "clock",
  hour: "hour",
  day: "day",
  week: "day",
  month: "month",
  quarter: "month",
  year: "year",
  datetime: "datetime",
};

/** Return the adapter of a zone; weeks start on Monday. */
export function dateAdapter(zone: Zone) {
  const offset = (at: number) => (zone === "utc" ? 0 : new Date(at).getTimezoneOffset() * 60_000);
  const add = (at: number, amount: number, unit: TimeUnit): number => {
    const months = MONTHS[unit];
    if (months === undefined) return at + amount * LENGTH[unit];
    const day = new Date(at - offset(at));
    const to = day.setUTCMonth(day.getUTCMonth() + amount * months);
    return to + offset(to);
  };
  const startOf = (at: number, unit: TimeUnit | "isoWeek"): number => {
    const shifted = at - offset(at);
    const day = new Date(shifted);
    const back = (start: number) => start + offset(start);
    if (unit === "week" || unit === "isoWeek")
      return back(Math.floor((shifted - 4 * LENGTH.day) / LENGTH.week) * LENGTH.week + 4 * LENGTH.day);
    const months = MONTHS[unit];
    if (months === undefined) return back(Math.floor(shifted / LENGTH[unit]) * LENGTH[unit]);
    return back(Date.UTC(day.getUTCFullYear(), Math.floor(day.getUTCMonth() / months) * months, 1));
  };
  return {
    parse: (value: unknown) => ms(value as string | number | null),
    format: (at: number, format: string) => axisText(at, format, zone),
    add,
    diff: (to: number, from: number, unit: TimeUnit) => Math.trunc((to - from) / LENGTH[unit]),
    startOf,
    endOf: (at: number, unit: TimeUnit) => add(startOf(at, unit), 1, unit) - 1,
  };
}

/** Give Chart.js the adapters; a scale chooses by its options: adapters: { date: { zone: "utc" } }. */
export function installDateAdapters(): void {
  const both = { utc: dateAdapter("utc"), local: dateAdapter("local") };
  const of = (self: DateAdapter) => both[(self.options as { zone?: Zone }).zone ?? "utc"];
  _adapters._date.override({
    formats: () => FORMATS,
    parse: both.utc.parse,
    format(at, format) {
      return of(this).format(at, format);
    },
    add(at, amount, unit) {
      return of(this).add(at, amount, unit);
    },
    diff: both.utc.diff,
    startOf(at, unit) {
      return of(this).startOf(at, unit);
    },
    endOf(at, unit) {
      return of(this).endOf(at, unit);
    },
  });
}

/** Return the words of one tick; `format` is one of the values of FORMATS. */
export function axisText(at: number, format: string, zone: Zone): string {
  const full = time(at, zone, "second", true);
  const parts: Record<string, string> = {
    second: full.slice(11),
    clock: full.slice(11, 16),
    hour: full.slice(5, 16),
    day: full.slice(5, 10),
    month: full.slice(0, 7),
    year: full.slice(0, 4),
  };
  return parts[format] ?? time(at, zone, "minute");
}
