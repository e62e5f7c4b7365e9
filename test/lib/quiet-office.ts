/** An office with its client and gateway, nobody of whom has anything to do (G-13, G-14). */
import type { Child } from "../../src/program/lab/index.ts";
import { createOffice, type Office } from "./office.ts";

export interface QuietOffice {
  readonly office: Office;
  /** Gateway and client. */
  readonly programs: readonly Child[];
}

export async function startQuietOffice(): Promise<QuietOffice> {
  const office = await createOffice();
  try {
    office.configure([{ resource: "Office" }]);
    await office.startPortal();
    return { office, programs: await Promise.all([office.startGateway(), office.startClient()]) };
  } catch (error) {
    await office.close();
    throw error;
  }
}
