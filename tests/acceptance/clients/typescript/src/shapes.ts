/** What each answer must look like when it arrives. A check covers every field of its interface, or does not compile. */

import type {
  CacheClearAnswer,
  CacheStatsAnswer,
  Candle,
  ErrorAnswer,
  Health,
  Moment,
  Mover,
  OhlcvAnswer,
  OverviewAnswer,
  Price,
  PricesAnswer,
  Provider,
  SentimentAnswer,
} from "./types.js";

/** Returns the value as what it is, or throws with the place of what is wrong. */
export type Check<T> = (value: unknown, place: string) => T;

const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/;
const [YEAR_2009, YEAR_2100] = [1_230_768_000_000, 4_102_444_800_000];

export function fail(place: string, wanted: string, value: unknown): never {
  throw new Error(`${place}: wanted ${wanted}, got ${JSON.stringify(value) ?? String(value)}`);
}

export const text: Check<string> = (value, place) =>
  typeof value === "string" && value !== "" ? value : fail(place, "a text", value);

export const num: Check<number> = (value, place) =>
  typeof value === "number" && Number.isFinite(value) ? value : fail(place, "a number", value);

export const whole: Check<number> = (value, place) =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : fail(place, "a count", value);

export const millis: Check<number> = (value, place) => {
  const found = whole(value, place);
  return found > YEAR_2009 && found < YEAR_2100 ? found : fail(place, "epoch milliseconds", value);
};

export const moment: Check<Moment> = (value, place) => {
  if (typeof value === "number") {
    return millis(value, place);
  }
  const found = text(value, place);
  return ISO.test(found) && !Number.isNaN(Date.parse(found)) ? found : fail(place, "ISO 8601 in UTC", value);
};

export const orNull =
  <T>(check: Check<T>): Check<T | null> =>
  (value, place) =>
    value === null ? null : check(value, place);

export const oneOf =
  <const T extends readonly string[]>(...allowed: T): Check<T[number]> =>
  (value, place) =>
    allowed.find((word) => word === value) ?? fail(place, allowed.join("|"), value);

export const listOf =
  <T>(check: Check<T>): Check<T[]> =>
  (value, place) =>
    Array.isArray(value) ? value.map((item, n) => check(item, `${place}[${n}]`)) : fail(place, "a list", value);

const record: Check<Record<string, unknown>> = (value, place) =>
  typeof value === "object" && value !== null && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value))
    : fail(place, "an object", value);

/** Fields that are not named may be there; named ones must be. */
export const shape =
  <T extends object>(fields: { [K in keyof T]-?: Check<T[K]> }): Check<T> =>
  (value, place) => {
    const found = record(value, place);
    const names = Object.keys(fields) as (keyof T & string)[];
    const checked: Partial<T> = {};
    for (const name of names) {
      if (!(name in found)) {
        fail(`${place}.${name}`, "a field", undefined);
      }
      checked[name] = fields[name](found[name], `${place}.${name}`);
    }
    return checked as T;
  };

const yes: Check<true> = (value, place) => (value === true ? true : fail(place, "true", value));
const no: Check<false> = (value, place) => (value === false ? false : fail(place, "false", value));

const candle = shape<Candle>({ timestamp: millis, open: num, high: num, low: num, close: num, volume: num });

export const ohlcvAnswer = shape<OhlcvAnswer>({
  success: yes,
  data: listOf(candle),
  symbol: text,
  interval: oneOf("1m", "5m", "15m", "1h", "4h", "1d", "1w"),
  count: whole,
  source: text,
  timestamp: moment,
});

const price = shape<Price>({
  symbol: text,
  name: orNull(text),
  price: orNull(num),
  priceUsd: orNull(num),
  change1h: orNull(num),
  change24h: orNull(num),
  change7d: orNull(num),
  volume24h: orNull(num),
  marketCap: orNull(num),
  rank: orNull(whole),
  lastUpdate: orNull(moment),
});

export const pricesAnswer = shape<PricesAnswer>({ data: listOf(price), timestamp: moment, source: text });

export const sentimentAnswer = shape<SentimentAnswer>({
  data: shape<SentimentAnswer["data"]>({
    fearGreed: shape<SentimentAnswer["data"]["fearGreed"]>({ value: num, classification: text, timestamp: moment }),
    news: shape<SentimentAnswer["data"]["news"]>({ bullish: whole, bearish: whole, neutral: whole, total: whole }),
    overall: shape<SentimentAnswer["data"]["overall"]>({ sentiment: text, score: num, confidence: num }),
  }),
});

const movers = listOf(shape<Mover>({ symbol: text }));

export const overviewAnswer = shape<OverviewAnswer>({
  data: shape<OverviewAnswer["data"]>({
    totalMarketCap: num,
    totalVolume24h: num,
    btcDominance: num,
    ethDominance: num,
    activeCoins: whole,
    topGainers: movers,
    topLosers: movers,
    trending: movers,
  }),
});

const provider = shape<Provider>({
  name: text,
  status: oneOf("online", "degraded", "offline"),
  latency: orNull(num),
  lastCheck: orNull(moment),
});

export const health = shape<Health>({
  status: oneOf("healthy", "degraded", "unhealthy"),
  uptime: num,
  version: text,
  providers: listOf(provider),
  cache: shape<Health["cache"]>({ size: whole, hitRate: num }),
});

export const cacheStats = shape<CacheStatsAnswer>({ success: yes });
export const cacheCleared = shape<CacheClearAnswer>({ success: yes });

export const errorAnswer = shape<ErrorAnswer>({
  success: no,
  error: shape<ErrorAnswer["error"]>({
    code: oneOf(
      "INVALID_SYMBOL",
      "INVALID_INTERVAL",
      "INVALID_PARAMETER",
      "PROVIDER_ERROR",
      "RATE_LIMITED",
      "NOT_FOUND",
      "UNAUTHORIZED",
      "INTERNAL_ERROR",
    ),
    message: text,
    details: record,
    retryAfter: orNull(whole),
  }),
  timestamp: moment,
});
