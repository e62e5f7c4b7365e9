/** @see fault-script.mjs */
export interface Fault {
  readonly call: string;
  /** From 1. */
  readonly nth: number;
  readonly errno: number;
  /** Each so many calls behind the first, too. */
  readonly every?: number;
}
export function createFaultScript(faults: readonly Fault[]): (call: string) => Fault | undefined;
export function parseFaultScript(text: string): Fault[];
