import { useEffect, useRef, type ReactNode } from "react";

/** Tells when its content comes into view and when it leaves it (also when it is taken off the page). */
export function InView({ onChange, children }: { onChange: (isSeen: boolean) => void; children: ReactNode }) {
  const place = useRef<HTMLSpanElement>(null);
  const told = useRef(onChange);
  useEffect(() => {
    told.current = onChange;
  });
  useEffect(() => {
    if (place.current === null) return;
    const seen = new IntersectionObserver((entries) => {
      const last = entries.at(-1);
      if (last !== undefined) told.current(last.isIntersecting);
    });
    seen.observe(place.current);
    return () => {
      seen.disconnect();
      told.current(false);
    };
  }, []);
  return <span ref={place}>{children}</span>;
}
