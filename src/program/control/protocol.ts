/**
 * What is said on the control socket: one JSON object a line (PG-108). Pure: bytes in, requests out.
 *
 *     {"id":1,"method":"status"}              →  {"id":1,"result":{…}}
 *     {"id":2,"method":"log","params":{…}}    →  {"id":2,"error":{"code":"unknown_method","message":"…"}}
 *     after `subscribe`                       →  {"event":"portal","data":{"state":"connected"}}
 */
import * as v from "valibot";
import { fenced, parseJson } from "../../base/index.ts";

/** Longest line in either direction of a request, without its end (PG-107). */
export const LINE_BYTES_MAX = 64 * 1024;

export type ControlErrorCode = "bad_request" | "unknown_method" | "bad_params" | "not_ready" | "internal";

/** Why a request is not served; its message is for the person who asked. */
export class ControlRefusal extends Error {
  readonly code: ControlErrorCode;

  constructor(code: ControlErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

const controlRequest = v.object({
  id: v.pipe(v.number(), v.safeInteger()),
  method: v.pipe(v.string(), v.maxLength(64)),
  params: v.optional(
    v.pipe(
      v.unknown(),
      // A list would be taken for a record.
      v.check((value) => !Array.isArray(value)),
      v.record(v.string(), v.unknown()),
    ),
    {},
  ),
});

export type ControlRequest = v.InferOutput<typeof controlRequest>;

export type ReadLine =
  | { readonly kind: "request"; readonly request: ControlRequest }
  /** No request; `id` is its number where that much can be read. */
  | { readonly kind: "bad"; readonly id: number | null; readonly message: string }
  /** The line does not end: nothing behind it can be read. */
  | { readonly kind: "too-long" };

/** Reads one line. Never throws. */
export function readRequest(line: string): ReadLine {
  const json = parseJson(line);
  if (!json.ok) return { kind: "bad", id: null, message: "the line is no JSON" };
  const read = v.safeParse(controlRequest, json.value);
  if (read.success) return { kind: "request", request: read.output };
  return {
    kind: "bad",
    id: idOf(json.value),
    message: 'a request is {"id":n,"method":"…","params":{…}}',
  };
}

function idOf(value: unknown): number | null {
  const read = v.safeParse(v.object({ id: controlRequest.entries.id }), value);
  return read.success ? read.output.id : null;
}

/** Takes bytes as they come and gives the lines that are complete, up to one that is too long. */
export interface LineReader {
  push(chunk: Uint8Array): readonly ReadLine[];
}

const NEWLINE = 0x0a;

export function createLineReader(): LineReader {
  let kept: readonly Uint8Array[] = [];
  let keptBytes = 0;
  let isEnded = false;
  const utf8 = new TextDecoder("utf-8", { fatal: true });

  function read(line: Uint8Array): ReadLine {
    const text = fenced(() => utf8.decode(line));
    return text.ok ? readRequest(text.value) : { kind: "bad", id: null, message: "the line is no UTF-8" };
  }

  return {
    push(chunk) {
      const lines: ReadLine[] = [];
      for (let from = 0; !isEnded && from < chunk.length; ) {
        const end = chunk.indexOf(NEWLINE, from);
        const piece = chunk.subarray(from, end < 0 ? chunk.length : end);
        if (keptBytes + piece.length > LINE_BYTES_MAX) {
          isEnded = true;
          lines.push({ kind: "too-long" });
        } else if (end < 0) {
          // A chunk may be a view of a buffer that is used again.
          kept = [...kept, piece.slice()];
          keptBytes += piece.length;
          from = chunk.length;
        } else {
          const line = Buffer.concat([...kept, piece]);
          kept = [];
          keptBytes = 0;
          if (line.length > 0) lines.push(read(line));
          from = end + 1;
        }
      }
      return lines;
    },
  };
}

export function resultLine(id: number, result: unknown): string {
  return `${JSON.stringify({ id, result: result ?? null })}\n`;
}

export function errorLine(id: number | null, code: ControlErrorCode, message: string): string {
  return `${JSON.stringify({ id, error: { code, message } })}\n`;
}
