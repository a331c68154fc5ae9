import type { OrderBook } from "../../api";
import { num } from "../../format";

interface Point {
  x: number;
  y: number;
}

/** Return both sides of a book as sizes added up from the middle outwards, by rising price. Pure. */
export function bookSides(book: Pick<OrderBook, "bid_prices" | "bid_sizes" | "ask_prices" | "ask_sizes">): {
  bids: Point[];
  asks: Point[];
} {
  return { bids: added(book.bid_prices, book.bid_sizes).reverse(), asks: added(book.ask_prices, book.ask_sizes) };
}

function added(prices: OrderBook["bid_prices"], sizes: OrderBook["bid_sizes"]): Point[] {
  let sum = 0;
  return prices.flatMap((price, at) => {
    const [x, size] = [num(price), num(sizes[at])];
    if (x === null || size === null) return [];
    sum += size;
    return [{ x, y: sum }];
  });
}
