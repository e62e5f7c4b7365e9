/** What has happened in a simulated world: a hash of all of it (TS-7), and its last lines. */
import { createHash } from "node:crypto";

export interface Trace {
  /** One line, and the bytes that it is about. */
  note(nowUs: number, line: string, bytes?: Uint8Array): void;
  hash(): string;
  /** The last lines, for failure messages. */
  recent(): string;
}

interface Noted {
  readonly line: string;
  readonly bytes: Uint8Array | undefined;
}

const RECENT_LINES = 60;
/** So many are hashed at once: a call for each line is a tenth of a world's time. */
const BLOCK_BYTES = 65_536;

export function createTrace(): Trace {
  const sum = createHash("sha256");
  const block = Buffer.allocUnsafe(BLOCK_BYTES);
  const lines: Noted[] = [];
  let used = 0;
  let count = 0;

  function flush(): void {
    sum.update(block.subarray(0, used));
    used = 0;
  }

  return {
    note(nowUs, text, bytes) {
      const line = `${nowUs} ${text}`;
      const needed = 3 * line.length + 1 + (bytes?.length ?? 0);
      if (used + needed > BLOCK_BYTES) flush();
      if (needed > BLOCK_BYTES) throw new Error(`too long for a trace: ${text}`);
      used += block.write(line, used);
      block[used++] = 0x0a;
      if (bytes !== undefined) {
        block.set(bytes, used);
        used += bytes.length;
      }
      lines[count++ % RECENT_LINES] = { line, bytes };
    },
    hash() {
      flush();
      return sum.copy().digest("hex");
    },
    recent() {
      const first = count % RECENT_LINES;
      const inOrder = count < RECENT_LINES ? lines : [...lines.slice(first), ...lines.slice(0, first)];
      return inOrder.map(shown).join("\n");
    },
  };
}

function shown({ line, bytes }: Noted): string {
  if (bytes === undefined) return line;
  return `${line} ${createHash("sha256").update(bytes).digest("hex").slice(0, 12)}`;
}
