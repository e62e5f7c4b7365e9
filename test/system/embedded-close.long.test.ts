/** Fifty clients, opened and closed ten at a time (PG-130, PG-131). */
import { describe, expect, it } from "vitest";
import { GRADES } from "../lib/embedded.ts";
import { leftOfClients } from "../lib/left-of-clients.ts";
import { describeWith } from "../lib/requirements.ts";

describeWith(["build"], "fifty clients", () => {
  describe.each(GRADES)("sockets: %s", (grade) => {
    it("PG-130, PG-131: leave nothing", { timeout: 300_000 }, async () => {
      const { grades, before, after, status, errors } = await leftOfClients(grade, 50, 10);
      expect([status, errors]).toEqual([0, ""]);
      expect(grades).toEqual([grade]);
      expect(after).toEqual(before);
    });
  });
});
