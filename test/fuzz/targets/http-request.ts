/**
 * What we read from HTTP requests, whose bytes Node reads: the first line's target and headers, of an upgrade at the
 * portal with all that it admits by, and of documents (PT-70, PT-73, PG-110).
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { instant, prefix } from "../../../src/base/index.ts";
import { answer, toUpgradeRequest } from "../../../src/program/portal/http-answer.ts";
import { createWorld, requestOf } from "../../unit/portal/server-world.ts";
import { bytesOf, claim, type FuzzTarget, textOf } from "../target.ts";

const TRUSTED = [prefix("192.0.2.0/24"), prefix("2001:db8::/32")];
const START = instant(5_000_001);

export function createTarget(): FuzzTarget {
  const world = createWorld();
  return {
    seeds: (["client", "gateway", "relay"] as const)
      .map((role) => {
        const { path, query, headers } = requestOf(role, {});
        const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
        return bytesOf(
          [`192.0.2.1 GET ${path}?${query}`, ...lines, "x-forwarded-for: 1.2.3.4, ::1"].join("\n"),
        );
      })
      .concat([bytesOf("::1 GET /healthz"), bytesOf("::ffff:192.0.2.1 HEAD /readyz?x")]),
    words: [
      ...[
        "GET ",
        "POST ",
        "/client/websocket",
        "/gateway/websocket",
        "/relay/websocket",
        "?",
        "&",
        "%",
        "%00",
      ],
      ...[
        "external_id=",
        "public_key=",
        "name=",
        "ipv4=",
        "ipv6=",
        "port=",
        "token=",
        "\nhost: ",
        "\norigin: ",
      ],
      ...[
        "\nx-authorization: Bearer ",
        "\nuser-agent: ",
        "\nx-forwarded-for: ",
        "Linux/6 headless-client/1.5.0",
      ],
      ...["__proto__", ",", "::ffff:1.2.3.4", "unknown", "for=1.2.3.4", "%eth0", "\u00ff"],
    ],
    bytesMax: 1500,
    run(input) {
      const request = requestIn(textOf(input));
      answer(request.message, responseOf(), "serving", () => undefined);
      const upgrade = toUpgradeRequest(request.message, request.peer, TRUSTED);
      if (upgrade === undefined) return;
      claim(upgrade.remote.length === 4 || upgrade.remote.length === 16, "an address of whoever asks");
      const verdict = world.server.handleUpgrade(START, upgrade);
      claim(verdict.ok || verdict.refusal.status >= 400, "a refusal has its status");
    },
  };
}

/** `PEER METHOD TARGET`, then lines of headers; of what Node gives, as much as is read. */
function requestIn(text: string): { readonly peer: string; readonly message: IncomingMessage } {
  const [first = "", ...lines] = text.split("\n");
  const [peer = "", method = "", url = ""] = first.split(" ", 3);
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const at = line.indexOf(":");
    if (at > 0) headers[line.slice(0, at).toLowerCase()] = line.slice(at + 1).trim();
  }
  // The three members are all that is read.
  return { peer, message: { method, url, headers } as unknown as IncomingMessage };
}

function responseOf(): ServerResponse {
  const response = { writeHead: () => response, end: () => response };
  return response as unknown as ServerResponse;
}
