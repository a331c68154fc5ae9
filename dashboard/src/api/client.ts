/** Asks the public API: typed answers, ETags, one shape for every failure. */
import { authorization } from "./token";

/** What every address under /api/v1 answers. `stale`: older than twice the time after which a new row is due. */
export interface Answer<Row> {
  data: Row[];
  count: number;
  next: string | null;
  source: string[];
  as_of: string | null;
  stale: boolean;
  simulated: boolean;
}

export type Params = Record<string, string | number | boolean | null | undefined>;

/** Why a request has no answer; `code` is the API's, NETWORK when nobody answered. `retryAfter` in seconds. */
export class ApiFailure extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly status: number,
    readonly retryAfter: number | null,
  ) {
    super(message);
  }
}

const KEPT = 100; // answers whose ETag is remembered
const kept = new Map<string, { etag: string; body: unknown }>();

/** Return the absolute address of a path of the API ("v1/assets"), right under any sub-path. */
export function address(path: string, params: Params = {}): string {
  const url = new URL(`api/${path}`, document.baseURI);
  url.hash = "";
  for (const [name, value] of Object.entries(params)) {
    if (value !== null && value !== undefined && value !== "") url.searchParams.set(name, String(value));
  }
  return url.href;
}

/** Return the body of any address. Raises ApiFailure, or the AbortError of `signal`. */
export async function get<T>(path: string, params: Params = {}, signal?: AbortSignal): Promise<T> {
  const url = address(path, params);
  const known = kept.get(url);
  const headers: Record<string, string> = { Accept: "application/json", ...authorization() };
  if (known !== undefined) headers["If-None-Match"] = known.etag;
  const response = await ask(url, headers, signal);
  if (response.status === 304 && known !== undefined) return known.body as T;
  if (!response.ok) throw await failure(response);
  const body = (await response.json()) as T;
  remember(url, response.headers.get("ETag"), body);
  return body;
}

/** Return one page of rows. Decimals come as the text the provider sent, to be shown and copied exactly. */
export function rows<Row>(path: string, params: Params = {}, signal?: AbortSignal): Promise<Answer<Row>> {
  return get<Answer<Row>>(`v1/${path}`, { numbers: "string", ...params }, signal);
}

/** Return the rows of all pages, `most` at the most; `next` is set when there were more. */
export async function allRows<Row>(
  path: string,
  params: Params = {},
  signal?: AbortSignal,
  most = 5000,
): Promise<Answer<Row>> {
  let page = await rows<Row>(path, { limit: 1000, ...params }, signal);
  const all = { ...page, data: [...page.data] };
  while (page.next !== null && all.data.length < most) {
    page = await rows<Row>(path, { limit: 1000, ...params, cursor: page.next }, signal);
    all.data.push(...page.data);
    all.stale ||= page.stale;
  }
  return { ...all, count: all.data.length, next: page.next };
}

async function ask(url: string, headers: Record<string, string>, signal?: AbortSignal): Promise<Response> {
  try {
    return await fetch(url, { headers, cache: "no-store", credentials: "same-origin", signal: signal ?? null });
  } catch (error) {
    if (signal?.aborted === true) throw error;
    throw new ApiFailure("NETWORK", "The collector does not answer", 0, null);
  }
}

async function failure(response: Response): Promise<ApiFailure> {
  const wait = Number(response.headers.get("Retry-After")) || null;
  try {
    const body = (await response.json()) as { error?: { code?: string; message?: string } };
    return new ApiFailure(
      body.error?.code ?? "UNKNOWN",
      body.error?.message ?? response.statusText,
      response.status,
      wait,
    );
  } catch {
    return new ApiFailure("UNKNOWN", `Status ${response.status}`, response.status, wait);
  }
}

function remember(url: string, etag: string | null, body: unknown): void {
  kept.delete(url);
  if (etag === null) return;
  kept.set(url, { etag, body });
  const oldest = kept.keys().next();
  if (kept.size > KEPT && oldest.done !== true) kept.delete(oldest.value);
}
