/** What becomes of a program when one of the plane's loops ends by itself (PG-18, PG-46). */
import type { Plane } from "../../../bindings/plane/index.ts";
import { PosternError } from "../../base/index.ts";

export interface PlaneWatch {
  /** A transport socket does not work any more; binding it again may help. */
  readonly socketFailed: (worker: string) => void;
  /** The program cannot go on. */
  readonly fail: (error: PosternError) => void;
}

export function watchPlane(plane: Pick<Plane, "onEnd">, { socketFailed, fail }: PlaneWatch): void {
  plane.onEnd((end) => {
    switch (end.reason) {
      case "tun-removed":
        return fail(new PosternError("host", "the TUN device is gone", "start again to have a new one"));
      case "socket-failed":
        return socketFailed(end.worker);
      case "crashed":
        return fail(
          new PosternError("worker-died", `the ${end.worker} worker died`, undefined, { cause: end.error }),
        );
    }
  });
}
