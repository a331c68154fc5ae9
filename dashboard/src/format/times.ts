/** Times for people: UTC unless the reader switched to local, and ages in words. */

export type Zone = "utc" | "local";

const FORMATS = new Map<string, Intl.DateTimeFormat>();

const PARTS: Record<string, Intl.DateTimeFormatOptions> = {
  date: { year: "numeric", month: "2-digit", day: "2-digit" },
  minute: { year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit" },
  second: { year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit" },
};

export type Precision = "date" | "minute" | "second";

/** Return milliseconds since the epoch; null for what is no time. */
export function ms(value: string | number | null | undefined): number | null {
  if (value === null || value === undefined) return null;
  const found = typeof value === "number" ? value : Date.parse(value);
  return Number.isFinite(found) ? found : null;
}

/** Return 2026-01-31 15:30:00, with UTC or the local offset behind it unless `bare`. */
export function time(
  value: string | number | null | undefined,
  zone: Zone,
  precision: Precision = "second",
  bare = false,
): string {
  const found = ms(value);
  if (found === null) return "–";
  const parts = Object.fromEntries(
    formatter(zone, precision)
      .formatToParts(found)
      .map((p) => [p.type, p.value]),
  );
  const day = `${parts.year ?? ""}-${parts.month ?? ""}-${parts.day ?? ""}`;
  const clock = precision === "date" ? "" : ` ${parts.hour ?? ""}:${parts.minute ?? ""}`;
  const seconds = precision === "second" ? `:${parts.second ?? ""}` : "";
  return `${day}${clock}${seconds}${bare ? "" : ` ${zoneName(found, zone)}`}`;
}

/** Return UTC, or the local offset at that time: UTC+2. */
export function zoneName(at: number, zone: Zone): string {
  if (zone === "utc") return "UTC";
  const minutes = -new Date(at).getTimezoneOffset();
  const hours = Math.floor(Math.abs(minutes) / 60);
  const rest = Math.abs(minutes) % 60;
  return `UTC${minutes < 0 ? "−" : "+"}${hours}${rest === 0 ? "" : `:${String(rest).padStart(2, "0")}`}`;
}

/** Return how long something takes or is ago: 12 s, 3 min, 2 h, 5 d. Two units below ten of the larger one. */
export function age(milliseconds: number | null): string {
  if (milliseconds === null) return "–";
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return pair(seconds, 3600, "h", 60, "min");
  return pair(seconds, 86_400, "d", 3600, "h");
}

function pair(seconds: number, unit: number, name: string, part: number, partName: string): string {
  const units = Math.floor(seconds / unit);
  const rest = Math.floor((seconds % unit) / part);
  return units < 10 && rest > 0 ? `${units} ${name} ${rest} ${partName}` : `${units} ${name}`;
}

function formatter(zone: Zone, precision: Precision): Intl.DateTimeFormat {
  const key = `${zone} ${precision}`;
  let format = FORMATS.get(key);
  if (format === undefined) {
    format = new Intl.DateTimeFormat("en-CA", {
      ...PARTS[precision],
      hourCycle: "h23",
      ...(zone === "utc" ? { timeZone: "UTC" } : {}),
    });
    FORMATS.set(key, format);
  }
  return format;
}
