/** Calls every endpoint, checks every field, provokes every refusal; prints one line of JSON. `main.js <address>` */

import { Refused, UnifiedClient } from "./client.js";
import type { ErrorCode, Price } from "./types.js";

const SPELLINGS = ["BTC", "BTCUSDT", "BTC/USDT", "BTC-USDT"];
const INTERVALS: Readonly<Record<string, number>> = { "1m": 60_000, "1h": 3_600_000, "1d": 86_400_000 };
const SENTIMENTS_A_MINUTE = 30;

function demand(condition: boolean, what: string): asserts condition {
  if (!condition) {
    throw new Error(what);
  }
}

async function checkHealth(client: UnifiedClient): Promise<object> {
  const found = await client.health();
  demand(found.providers.length > 0, "health names no provider");
  demand(found.cache.hitRate >= 0 && found.cache.hitRate <= 1, "the hit rate is a share");
  return { status: found.status, providers: found.providers.map((provider) => provider.name) };
}

async function checkCandles(client: UnifiedClient): Promise<object> {
  const byDefault = await client.ohlcv("ETH");
  demand(byDefault.symbol === "ETHUSDT" && byDefault.interval === "1h", "1h is the default");
  demand(byDefault.count <= 100 && byDefault.count === byDefault.data.length, "100 is the default");
  for (const [interval, width] of Object.entries(INTERVALS)) {
    for (const spelling of interval === "1m" ? SPELLINGS : ["BTC"]) {
      const found = await client.ohlcv(spelling, interval, 5);
      demand(found.symbol === "BTCUSDT" && found.interval === interval && found.count === 5, `${spelling}: the asked`);
      demand(found.data.length === found.count, "count counts data");
      found.data.forEach((candle, n) => {
        const { timestamp, open, high, low, close, volume } = candle;
        demand(low <= Math.min(open, close) && high >= Math.max(open, close) && volume >= 0, "low, body, high");
        demand(timestamp === (found.data[0]?.timestamp ?? 0) + n * width, "candles follow each other, oldest first");
      });
    }
  }
  return { source: byDefault.source, count: byDefault.count };
}

function isComplete(price: Price): boolean {
  return Object.values(price).every((value) => value !== null);
}

async function checkPrices(client: UnifiedClient): Promise<object> {
  const all = await client.prices();
  demand(all.data.length >= 14, "all supported symbols are there");
  const two = await client.prices(["BTC", "ETH"], "USDT");
  demand(two.data.map((price) => price.symbol).join() === "BTC,ETH", "in the order asked for");
  demand(two.data.every(isComplete), `a big coin lacks a field: ${JSON.stringify(two.data)}`);
  const [bitcoin] = (await client.prices(["BTC"], "USD")).data;
  demand(bitcoin !== undefined && bitcoin.price === bitcoin.priceUsd, "a price in USD is the price in USD");
  return { source: two.source, supported: all.data.length };
}

async function checkMoods(client: UnifiedClient): Promise<object> {
  const { fearGreed, news, overall } = (await client.sentiment()).data;
  demand(fearGreed.value >= 0 && fearGreed.value <= 100, "fear and greed is 0 to 100");
  demand(news.bullish + news.bearish + news.neutral === news.total, "news add up");
  demand(overall.confidence >= 0 && overall.confidence <= 1, "confidence is a share");
  const market = (await client.overview()).data;
  const lists = { topGainers: market.topGainers, topLosers: market.topLosers, trending: market.trending };
  for (const [name, list] of Object.entries(lists)) {
    demand(list.length > 0, `${name} is empty`);
  }
  demand(market.btcDominance > 0 && market.btcDominance + market.ethDominance <= 100, "dominance is in percent");
  return { overall: overall.sentiment, activeCoins: market.activeCoins };
}

async function checkCache(client: UnifiedClient): Promise<object> {
  await client.cacheStats();
  await client.clearCache();
  return { cleared: true };
}

async function refusal(code: ErrorCode, status: number, call: () => Promise<unknown>): Promise<Refused> {
  try {
    await call();
  } catch (error) {
    if (!(error instanceof Refused)) {
      throw error;
    }
    demand(error.answer.error.code === code, `wanted ${code}, got ${error.message}`);
    demand(error.status === status, `${code} comes with ${status}, not ${error.status}`);
    return error;
  }
  throw new Error(`${code}: was not refused`);
}

async function checkRefusals(client: UnifiedClient): Promise<object> {
  await refusal("INVALID_SYMBOL", 400, () => client.ohlcv("NOSUCHCOIN"));
  await refusal("INVALID_SYMBOL", 400, () => client.prices(["BTC", "NOSUCHCOIN"]));
  await refusal("INVALID_INTERVAL", 400, () => client.ohlcv("BTC", "7m"));
  await refusal("INVALID_PARAMETER", 400, () => client.ohlcv("BTC", "1h", 0));
  await refusal("INVALID_PARAMETER", 400, () => client.ohlcv("BTC", "1h", 1001));
  await refusal("INVALID_PARAMETER", 400, () => client.prices(["BTC"], "EUR"));
  await refusal("NOT_FOUND", 404, () => client.get("/api/no-such-thing"));
  const told = await refusal("RATE_LIMITED", 429, async () => {
    for (let n = 0; n <= SENTIMENTS_A_MINUTE; n++) {
      await client.sentiment();
    }
  });
  const wait = told.answer.error.retryAfter;
  demand(wait !== null && wait >= 1 && wait <= 60, `retryAfter is the seconds to wait, not ${wait}`);
  demand(told.retryAfter === String(wait), `the header Retry-After says ${told.retryAfter}, the body ${wait}`);
  return { retryAfter: wait };
}

async function main(address: string): Promise<object> {
  const client = new UnifiedClient(address);
  return {
    health: await checkHealth(client),
    ohlcv: await checkCandles(client),
    prices: await checkPrices(client),
    moods: await checkMoods(client),
    cache: await checkCache(client),
    refusals: await checkRefusals(client),
  };
}

const address = process.argv[2];
demand(address !== undefined, "say the address, as http://127.0.0.1:8000");
console.log(JSON.stringify({ client: "typescript", ...(await main(address)) }));
