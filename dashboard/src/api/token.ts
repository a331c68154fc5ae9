/** The token of an API that asks for one: kept until the tab closes, never in an address. */
const KEY = "collector.token";
/** The event after which everything that was refused is asked for again. */
export const TOKEN_CHANGED = "collector-token";

export function token(): string | null {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return null; // storage is switched off: no token is kept
  }
}

export function setToken(value: string): void {
  try {
    sessionStorage.setItem(KEY, value.trim());
  } catch {
    // Storage is switched off: the next request asks again.
  }
  window.dispatchEvent(new Event(TOKEN_CHANGED));
}

export function authorization(): Record<string, string> {
  const known = token();
  return known === null || known === "" ? {} : { Authorization: `Bearer ${known}` };
}
