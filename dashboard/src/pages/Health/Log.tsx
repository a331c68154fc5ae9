import { useEffect, useRef, useState } from "react";

import { get, useResource } from "../../api";
import { Empty, Show } from "../../ui";

const EVERY_MS = 10_000;
const LINES = 200;
const FIRST_PART = "Collector";

interface CycleLog {
  data: { cycle_id: number; part: string; parts: string[]; lines: string[]; truncated: boolean };
}

/** The end of the log of one cycle; renewed while the cycle runs. */
export function Log({ cycle, running }: { cycle: number; running: boolean }) {
  const [part, setPart] = useState(FIRST_PART);
  const log = useResource(
    `log ${cycle} ${part}`,
    (signal) => get<CycleLog>(`v1/cycles/${cycle}/log`, { lines: LINES, part }, signal),
    running ? EVERY_MS : null,
  );
  const parts = useParts(log.data);
  return (
    <>
      <div className="row log-head">
        <h3>Log</h3>
        {parts.length > 0 && (
          <label>
            <span className="hidden">Service whose log is shown</span>
            <select value={part} onChange={(event) => setPart(event.target.value)}>
              {[...new Set([FIRST_PART, ...parts])].map((one) => (
                <option key={one}>{one}</option>
              ))}
            </select>
          </label>
        )}
      </div>
      {log.data === null && log.error?.status === 404 ? (
        <Empty>
          There is no log to show: folders of cycles are deleted by age and size. The API says: {log.error.message}
        </Empty>
      ) : (
        <Show from={log} what="log">
          {({ data }) =>
            data.lines.length === 0 ? (
              <Empty>{data.part} has written nothing in this cycle.</Empty>
            ) : (
              <Lines key={data.part} {...data} />
            )
          }
        </Show>
      )}
    </>
  );
}

/** Keep the choice of services while the log of another one is loading. */
function useParts(log: CycleLog | null): string[] {
  const [parts, setParts] = useState<string[]>([]);
  const told = log?.data.parts;
  if (told !== undefined && told.join() !== parts.join()) setParts(told);
  return told ?? parts;
}

function Lines({ part, lines, truncated, cycle_id: cycle }: CycleLog["data"]) {
  const place = useRef<HTMLPreElement>(null);
  useEffect(() => {
    if (place.current !== null) place.current.scrollTop = place.current.scrollHeight;
  }, [lines]);
  const count = lines.length === 1 ? "1 line" : `${lines.length} lines`;
  return (
    <>
      <pre ref={place} className="log" tabIndex={0} role="region" aria-label={`Log of ${part} in cycle ${cycle}`}>
        {lines.join("\n")}
      </pre>
      <p className="dim small">{truncated ? `The last ${count}; there are more before them.` : `All ${count}.`}</p>
    </>
  );
}
