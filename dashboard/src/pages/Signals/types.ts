/** Rows that only this page reads, as docs/data-dictionary.md describes them; null: not known. */
import type { Exact } from "../../api";

/** What one kind of signal on one interval says: the mean of its signals' strengths, by instrument and rule. */
export interface Member {
  weight: number;
  strength: number;
  signals: Record<string, number>;
}

export interface AssetView {
  asset_id: string;
  symbol: string | null;
  name: string | null;
  as_of: string;
  score: Exact | null;
  zscore: Exact | null;
  rank: number | null;
  confidence: Exact | null;
  agreement: Exact | null;
  coverage: Exact | null;
  signals: number;
  members: Record<string, Member>;
}

export interface Signal {
  instrument: string;
  interval: string;
  name: string;
  parameter_hash: string;
  version: number;
  bar_end: string;
  kind: string;
  /** 1 speaks for rising prices, -1 for falling ones, 0 for neither. */
  direction: number;
  state: string;
  strength: Exact | null;
  price: Exact | null;
}

export interface Performance {
  interval: string;
  kind: string;
  name: string;
  horizon: number;
  outcomes: number;
  hits: number;
  hit_rate: Exact | null;
  mean_return: Exact | null;
  holes: number;
  first_bar_end: string | null;
  last_bar_end: string | null;
}

export interface Run {
  portfolio: string;
  as_of: string;
  state: string;
  reason: string;
  expected_return: Exact | null;
  expected_volatility: Exact | null;
  turnover: Exact | null;
  assets: number | null;
  left_out: Record<string, string>;
}

export interface Weight {
  portfolio: string;
  as_of: string;
  asset_id: string;
  symbol: string | null;
  name: string | null;
  market_weight: Exact | null;
  view_return: Exact | null;
  confidence: Exact | null;
  prior_return: Exact | null;
  posterior_return: Exact | null;
  weight: Exact | null;
  previous_weight: Exact | null;
}

export interface Equity {
  portfolio: string;
  day: string;
  equity: Exact | null;
  bitcoin: Exact | null;
  market: Exact | null;
  turnover: Exact | null;
  fees: Exact | null;
}

export interface Breadth {
  span: string;
  as_of: string;
  assets: number;
  advancing: number;
  declining: number;
  unchanged: number;
  sma_assets: number;
  above_sma: number;
  new_highs: number;
  new_lows: number;
  advance_share: Exact | null;
}
