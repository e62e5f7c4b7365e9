/**
 * Counters in WebAssembly (TS-41): an imported function is called with a number at each function, loop, arm of an `if`,
 * behind each conditional branch, and where branches out of a block arrive.
 *
 * Binaryen's own pass for that, `log-execution`, knows functions, loops and returns only: a guard of three bytes would
 * stay closed. Its pass `flatten` leaves control flow in blocks, loops and arms alone, so that a walk over these
 * three finds all of it. JavaScript, because Binaryen's types do not know its expressions.
 */
import binaryen from "binaryen";
import { COUNTING_IMPORT } from "./counting-import.mjs";

/**
 * @param isSkipped by the name of a function, where the module has names: it gets no counters
 * @returns the module with counters, how many there are, and in which function each stands
 */
export function withCounters(bytes, isSkipped = () => false) {
  const module = binaryen.readBinary(bytes);
  module.setFeatures(binaryen.Features.All);
  module.runPasses(["flatten"]);
  module.addFunctionImport(COUNTING_IMPORT, "env", COUNTING_IMPORT, binaryen.i32, binaryen.none);
  const functions = [];
  let current = "";
  const counting = () => {
    functions.push(current);
    return module.call(COUNTING_IMPORT, [module.i32.const(functions.length - 1)], binaryen.none);
  };

  function walk(expression) {
    switch (binaryen.getExpressionId(expression)) {
      case binaryen.BlockId:
        return walkBlock(expression);
      case binaryen.LoopId: {
        const body = binaryen.Loop.getBody(expression);
        walk(body);
        binaryen.Loop.setBody(expression, counted(body));
        return;
      }
      case binaryen.IfId: {
        const taken = binaryen.If.getIfTrue(expression);
        const other = binaryen.If.getIfFalse(expression);
        walk(taken);
        if (other !== 0) walk(other);
        binaryen.If.setIfTrue(expression, counted(taken));
        binaryen.If.setIfFalse(expression, other === 0 ? counting() : counted(other));
        return;
      }
    }
  }

  /** Whatever may be skipped by a branch, or is reached by one, has a counter before it. */
  function walkBlock(block) {
    for (let i = binaryen.Block.getNumChildren(block) - 1; i >= 0; i--) {
      const child = binaryen.Block.getChildAt(block, i);
      walk(child);
      const id = binaryen.getExpressionId(child);
      const isBranch = id === binaryen.BreakId && binaryen.Break.getCondition(child) !== 0;
      const isTarget = id === binaryen.BlockId && binaryen.Block.getName(child) !== null;
      if (isBranch || isTarget) binaryen.Block.insertChildAt(block, i + 1, counting());
    }
  }

  function counted(expression) {
    return module.block(null, [counting(), expression], binaryen.getExpressionType(expression));
  }

  for (let i = 0; i < module.getNumFunctions(); i++) {
    const of = module.getFunctionByIndex(i);
    const body = binaryen.Function.getBody(of);
    current = binaryen.Function.getName(of);
    if (body === 0 || isSkipped(current)) continue;
    walk(body);
    binaryen.Function.setBody(of, counted(body));
  }
  // Flat code has many more locals than it needs.
  module.runPasses(["simplify-locals", "vacuum", "coalesce-locals", "vacuum"]);
  const made = new Uint8Array(module.emitBinary());
  module.dispose();
  return { bytes: made, count: functions.length, functions };
}
