/** One thing a page shows: asked for, kept while it is renewed, and honest about failures and age. */
import { useCallback, useEffect, useState } from "react";

import { allRows, ApiFailure, rows, type Answer, type Params } from "./client";
import { TOKEN_CHANGED } from "./token";

export interface Resource<T> {
  /** The last good answer; kept while a newer one fails, null before the first. */
  data: T | null;
  error: ApiFailure | null;
  loading: boolean;
  /** When `data` came, in ms. */
  at: number | null;
  reload: () => void;
  /** Change the kept answer in place, as rows of the stream do. */
  patch: (change: (old: T) => T) => void;
}

interface Held<T> {
  key: string | null;
  data: T | null;
  error: ApiFailure | null;
  at: number | null;
}

const RETRY_S = 10;

/**
 * Load what `key` stands for, again every `every` ms (null: once) while the page is visible. `load` is called anew when
 * `key` changes, and only then: everything it depends on belongs in the key. A null key asks for nothing.
 */
export function useResource<T>(
  key: string | null,
  load: (signal: AbortSignal) => Promise<T>,
  every: number | null = null,
): Resource<T> {
  const [held, setHeld] = useState<Held<T>>({ key: null, data: null, error: null, at: null });
  const [round, setRound] = useState(0);

  useEffect(() => {
    if (key === null) return;
    const stop = new AbortController();
    let timer: number | undefined;
    const again = (ms: number) => {
      window.clearTimeout(timer);
      timer = window.setTimeout(() => void run(), ms);
    };
    let refused = false; // for want of a token
    let missed = false; // a round that was due while nobody looked
    const run = async () => {
      missed = document.hidden;
      if (missed) return;
      try {
        const data = await load(stop.signal);
        if (stop.signal.aborted) return;
        setHeld({ key, data, error: null, at: Date.now() });
        if (every !== null) again(every);
      } catch (error) {
        if (stop.signal.aborted) return;
        const failed = error instanceof ApiFailure ? error : new ApiFailure("DEFECT", String(error), 0, null);
        setHeld((old) => ({ ...(old.key === key ? old : { data: null, at: null }), key, error: failed }));
        refused = failed.status === 401;
        if (failed.status !== 401 && failed.status !== 404 && failed.status !== 400)
          again((failed.retryAfter ?? RETRY_S) * 1000);
      }
    };
    const shown = () => {
      if (missed && !document.hidden) void run();
    };
    const told = () => {
      if (refused) void run();
    };
    document.addEventListener("visibilitychange", shown);
    window.addEventListener(TOKEN_CHANGED, told);
    void run();
    return () => {
      stop.abort();
      window.clearTimeout(timer);
      document.removeEventListener("visibilitychange", shown);
      window.removeEventListener(TOKEN_CHANGED, told);
    };
    // eslint-disable-next-line react-hooks/exhaustive-deps -- `load` is named by `key`
  }, [key, every, round]);

  const reload = useCallback(() => setRound((n) => n + 1), []);
  const patch = useCallback(
    (change: (old: T) => T) =>
      setHeld((old) => (old.data === null ? old : { ...old, data: change(old.data), at: Date.now() })),
    [],
  );
  const mine = held.key === key && key !== null;
  return {
    data: mine ? held.data : null,
    error: mine ? held.error : null,
    loading: key !== null && (!mine || (held.data === null && held.error === null)),
    at: mine ? held.at : null,
    reload,
    patch,
  };
}

/** The same for one page of rows of /api/v1; a null path asks for nothing. `all`: every page, that many rows at most. */
export function useRows<Row>(
  path: string | null,
  params: Params = {},
  options: { every?: number | null; all?: number } = {},
): Resource<Answer<Row>> {
  const key = path === null ? null : JSON.stringify([path, params, options.all ?? null]);
  return useResource(
    key,
    (signal) =>
      options.all === undefined
        ? rows<Row>(path ?? "", params, signal)
        : allRows<Row>(path ?? "", params, signal, options.all),
    options.every ?? null,
  );
}
