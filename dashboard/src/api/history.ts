/** The newest rows of one series and, page by page, older ones; new rows are woven in as the stream brings them. */
import { useCallback, useEffect, useRef, useState } from "react";

import { rows, type Answer, type Params } from "./client";
import { useResource, type Resource } from "./resource";

const PAGE = 1000;
const MOST = 20_000; // rows held; enough for two weeks of minutes

export interface History<Row> extends Resource<Answer<Row>> {
  /** Load the page before the oldest row; does nothing while one is under way or when there is none. */
  older: () => void;
  /** Weave in rows that came since. */
  add: (fresh: Row[]) => void;
}

/** `weave` puts rows in order, the newest first and each once. A null path asks for nothing. */
export function useHistory<Row>(
  path: string | null,
  params: Params,
  weave: (old: readonly Row[], fresh: readonly Row[]) => Row[],
  every: number,
): History<Row> {
  const key = path === null ? null : JSON.stringify([path, params]);
  const held = useRef<{ key: string | null; page: Answer<Row> | null }>({ key: null, page: null });
  const busy = useRef(false);
  const [asked, setAsked] = useState<AbortController | null>(null);

  const load = async (signal: AbortSignal): Promise<Answer<Row>> => {
    const fresh = await rows<Row>(path ?? "", { limit: PAGE, ...params }, signal);
    const old = held.current.key === key ? held.current.page : null;
    if (old === null || fresh.data.length === 0) return fresh;
    return { ...fresh, next: old.next, data: weave(old.data, fresh.data).slice(0, MOST) };
  };
  const resource = useResource(key, load, every);
  const { data, patch } = resource;
  useEffect(() => {
    held.current = { key, page: data };
  }, [key, data]);
  useEffect(() => () => asked?.abort(), [asked, key]);

  const older = useCallback(() => {
    const next = held.current.page?.next ?? null;
    if (busy.current || path === null || next === null || (held.current.page?.data.length ?? 0) >= MOST) return;
    const stop = new AbortController();
    busy.current = true;
    setAsked(stop);
    rows<Row>(path, { limit: PAGE, ...(JSON.parse(key ?? "[]") as [string, Params])[1], cursor: next }, stop.signal)
      .then((page) => {
        if (!stop.signal.aborted) patch((old) => ({ ...old, next: page.next, data: weave(old.data, page.data) }));
      })
      .catch(() => undefined) // the next look to the left asks again
      .finally(() => {
        busy.current = false;
      });
  }, [path, key, patch, weave]);
  const add = useCallback(
    (fresh: Row[]) => patch((old) => ({ ...old, data: weave(old.data, fresh).slice(0, MOST) })),
    [patch, weave],
  );
  return { ...resource, older, add };
}
