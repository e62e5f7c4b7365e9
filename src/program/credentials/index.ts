export { installToken, type Keyboard } from "./install-token.ts";
export { printIdentifier } from "./print-id.ts";
