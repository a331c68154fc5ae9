import { expect, test } from "vitest";

import { EventReader } from "./events";

test("events come whole from pieces that are cut anywhere", () => {
  const text =
    'retry: 3000\n\nevent: ready\nid: 8-12\ndata: {"a":1}\n\n: keep-alive\n\nevent: markets\r\ndata: x\r\ndata:y\r\n\r\n';
  for (let size = 1; size <= text.length; size += 1) {
    const reader = new EventReader();
    const events = [];
    for (let at = 0; at < text.length; at += size) events.push(...reader.read(text.slice(at, at + size)));
    expect(events).toEqual([
      { event: "ready", data: '{"a":1}' },
      { event: "markets", data: "x\ny" },
    ]);
    expect(reader.lastId).toBe("8-12");
    expect(reader.retryMs).toBe(3000);
  }
});

test("an event without data is none, one without a name is a message", () => {
  const reader = new EventReader();
  expect(reader.read("event: empty\n\ndata: one\n\n")).toEqual([{ event: "message", data: "one" }]);
});
