/** What the runtime that runs this says of a process that caught its signal and chose its status (runtimes.test.ts). */
import { startChild } from "../../build/src/program/lab/index.js";

const script = "trap 'exit 7' INT; echo up; while :; do sleep 0.1; done";
const child = startChild({ name: "careful", command: "sh", args: ["-c", script] });
await child.waitForLine(/^up$/, { withinMs: 20_000 });
child.signal("SIGINT");
console.log(JSON.stringify(await child.wait(20_000)));
