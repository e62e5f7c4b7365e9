/** What is said at a program's control socket (PG-60 ff.), in pieces, and the portal's stored state as text. */

import { parseChanges, parseDocument, toChangesText } from "../../../src/portal/server/state-text.ts";
import { createLineReader, readRequest } from "../../../src/program/control/protocol.ts";
import { bytesOf, claim, type FuzzTarget, textOf } from "../target.ts";

export function createTarget(): FuzzTarget {
  return {
    seeds: [
      '{"id":1,"method":"status","params":{}}\n{"id":2,"method":"connections"}\n',
      '{"id":3,"method":"log","params":{"level":"debug","minutes":5}}\n',
      '[{"kind":"rejection","key":"a","value":{"cid":"c","rid":"r","at":5}},{"kind":"device","key":"k"}]\n',
      '{"version":1,"devices":[],"gateways":[],"authorizations":[],"rejections":[{"cid":"c","rid":"r","at":5}]}\n',
    ].map(bytesOf),
    words: [
      ...[
        '"id":',
        '"method":',
        '"params":',
        "null",
        "true",
        "-1",
        "1e999",
        "9007199254740993",
        "[[[[",
        "{{",
        "\n",
      ],
      ...[
        '"__proto__":',
        '"kind":"authorization"',
        '"expiresAt":',
        '"value":',
        "\\ud800",
        "\\u0000",
        "\u00ff",
      ],
    ],
    bytesMax: 2000,
    run(input) {
      const piece = 1 + (input[0] ?? 0);
      const reader = createLineReader();
      let lines = 0;
      for (let at = 0; at < input.length; at += piece) {
        lines += reader.push(input.subarray(at, at + piece)).length;
      }
      claim(lines <= input.length, "no more lines than bytes");
      for (const line of textOf(input).split("\n")) {
        readRequest(line);
        const changes = parseChanges(line);
        if (changes.ok) claim(parseChanges(toChangesText(changes.value)).ok, "written, it is read again");
        const document = parseDocument(line);
        if (!document.ok) claim(document.reason !== "", "a refusal says why");
      }
    },
  };
}
