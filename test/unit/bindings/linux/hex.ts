import { fromHex } from "../../../../src/base/index.ts";

/** Annotated hexadecimal: what follows a `;` on a line is a remark. */
export function hex(text: string): Uint8Array<ArrayBuffer> {
  const bytes = fromHex(text.replace(/;.*$/gm, ""));
  if (bytes === undefined) throw new Error("not hexadecimal");
  return bytes;
}
