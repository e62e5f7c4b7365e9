/** What clients leave in a process that has closed them (PG-130). */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { type Grade, openEmbeddedOffice, SERVER } from "./embedded.ts";

interface Left {
  readonly descriptors: number;
  readonly threads: number;
  readonly handles: readonly string[];
  readonly listeners: number;
}

export interface LeftOfClients {
  readonly grades: readonly Grade[];
  /** After the first, which loads what all share. */
  readonly before: Left;
  readonly after: Left;
  /** Of the process, which nobody ends. */
  readonly status: number | null;
  readonly errors: string;
}

/** Opens and closes `count` clients, `atOnce` at a time, in a process that ends by itself. */
export async function leftOfClients(grade: Grade, count: number, atOnce: number): Promise<LeftOfClients> {
  const office = await openEmbeddedOffice({
    async onFlow(flow) {
      if (flow.protocol !== "tcp") return;
      const socket = await flow.accept();
      await socket.readable.pipeTo(socket.writable).catch(() => {});
    },
  });
  try {
    const { apiUrl, tokens } = office.portal;
    const program = new URL("open-and-close.mjs", import.meta.url).pathname;
    const child = spawn(process.execPath, [program, grade, String(count), String(atOnce), SERVER], {
      env: { ...process.env, API_URL: apiUrl, TOKEN: tokens?.client },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let [output, errors] = ["", ""];
    child.stdout.on("data", (text) => {
      output += text;
    });
    child.stderr.on("data", (text) => {
      errors += text;
    });
    await once(child, "close");
    const found = output === "" ? {} : JSON.parse(output);
    return { ...found, status: child.exitCode, errors };
  } finally {
    await office.close();
  }
}
