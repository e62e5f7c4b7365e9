/**
 * The library's face. Embedding a client or gateway (PG-120) comes with a later release; what is stable
 * already are the errors that every program of Postern ends with.
 */
export { PosternError } from "./base/index.ts";
