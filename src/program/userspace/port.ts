/** Ports that programs name (PG-120). */
import { PosternError } from "../../base/index.ts";

export const PORT_MAX = 65_535;

/** Text of digits will do, as Node takes it (`ws` gives it so). @throws PosternError `host` with the detail `usage` */
export function readPort(port: number): number {
  const number = Number(port);
  if (Number.isInteger(number) && number >= 1 && number <= PORT_MAX) return number;
  throw new PosternError("host", `port is ${port}`, `use 1 to ${PORT_MAX}`, { detail: "usage" });
}
