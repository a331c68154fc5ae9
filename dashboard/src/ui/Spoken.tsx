import { useEffect, useRef, useState } from "react";

const EVERY_MS = 60_000; // a live page says so much that oftener nobody could read anything else

/** Reads a line out to those who do not see the page: what it says now, and each minute what it says by then. */
export function Spoken({ text }: { text: string }) {
  const newest = useRef(text);
  const [said, setSaid] = useState(text);
  useEffect(() => {
    newest.current = text;
  }, [text]);
  useEffect(() => {
    const timer = window.setInterval(() => {
      if (!document.hidden) setSaid(newest.current);
    }, EVERY_MS);
    return () => window.clearInterval(timer);
  }, []);
  return (
    <p className="hidden" role="status" aria-live="polite" data-spoken="">
      {said}
    </p>
  );
}
