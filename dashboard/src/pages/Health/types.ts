/** Rows that only this page reads, as docs/data-dictionary.md describes them; null: not known. */
import type { Exact } from "../../api";

export interface Cycle {
  cycle_id: number;
  cadence: string;
  /** running, ok, partial, failed or abandoned. */
  state: string;
  started_at: string;
  finished_at: string | null;
  folder: string;
  rows_written: number;
  indicator_rows: number;
  jobs_ok: number;
  jobs_failed: number;
  jobs_skipped: number;
  rejects: number;
}

/** What one provider did in one cycle; `rows` by table. */
export interface SourceReport {
  source: string;
  rows: Record<string, number>;
  jobs_ok: number;
  jobs_failed: number;
  jobs_skipped: number;
  rejects: number;
  requests: number;
  retries: number;
  waited_s: number;
  duration_s: number;
  /** Distinct one-line messages. */
  errors: string[];
}

export interface CycleReport {
  data: Cycle & { report: { sources: SourceReport[] } | null };
}

export interface Job {
  job_id: number;
  source: string;
  dataset: string;
  subject: string;
  interval: string | null;
  state: string;
  error: string;
}

export interface Source {
  source: string;
  enabled: boolean;
  status: "online" | "degraded" | "offline" | null;
  reason: string;
  latency_ms: number | null;
  paused_until: string | null;
  banned: boolean;
  denied: boolean;
  clock_offset_s: number | null;
  jobs_ok: number;
  jobs_failed: number;
  jobs_skipped: number;
  rows_written: number;
  rejects: number;
  last_ok_at: string | null;
  last_error: string | null;
  last_error_at: string | null;
}

export interface Budget {
  source: string;
  scope: string;
  window_s: number;
  capacity: number;
  used: number;
  updated_at: string;
}

export interface LostSnapshots {
  source: string;
  dataset: string;
  error: string;
  cycles: number;
  first_at: string;
  last_at: string;
}

export interface Reject {
  job_id: number;
  seq: number;
  at: string;
  source: string;
  dataset: string;
  reason: string;
  detail: string;
}

export interface Revision {
  revision_id: number;
  table_name: string;
  subject: string;
  key: Record<string, unknown>;
  source: string;
  columns: string[];
  old: Record<string, unknown>;
  new: Record<string, unknown>;
  cause: string;
  detected_at: string;
}

export interface Suspect {
  dataset: string;
  subject: string;
  source: string;
  observed_at: string;
  kind: string;
  value: Exact;
  reference: Exact;
  reference_source: string;
  detail: string;
}
