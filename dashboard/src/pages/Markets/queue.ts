/** Runs a few requests at a time, so that a long table neither floods the API nor uses up its limit at once. */
const AT_ONCE = 4;
let running = 0;
const waiting: (() => void)[] = [];

export async function queued<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
  if (running >= AT_ONCE) await new Promise<void>((go) => waiting.push(go));
  running += 1;
  try {
    signal.throwIfAborted();
    return await work();
  } finally {
    running -= 1;
    waiting.shift()?.();
  }
}
