import { useEffect, useState } from "react";

/** Return the time in ms, renewed every `every` ms: what ages are counted from. */
export function useNow(every = 1000): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const timer = window.setInterval(() => {
      if (!document.hidden) setNow(Date.now());
    }, every);
    return () => window.clearInterval(timer);
  }, [every]);
  return now;
}
