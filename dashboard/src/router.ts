/** Addresses inside the page: #/asset/bitcoin?interval=1h. Behind the #, so that they work under any sub-path. */
import { useMemo, useSyncExternalStore } from "react";

export interface Route {
  /** First part of the path; empty at the start. */
  page: string;
  rest: string[];
  query: URLSearchParams;
}

export function parse(hash: string): Route {
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const [page = "", ...rest] = path.split("/").map(decoded);
  return { page, rest: rest.filter((part) => part !== ""), query: new URLSearchParams(query) };
}

/** Return the address of a page: href("asset", ["bitcoin"], {interval: "1h"}). */
export function href(page: string, rest: string[] = [], query: Record<string, string | null> = {}): string {
  const told = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== null && value !== "") told.set(name, value);
  const text = told.toString();
  return `#/${[page, ...rest].map(encodeURIComponent).join("/")}${text === "" ? "" : `?${text}`}`;
}

export function useRoute(): Route {
  const hash = useSyncExternalStore(subscribe, () => window.location.hash);
  return useMemo(() => parse(hash), [hash]);
}

/** Change parts of the query of the address (null removes one), without a new entry in the history. */
export function changeQuery(change: Record<string, string | null>): void {
  const { page, rest, query } = parse(window.location.hash);
  window.location.replace(href(page, rest, { ...Object.fromEntries(query), ...change }));
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function subscribe(listener: () => void): () => void {
  window.addEventListener("hashchange", listener);
  return () => window.removeEventListener("hashchange", listener);
}
