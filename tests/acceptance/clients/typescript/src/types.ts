/** The answers of the unified endpoints, as their users know them. */

/** Milliseconds since the epoch where it is a number, ISO 8601 in UTC where it is a text. */
export type Moment = number | string;

export type Interval = "1m" | "5m" | "15m" | "1h" | "4h" | "1d" | "1w";
export type Currency = "USD" | "USDT";

export interface Candle {
  timestamp: number;
  open: number;
  high: number;
  low: number;
  close: number;
  volume: number;
}

export interface OhlcvAnswer {
  success: true;
  data: Candle[];
  symbol: string;
  interval: Interval;
  count: number;
  source: string;
  timestamp: Moment;
}

/** null: not known. */
export interface Price {
  symbol: string;
  name: string | null;
  price: number | null;
  priceUsd: number | null;
  change1h: number | null;
  change24h: number | null;
  change7d: number | null;
  volume24h: number | null;
  marketCap: number | null;
  rank: number | null;
  lastUpdate: Moment | null;
}

export interface PricesAnswer {
  data: Price[];
  timestamp: Moment;
  source: string;
}

export interface Sentiment {
  fearGreed: { value: number; classification: string; timestamp: Moment };
  news: { bullish: number; bearish: number; neutral: number; total: number };
  overall: { sentiment: string; score: number; confidence: number };
}

export interface SentimentAnswer {
  data: Sentiment;
}

/** An entry of the lists of the overview; its other fields are those of a price. */
export interface Mover {
  symbol: string;
}

export interface Overview {
  totalMarketCap: number;
  totalVolume24h: number;
  btcDominance: number;
  ethDominance: number;
  activeCoins: number;
  topGainers: Mover[];
  topLosers: Mover[];
  trending: Mover[];
}

export interface OverviewAnswer {
  data: Overview;
}

export interface Provider {
  name: string;
  status: "online" | "degraded" | "offline";
  latency: number | null;
  lastCheck: Moment | null;
}

export interface Health {
  status: "healthy" | "degraded" | "unhealthy";
  uptime: number;
  version: string;
  providers: Provider[];
  cache: { size: number; hitRate: number };
}

export interface CacheStatsAnswer {
  success: true;
}

export interface CacheClearAnswer {
  success: true;
}

export type ErrorCode =
  | "INVALID_SYMBOL"
  | "INVALID_INTERVAL"
  | "INVALID_PARAMETER"
  | "PROVIDER_ERROR"
  | "RATE_LIMITED"
  | "NOT_FOUND"
  | "UNAUTHORIZED"
  | "INTERNAL_ERROR";

export interface ErrorAnswer {
  success: false;
  error: {
    code: ErrorCode;
    message: string;
    details: Record<string, unknown>;
    retryAfter: number | null;
  };
  timestamp: Moment;
}
