/** Arithmetic of comparing closes; pure. A figure that its bars do not allow is null. */

export interface Close {
  at: number;
  close: number;
}

/** Return closes as a line that starts at 100: 100 x close / first close. */
export function normalised(closes: readonly Close[]): { x: number; y: number }[] {
  const first = closes[0];
  if (first === undefined || first.close <= 0) return [];
  return closes.map((one) => ({ x: one.at, y: (100 * one.close) / first.close }));
}

/** Return the return on investment in percent: (last close / first close - 1) x 100. */
export function returnPct(closes: readonly Close[]): number | null {
  const [first, last] = [closes[0], closes.at(-1)];
  if (first === undefined || last === undefined || closes.length < 2 || first.close <= 0) return null;
  return (last.close / first.close - 1) * 100;
}

/** Return the largest fall from a peak to a later close, in percent, never above zero: min(close / peak - 1) x 100. */
export function drawdownPct(closes: readonly Close[]): number | null {
  if (closes.length < 2) return null;
  let [peak, deepest] = [0, 0];
  for (const { close } of closes) {
    peak = Math.max(peak, close);
    if (peak > 0) deepest = Math.min(deepest, close / peak - 1);
  }
  return deepest * 100;
}

/** Return ln(close / close before) of bars that follow each other directly, by time; a hole makes no return. */
export function logReturns(closes: readonly Close[], length: number): Map<number, number> {
  const found = new Map<number, number>();
  closes.forEach((one, at) => {
    const before = closes[at - 1];
    if (before === undefined || one.at - before.at !== length || before.close <= 0 || one.close <= 0) return;
    found.set(one.at, Math.log(one.close / before.close));
  });
  return found;
}

/**
 * Return the annualised volatility in percent: the standard deviation of log returns (of a sample: n - 1), times the root
 * of the bars in 365 days, times 100. `length` of a bar in ms. Null with fewer than two returns.
 */
export function volatilityPct(closes: readonly Close[], length: number): number | null {
  const returns = [...logReturns(closes, length).values()];
  if (returns.length < 2) return null;
  const mean = average(returns);
  const variance = returns.reduce((sum, one) => sum + (one - mean) ** 2, 0) / (returns.length - 1);
  return Math.sqrt(variance * ((365 * 86_400_000) / length)) * 100;
}

/**
 * Return Pearson's correlation of log returns over the bars that both have, -1 to 1: sum(dx dy) / sqrt(sum(dx^2) sum(dy^2)).
 * Null with fewer than three common returns, or when one side never moved.
 */
export function correlation(a: Map<number, number>, b: Map<number, number>): number | null {
  const common = [...a.keys()].filter((at) => b.has(at));
  if (common.length < 3) return null;
  const [xs, ys] = [common.map((at) => a.get(at) ?? 0), common.map((at) => b.get(at) ?? 0)];
  const [x, y] = [average(xs), average(ys)];
  let [xx, yy, xy] = [0, 0, 0];
  xs.forEach((value, at) => {
    const [dx, dy] = [value - x, (ys[at] ?? 0) - y];
    xx += dx * dx;
    yy += dy * dy;
    xy += dx * dy;
  });
  return xx === 0 || yy === 0 ? null : Math.max(-1, Math.min(1, xy / Math.sqrt(xx * yy)));
}

function average(values: readonly number[]): number {
  return values.reduce((sum, one) => sum + one, 0) / values.length;
}
