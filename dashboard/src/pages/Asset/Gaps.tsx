import { useRows, type Gap } from "../../api";
import { Time } from "../../ui";

const EVERY_MS = 60_000;

/** Windows of this series that are not held, and why. */
export function Gaps({ instrument, interval }: { instrument: string; interval: string }) {
  const gaps = useRows<Gap>("gaps", { instrument, dataset: "candles", interval, limit: 20 }, { every: EVERY_MS });
  if (gaps.data === null || gaps.data.data.length === 0) return null;
  return (
    <>
      <h3>Not held</h3>
      <ul className="small">
        {gaps.data.data.map((gap) => (
          <li key={gap.since}>
            <Time value={gap.since} precision="minute" /> to <Time value={gap.until} precision="minute" />:{" "}
            {gap.state.replaceAll("_", " ")}
            {gap.reason === "" ? "" : ` (${gap.reason})`}
            {gap.next_try_at !== null && (
              <>
                {" "}
                - next try <Time value={gap.next_try_at} precision="minute" />
              </>
            )}
          </li>
        ))}
        {gaps.data.next !== null && <li>and more</li>}
      </ul>
    </>
  );
}
