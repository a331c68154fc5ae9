/** Reads the text of server-sent events; pure. https://html.spec.whatwg.org/multipage/server-sent-events.html */

export interface ServerEvent {
  event: string;
  data: string;
}

/** Takes text as it comes, in pieces cut anywhere, and hands on whole events. */
export class EventReader {
  lastId: string | null = null;
  retryMs: number | null = null;
  private rest = "";
  private event = "";
  private data: string[] = [];

  /** Return the events that this piece completes. */
  read(piece: string): ServerEvent[] {
    const lines = (this.rest + piece).split("\n");
    this.rest = lines.pop() ?? "";
    const done: ServerEvent[] = [];
    for (const raw of lines) {
      const line = raw.endsWith("\r") ? raw.slice(0, -1) : raw;
      if (line === "") {
        if (this.data.length > 0) done.push({ event: this.event || "message", data: this.data.join("\n") });
        this.event = "";
        this.data = [];
      } else this.field(line);
    }
    return done;
  }

  private field(line: string): void {
    const colon = line.indexOf(":");
    if (colon === 0) return; // a comment keeps the connection open
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "event") this.event = value;
    else if (name === "data") this.data.push(value);
    else if (name === "id") this.lastId = value;
    else if (name === "retry" && /^\d+$/.test(value)) this.retryMs = Number(value);
  }
}
