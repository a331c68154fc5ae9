/** The frame of every page: navigation, state of the collection, choices, and the warning that data is made up. */
import type { ReactNode } from "react";

import { get, useResource, type Health } from "../api";
import { zoneName } from "../format";
import { PAGES } from "../pages";
import { href } from "../router";
import { changeSettings, useSettings, type Theme } from "../settings";
import { Choice } from "./Choice";
import { Age } from "./values";

const EVERY_MS = 10_000;
const LOCAL = zoneName(Date.now(), "local");

export function Shell({ current, title, children }: { current: string; title: string; children: ReactNode }) {
  const health = useResource<Health>("health", (signal) => get<Health>("health", {}, signal), EVERY_MS);
  const settings = useSettings();
  return (
    <>
      <a className="skip" href="#content" onClick={skip}>
        Skip to the content
      </a>
      {health.data?.simulated === true && (
        <aside className="simulated" aria-label="Simulated data">
          Simulated data: every number on this page is made up
        </aside>
      )}
      <header className="top">
        <a className="brand" href={href("markets")}>
          Crypto Data Collector
        </a>
        <nav aria-label="Pages">
          <ul>
            {PAGES.map((page) => (
              <li key={page.path}>
                <a href={href(page.path)} aria-current={page.path === current ? "page" : undefined}>
                  {page.title}
                </a>
              </li>
            ))}
          </ul>
        </nav>
        <div className="top-tools">
          <HealthMark health={health.data} lost={health.error !== null} />
          <Choice
            name="Time zone"
            value={settings.zone}
            onChange={(zone) => changeSettings({ zone })}
            options={[
              { value: "utc", label: "UTC" },
              { value: "local", label: "Local", title: LOCAL },
            ]}
          />
          <label className="theme">
            <span className="hidden">Colours</span>
            <select value={settings.theme} onChange={(event) => changeSettings({ theme: event.target.value as Theme })}>
              <option value="system">Auto</option>
              <option value="light">Light</option>
              <option value="dark">Dark</option>
            </select>
          </label>
        </div>
      </header>
      <main id="content" tabIndex={-1}>
        <h1 className="hidden">{title}</h1>
        {children}
      </main>
      <footer className="foot">
        <span>Version {health.data?.version ?? "–"}</span> <a href="docs">API</a> <a href="licences.md">Licences</a>
      </footer>
    </>
  );
}

function HealthMark({ health, lost }: { health: Health | null; lost: boolean }) {
  const state = lost ? "unreachable" : (health?.status ?? "unknown");
  const sign = { healthy: "●", degraded: "◐", unhealthy: "✕", unreachable: "✕", unknown: "○" }[state];
  const ill = health?.providers.filter((provider) => provider.status !== "online") ?? [];
  const why = ill.map((one) => `${one.name} ${one.status}${one.reason === null ? "" : `: ${one.reason}`}`).join("; ");
  const label = (
    <>
      <span aria-hidden="true">{sign}</span> {state}
      {health?.lastCycle != null && (
        <span className="dim wide-only">
          {" "}
          last cycle <Age value={health.lastCycle.startedAt} />
        </span>
      )}
    </>
  );
  return (
    <span className={`health health-${state}`} title={why === "" ? undefined : why}>
      {PAGES.some((page) => page.path === "health") ? <a href={href("health")}>{label}</a> : label}
    </span>
  );
}

function skip(event: { preventDefault: () => void }): void {
  event.preventDefault(); // the part behind # is the address of the page
  document.getElementById("content")?.focus();
}
