/**
 * The packet plane: what the module exports. Kernels for test and choice at start come from
 * crypto/exports.ts.
 */
export {
  aeadFlush,
  aeadLanes,
  aeadOpen,
  aeadOpenMany,
  aeadOtks,
  aeadSeal,
  aeadSealMany,
  aeadStateBytes,
} from "./crypto/exports";
