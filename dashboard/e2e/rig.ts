/** What the tests are told by their environment, the handles of the rig, and the API that pages are compared with. */

export const DASHBOARD = told("DASHBOARD"); // where the API serves the dashboard
export const CHROMIUM = told("CHROMIUM");
export const MARKUP = process.env.MARKUP ?? ""; // the name that the simulator gives to PEPE

/** Pull a handle of the rig (tests/acceptance/browser.py) and return what it answers. */
export async function pull<T = null>(handle: string, ...given: unknown[]): Promise<T> {
  const answer = await fetch(`${told("RIG")}/${handle}`, { method: "POST", body: JSON.stringify(given) });
  if (!answer.ok) throw new Error(`${handle}: ${await answer.text()}`);
  return (await answer.json()) as T;
}

/** Return the body of an address of the API, as anybody would get it. */
export async function api<T>(path: string): Promise<T> {
  const answer = await fetch(`${DASHBOARD}/api/${path}`);
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  return (await answer.json()) as T;
}

export interface Page<Row> {
  data: Row[];
  stale: boolean;
  as_of: string | null;
}

export function rowsOf<Row>(path: string): Promise<Page<Row>> {
  return api<Page<Row>>(`v1/${path}${path.includes("?") ? "&" : "?"}numbers=string`);
}

function told(name: string): string {
  const value = process.env[name];
  if (value === undefined || value === "")
    throw new Error(`${name} is not set: run pytest -m faults tests/acceptance/test_dashboard.py`);
  return value;
}
