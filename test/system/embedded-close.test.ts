/** Nothing of a closed client stays in its process (PG-130), in either grade of sockets (PG-122). */
import { describe, expect, it } from "vitest";
import { GRADES } from "../lib/embedded.ts";
import { leftOfClients } from "../lib/left-of-clients.ts";
import { describeWith } from "../lib/requirements.ts";

describeWith(["build"], "closed clients", () => {
  describe.each(GRADES)("sockets: %s", (grade) => {
    it("PG-130, PG-131: leave no descriptor, thread, timer or listener", { timeout: 120_000 }, async () => {
      const { grades, before, after, status, errors } = await leftOfClients(grade, 4, 4);
      expect([status, errors]).toEqual([0, ""]);
      expect(grades).toEqual([grade]);
      expect(after).toEqual(before);
      expect(after.handles).toEqual([]);
    });
  });
});
