import type { ReactNode } from "react";

import { age } from "../../format";
import { Age, Card, Fact, useNow } from "../../ui";
import { heldOf, heldText } from "./coverage";
import { duration, lasted } from "./cycles";
import { isFailing, verdict, type Known, type Level } from "./verdict";

const SIGNS: Record<Level, string> = { good: "●", warn: "◐", bad: "✕", unknown: "○" };

/** Is collection healthy? The answer in one line, why, and the figures it follows from. */
export function VerdictCard({ known }: { known: Known }) {
  const now = useNow(5000);
  const { level, sentence, reasons } = verdict(known, now);
  return (
    <Card title="Verdict">
      <p className={`verdict verdict-${level}`} role="status">
        <span aria-hidden="true">{SIGNS[level]}</span> {sentence}
      </p>
      {reasons.length > 0 && (
        <ul className="reasons">
          {reasons.map((reason) => (
            <li key={reason.text}>
              <strong className={reason.level === "bad" ? "down" : "old"}>
                {reason.level === "bad" ? "✕ Broken" : "◐ Problem"}
              </strong>{" "}
              {reason.text}
            </li>
          ))}
        </ul>
      )}
      <Figures known={known} now={now} />
    </Card>
  );
}

function Figures({ known, now }: { known: Known; now: number }) {
  const { cycles, sources, coverage, freshness, health } = known;
  const last = cycles?.[0];
  const asked = sources?.filter((one) => one.enabled) ?? [];
  const fresh = freshness?.filter((one) => one.rows > 0) ?? [];
  const sum = (pick: (one: (typeof asked)[number]) => number) => asked.reduce((all, one) => all + pick(one), 0);
  const held = heldOf(coverage ?? []);
  return (
    <dl className="facts">
      <Told name="Last cycle" when={last}>
        {(one) => (
          <>
            <Age value={one.started_at} /> ago, {one.state === "running" ? "running" : lasted(duration(one, now))}
          </>
        )}
      </Told>
      <Told name="Providers online" when={sources}>
        {() => `${asked.filter((one) => one.status === "online" && !isFailing(one)).length} of ${asked.length}`}
      </Told>
      <Told name="Datasets up to date" when={freshness}>
        {() => `${fresh.filter((one) => !one.stale).length} of ${fresh.length}`}
      </Told>
      <Told name="History held" when={coverage}>
        {() => heldText(held.share)}
      </Told>
      <Told name="Failed jobs, 24 h" when={sources}>
        {() => `${sum((one) => one.jobs_failed)} of ${sum((one) => one.jobs_ok + one.jobs_failed)}`}
      </Told>
      <Told name="Rejected rows, 24 h" when={sources}>
        {() => sum((one) => one.rejects)}
      </Told>
      <Told name="Database" when={health}>
        {(one) => one.database.status}
      </Told>
      <Told name="API up for" when={health}>
        {(one) => age(one.uptime * 1000)}
      </Told>
    </dl>
  );
}

function Told<T>({
  name,
  when,
  children,
}: {
  name: string;
  when: T | null | undefined;
  children: (value: T) => ReactNode;
}) {
  return <Fact name={name}>{when === null || when === undefined ? "–" : children(when)}</Fact>;
}
