export { runPortal } from "./run-portal.ts";
