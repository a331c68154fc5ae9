/** New rows as they are committed, over one connection that comes back by itself and resumes where it stopped. */
import { useEffect, useRef, useState } from "react";

import { address } from "./client";
import { EventReader, type ServerEvent } from "./events";
import { authorization } from "./token";

export interface StreamRows {
  kind: string;
  source: string | null;
  as_of: string | null;
  count: number;
  left_out: number;
  rows: Record<string, unknown>[];
}

/** `live`: events come as they happen; `waiting`: the connection is lost and tried again; `paused`: nobody looks. */
export type StreamState = "connecting" | "live" | "waiting" | "paused";

export interface StreamWish {
  /** markets, global, sentiments, tickers, mark_prices, order_books, open_interest, funding_forecasts, funding, candles, indicators */
  kinds: string[];
  /** Assets, pairs or instruments; empty: all. */
  symbols?: string[];
  interval?: string;
}

const RETRY_MS = 3000;
const MOST_RETRY_MS = 60_000;
const SILENCE_MS = 45_000; // the server says something every 15 s; a connection that says less is dead

/**
 * Follow rows while the page is visible. A client may have four streams: use one per page. `onRows` may be called twice
 * for one row after a reconnection; `onReset` says that rows were missed: load what is shown anew.
 */
export function useStream(
  wish: StreamWish | null,
  onRows: (news: StreamRows) => void,
  onReset: () => void,
): StreamState {
  const [state, setState] = useState<StreamState>("connecting");
  const handlers = useRef({ onRows, onReset });
  useEffect(() => {
    handlers.current = { onRows, onReset };
  });
  const url =
    wish === null
      ? null
      : address("v1/stream", {
          kinds: wish.kinds.join(","),
          symbols: wish.symbols?.join(","),
          interval: wish.interval,
          numbers: "string",
        });

  useEffect(() => {
    if (url === null) return;
    const stream = new Follower(url, setState, (event) => {
      if (event.event === "reset") handlers.current.onReset();
      else if (event.event !== "ready" && event.event !== "end")
        handlers.current.onRows(JSON.parse(event.data) as StreamRows);
    });
    const look = () => (document.hidden ? stream.pause() : stream.open());
    document.addEventListener("visibilitychange", look);
    look();
    return () => {
      document.removeEventListener("visibilitychange", look);
      stream.pause();
    };
  }, [url]);
  return state;
}

class Follower {
  private reader = new EventReader();
  private stop: AbortController | null = null;
  private timer: number | undefined;
  private failures = 0;

  constructor(
    private readonly url: string,
    private readonly tell: (state: StreamState) => void,
    private readonly hand: (event: ServerEvent) => void,
  ) {}

  open(): void {
    if (this.stop !== null) return;
    this.stop = new AbortController();
    void this.run(this.stop);
  }

  pause(): void {
    window.clearTimeout(this.timer);
    this.stop?.abort();
    this.stop = null;
    this.tell("paused");
  }

  private async run(stop: AbortController): Promise<void> {
    this.tell("connecting");
    const wait = await this.follow(stop);
    if (stop.signal.aborted) return;
    this.tell("waiting");
    this.timer = window.setTimeout(() => void this.run(stop), wait);
  }

  /** Read until the connection ends; return after how many ms to try again. */
  private async follow(stop: AbortController): Promise<number> {
    const id = this.reader.lastId;
    const retryMs = this.reader.retryMs ?? RETRY_MS;
    this.reader = new EventReader();
    this.reader.lastId = id;
    const quiet = new AbortController();
    let alarm = window.setTimeout(() => quiet.abort(), SILENCE_MS);
    try {
      const response = await fetch(this.url, {
        headers: { Accept: "text/event-stream", ...authorization(), ...(id === null ? {} : { "Last-Event-ID": id }) },
        cache: "no-store",
        signal: AbortSignal.any([stop.signal, quiet.signal]),
      });
      if (!response.ok || response.body === null) {
        return (Number(response.headers.get("Retry-After")) || 10) * 1000;
      }
      this.tell("live");
      this.failures = 0;
      const text = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { done, value } = await text.read();
        if (done) break;
        window.clearTimeout(alarm);
        alarm = window.setTimeout(() => quiet.abort(), SILENCE_MS);
        for (const event of this.reader.read(value)) this.hand(event);
      }
      return retryMs;
    } catch {
      // Nobody answers, the connection broke, or it was silent too long: the same remedy.
      this.failures += 1;
      return Math.min(MOST_RETRY_MS, retryMs * 2 ** Math.min(this.failures - 1, 5));
    } finally {
      window.clearTimeout(alarm);
    }
  }
}
