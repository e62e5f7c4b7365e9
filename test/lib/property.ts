/**
 * fast-check with a limit (TS-82): a property that fails is tried on ever smaller cases, and where a case takes seconds
 * that takes hours, in which vitest's own limits do not count.
 */
import fc from "fast-check";

fc.configureGlobal({ interruptAfterTimeLimit: 60_000, markInterruptAsFailure: true });

export { default } from "fast-check";
