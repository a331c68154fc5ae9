/** A client of the unified endpoints: one method for each, every answer checked when it arrives. */

import axios, { type AxiosInstance, type AxiosResponse } from "axios";

import * as shapes from "./shapes.js";
import type {
  CacheClearAnswer,
  CacheStatsAnswer,
  ErrorAnswer,
  Health,
  OhlcvAnswer,
  OverviewAnswer,
  PricesAnswer,
  SentimentAnswer,
} from "./types.js";

/** Everything that is not a 2xx. `retryAfter` is the header of that name. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    readonly answer: ErrorAnswer,
    readonly retryAfter: string | undefined,
  ) {
    super(`HTTP ${status} ${answer.error.code}: ${answer.error.message}`);
  }
}

export class UnifiedClient {
  readonly #http: AxiosInstance;

  constructor(baseURL: string) {
    this.#http = axios.create({ baseURL, timeout: 20_000, proxy: false, validateStatus: () => true });
  }

  async health(): Promise<Health> {
    return shapes.health(await this.get("/api/health"), "health");
  }

  async ohlcv(symbol: string, interval?: string, limit?: number): Promise<OhlcvAnswer> {
    const query = { symbol, interval, limit };
    return shapes.ohlcvAnswer(await this.get("/api/ohlcv", query), `ohlcv ${symbol} ${interval}`);
  }

  async prices(symbols?: readonly string[], convert?: string): Promise<PricesAnswer> {
    const query = { symbols: symbols?.join(","), convert };
    return shapes.pricesAnswer(await this.get("/api/prices", query), `prices ${query.symbols}`);
  }

  async sentiment(): Promise<SentimentAnswer> {
    return shapes.sentimentAnswer(await this.get("/api/sentiment"), "sentiment");
  }

  async overview(): Promise<OverviewAnswer> {
    return shapes.overviewAnswer(await this.get("/api/market/overview"), "overview");
  }

  async cacheStats(): Promise<CacheStatsAnswer> {
    return shapes.cacheStats(await this.get("/api/cache/stats"), "cache stats");
  }

  async clearCache(): Promise<CacheClearAnswer> {
    return shapes.cacheCleared(UnifiedClient.#body(await this.#http.post("/api/cache/clear")), "cache clear");
  }

  async get(path: string, params: Record<string, string | number | undefined> = {}): Promise<unknown> {
    return UnifiedClient.#body(await this.#http.get(path, { params }));
  }

  static #body(response: AxiosResponse<unknown>): unknown {
    if (response.status >= 200 && response.status < 300) {
      return response.data;
    }
    const told: unknown = response.headers["retry-after"];
    const answer = shapes.errorAnswer(response.data, `HTTP ${response.status}`);
    throw new Refused(response.status, answer, typeof told === "string" ? told : undefined);
  }
}
