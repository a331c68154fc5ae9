/** What the reader chose: colours and time zone; kept in the browser, shared by every part of the page. */
import { useSyncExternalStore } from "react";

import type { Zone } from "./format";

export type Theme = "system" | "light" | "dark";

export interface Settings {
  theme: Theme;
  zone: Zone;
}

const KEY = "collector.settings";
const listeners = new Set<() => void>();
let current = read();
apply(current);

export function useSettings(): Settings {
  return useSyncExternalStore(subscribe, () => current);
}

export function changeSettings(change: Partial<Settings>): void {
  current = { ...current, ...change };
  try {
    localStorage.setItem(KEY, JSON.stringify(current));
  } catch {
    // Storage is switched off: the choice lasts until the page is closed.
  }
  apply(current);
  for (const listener of listeners) listener();
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

function read(): Settings {
  try {
    const told = JSON.parse(localStorage.getItem(KEY) ?? "{}") as Partial<Settings>;
    return {
      theme: told.theme === "light" || told.theme === "dark" ? told.theme : "system",
      zone: told.zone === "local" ? "local" : "utc",
    };
  } catch {
    return { theme: "system", zone: "utc" };
  }
}

function apply(settings: Settings): void {
  if (typeof document === "undefined") return;
  if (settings.theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = settings.theme;
}
