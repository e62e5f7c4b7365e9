export { runDoctor } from "./run-doctor.ts";
