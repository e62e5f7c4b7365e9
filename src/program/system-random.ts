import { randomFillSync } from "node:crypto";
import type { Random } from "../base/index.ts";

/** The system's generator, for everything that runs outside of tests. */
export const systemRandom: Random = {
  fill(bytes) {
    randomFillSync(bytes);
    return bytes;
  },
};
