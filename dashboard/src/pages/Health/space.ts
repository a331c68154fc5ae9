/** Disk use as the API tells it, and what is said about it; pure. */
import { num } from "../../format";

export interface DiskTable {
  table: string;
  total_bytes: number;
  rows: number | null;
  bytes_a_day: number | null;
  how: string;
}

/** null: not known; the texts beside it say why. */
export interface Disk {
  database_bytes: number;
  tables: DiskTable[];
  free_bytes: number | null;
  capacity_bytes: number | null;
  free_unknown: string;
  bytes_a_day: number | null;
  days_left: number | null;
  days_left_unknown: string;
}

const SOON_DAYS = 14;
const NEAR_DAYS = 60;

export interface Left {
  level: "good" | "warn" | "bad" | "unknown";
  text: string;
}

/** Return for how long the free space lasts, in words. */
export function daysLeft(disk: Pick<Disk, "days_left" | "days_left_unknown">): Left {
  const days = num(disk.days_left);
  if (days === null) return { level: "unknown", text: "not known" };
  if (days < 1) return { level: "bad", text: "less than a day" };
  const level = days < SOON_DAYS ? "bad" : days < NEAR_DAYS ? "warn" : "good";
  if (days >= 3650) return { level, text: "more than ten years" };
  const text = days >= 730 ? `${Math.floor(days / 365)} years` : `${Math.floor(days)} ${days < 2 ? "day" : "days"}`;
  return { level, text };
}

/** Return the used part of the file system, 0 to 1; null when that is not known. */
export function usedPart(disk: Pick<Disk, "free_bytes" | "capacity_bytes">): number | null {
  const { free_bytes: free, capacity_bytes: capacity } = disk;
  if (free === null || capacity === null || capacity <= 0) return null;
  return Math.min(1, Math.max(0, 1 - free / capacity));
}
