/** What a view says when it has nothing to show, or nothing new. */
import { useState, type ReactNode } from "react";

import { setToken, type ApiFailure, type Resource } from "../api";
import { age } from "../format";
import { useNow } from "./clock";

export function Loading({ what = "data" }: { what?: string }) {
  return (
    <div className="state" role="status">
      <span className="spinner" aria-hidden="true" /> Loading {what}…
    </div>
  );
}

export function Empty({ children }: { children: ReactNode }) {
  return <div className="state state-empty">{children}</div>;
}

export function Failure({ error, reload }: { error: ApiFailure; reload: () => void }) {
  return (
    <div className="state state-error" role="alert">
      <p>
        <strong>{error.status === 401 ? "A token is needed" : "This could not be loaded"}:</strong> {error.message}
        {error.retryAfter !== null && ` (tried again in ${error.retryAfter} s)`}
      </p>
      {error.status === 401 ? <TokenForm /> : <button onClick={reload}>Try again</button>}
    </div>
  );
}

/** Said above data that is kept while a newer answer fails, or that the API itself calls old. */
export function Stale({ children }: { children: ReactNode }) {
  return (
    <p className="stale" role="status">
      <span aria-hidden="true">⚠</span> {children}
    </p>
  );
}

/**
 * Show a resource in whichever state it is: loading, failed, empty, or its data, with a line above when it is old.
 * `stale` is the API's word; `asOf` the time of its newest row.
 */
export function Show<T>({
  from,
  what,
  stale = false,
  asOf = null,
  isEmpty,
  empty,
  children,
}: {
  from: Resource<T>;
  what?: string;
  stale?: boolean;
  asOf?: string | null | undefined;
  isEmpty?: (data: T) => boolean;
  empty?: ReactNode;
  children: (data: T) => ReactNode;
}) {
  const now = useNow(10_000);
  if (from.data === null)
    return from.error === null ? (
      <Loading {...(what === undefined ? {} : { what })} />
    ) : (
      <Failure error={from.error} reload={from.reload} />
    );
  const old = asOf === null ? null : now - Date.parse(asOf);
  return (
    <>
      {from.error !== null && (
        <Stale>
          Not renewed since {age(from.at === null ? null : now - from.at)}: {from.error.message}
        </Stale>
      )}
      {from.error === null && stale && <Stale>Old data{old === null ? "" : `: the newest is ${age(old)} old`}</Stale>}
      {isEmpty?.(from.data) === true ? <Empty>{empty ?? "Nothing is stored yet."}</Empty> : children(from.data)}
    </>
  );
}

function TokenForm() {
  const [word, setWord] = useState("");
  return (
    <form
      className="row"
      onSubmit={(event) => {
        event.preventDefault();
        setToken(word);
      }}
    >
      <label>
        Token{" "}
        <input type="password" autoComplete="off" value={word} onChange={(event) => setWord(event.target.value)} />
      </label>
      <button type="submit">Use it</button>
    </form>
  );
}
