/** Rows of the public API, as docs/api.md and docs/data-dictionary.md describe them; null: the provider did not say. */

/** A decimal as the provider wrote it, or a 64-bit float. */
export type Exact = string | number;

export interface Health {
  status: "healthy" | "degraded" | "unhealthy";
  uptime: number;
  version: string;
  providers: {
    name: string;
    status: "online" | "degraded" | "offline";
    latency: number | null;
    lastCheck: string | null;
    reason: string | null;
  }[];
  timestamp: string;
  simulated: boolean;
  database: { status: string; reason: string | null };
  lastCycle: { id: number; cadence: string; state: string; startedAt: string; finishedAt: string | null } | null;
  newestRows: Record<string, number | null>;
}

export interface Mover {
  symbol: string;
  name: string;
  price: number | null;
  change24h: number | null;
  volume24h: number | null;
  marketCap: number | null;
  rank: number | null;
}

export interface Overview {
  data: {
    totalMarketCap: number | null;
    totalVolume24h: number | null;
    btcDominance: number | null;
    ethDominance: number | null;
    activeCoins: number | null;
    topGainers: Mover[];
    topLosers: Mover[];
    trending: Mover[];
  };
  timestamp: string;
  stale?: boolean;
  asOf?: string | null;
}

export interface Market {
  asset_id: string;
  symbol: string;
  name: string;
  observed_at: string;
  price_usd: Exact | null;
  market_cap_usd: Exact | null;
  rank: number | null;
  volume_24h_usd: Exact | null;
  high_24h_usd: Exact | null;
  low_24h_usd: Exact | null;
  change_1h_pct: Exact | null;
  change_24h_pct: Exact | null;
  change_7d_pct: Exact | null;
  circulating_supply: Exact | null;
  max_supply: Exact | null;
  ath_usd: Exact | null;
  ath_at: string | null;
  source: string;
  stale?: boolean;
}

export interface Global {
  observed_at: string;
  market_cap_usd: Exact | null;
  volume_24h_usd: Exact | null;
  btc_dominance_pct: Exact | null;
  eth_dominance_pct: Exact | null;
  market_cap_change_24h_pct: Exact | null;
  active_assets: number | null;
  source: string;
}

export interface Sentiment {
  observed_at: string;
  value: number;
  classification: string;
  source: string;
}

export interface Instrument {
  instrument: string;
  venue: string;
  base: string;
  quote: string;
  kind: string;
  status: string;
  tradable: boolean;
  tick_size: Exact | null;
  asset_id: string | null;
  asset_units: Exact | null;
  followed: boolean;
  gone_at: string | null;
}

export interface Candle {
  instrument: string;
  interval: string;
  open_time: string;
  open: Exact;
  high: Exact;
  low: Exact;
  close: Exact;
  volume: Exact | null;
  source: string;
}

export interface Indicators {
  instrument: string;
  interval: string;
  open_time: string;
  warm: boolean;
  [column: string]: Exact | boolean | Record<string, number | null> | null;
}

export interface Gap {
  series: string;
  instrument: string;
  interval: string | null;
  since: string;
  until: string;
  state: string;
  reason: string;
  next_try_at: string | null;
}

export interface Coverage {
  series: string;
  instrument: string | null;
  dataset: string;
  interval: string | null;
  since: string | null;
  until: string | null;
  held_s: number;
  missing_s: number;
  provider_has_none_s: number;
  holes: number;
  sources: string[];
  next_try_at: string | null;
}

export interface Funding {
  instrument: string;
  funding_time: string;
  rate: Exact | null;
  source: string;
  stale?: boolean;
}

export interface FundingForecast extends Funding {
  observed_at: string;
}

export interface OpenInterest {
  instrument: string;
  observed_at: string;
  open_interest: Exact | null;
  value_usd: Exact | null;
  source: string;
  stale?: boolean;
}

export interface OrderBook {
  instrument: string;
  observed_at: string;
  bid_prices: Exact[];
  bid_sizes: Exact[];
  ask_prices: Exact[];
  ask_sizes: Exact[];
  best_bid: Exact | null;
  best_ask: Exact | null;
  spread_bps: number | null;
  imbalance: number | null;
  depth_bid_10bps: Exact | null;
  depth_ask_10bps: Exact | null;
  depth_bid_50bps: Exact | null;
  depth_ask_50bps: Exact | null;
  reach_bid_bps: number | null;
  reach_ask_bps: number | null;
  source: string;
  stale?: boolean;
}

export interface Ticker {
  instrument: string;
  observed_at: string;
  last_price: Exact | null;
  bid_price: Exact | null;
  ask_price: Exact | null;
  volume_24h: Exact | null;
  quote_volume_24h: Exact | null;
  change_24h_pct: Exact | null;
  source: string;
  stale?: boolean;
}
