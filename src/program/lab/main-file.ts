import { fileURLToPath } from "node:url";
import { entryFile } from "../../../bindings/runtime/index.ts";

/** This very program, for what runs it in a namespace. */
export const MAIN = fileURLToPath(entryFile("main"));
