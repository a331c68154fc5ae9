/** The colours of the style sheet as a canvas needs them, and word when they change. */
import { useEffect, useMemo, useState } from "react";

import { useSettings, type Theme } from "../settings";

const NAMES = [
  "bg",
  "card",
  "line",
  "text",
  "dim",
  "up",
  "down",
  "accent",
  "filled",
  "gap",
  "series-1",
  "series-2",
  "series-3",
  "series-4",
  "series-5",
  "series-6",
  "series-7",
  "series-8",
] as const;

export type Palette = Record<(typeof NAMES)[number], string>;

export function usePalette(): Palette {
  const { theme } = useSettings();
  const [dark, setDark] = useState(() => matchMedia("(prefers-color-scheme: dark)").matches);
  useEffect(() => {
    const query = matchMedia("(prefers-color-scheme: dark)");
    const changed = () => setDark(query.matches);
    query.addEventListener("change", changed);
    return () => query.removeEventListener("change", changed);
  }, []);
  return useMemo(() => resolve(theme, dark), [theme, dark]);
}

/** Return a colour of the series palette; more than eight series begin again. */
export function seriesColour(palette: Palette, at: number): string {
  return palette[`series-${(at % 8) + 1}` as keyof Palette];
}

/** Return a colour with another opacity, 0 to 1. `colour` is what the browser resolved: rgb() or rgba(). */
export function faded(colour: string, opacity: number): string {
  const [red = "0", green = "0", blue = "0"] = colour.match(/[\d.]+/g) ?? [];
  return `rgba(${red}, ${green}, ${blue}, ${opacity})`;
}

/** Read the colours as the style sheet has them now; what they follow from is named so that they are read again. */
function resolve(_theme: Theme, _dark: boolean): Palette {
  const probe = document.createElement("span");
  document.body.append(probe);
  const found = Object.fromEntries(
    NAMES.map((name) => {
      probe.style.color = `var(--${name})`;
      return [name, getComputedStyle(probe).color];
    }),
  );
  probe.remove();
  return found as Palette;
}
