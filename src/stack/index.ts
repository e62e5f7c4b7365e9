export type { Stack, StackCounter, StackEvent, StackOptions, TcpEnd, Unreached } from "./face.ts";
export { createStack } from "./stack.ts";
