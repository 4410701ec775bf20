/** For tests of what is let go: the collector, when the test wants it. */
import { setImmediate } from "node:timers/promises"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"

/** Collects until `isDone`; `false` where it never came to that. Finalisers run in the turns of the event loop between. */
export const collectUntil = async (isDone: () => boolean): Promise<boolean> => {
  setFlagsFromString("--expose-gc")
  const collect: unknown = runInNewContext("gc")
  if (typeof collect !== "function") throw new Error("this V8 shows nobody its collector")
  for (let turn = 0; turn < 100 && !isDone(); turn++) {
    // What a WeakRef was asked for is kept until the end of that turn of the event loop.
    await setImmediate()
    Reflect.apply(collect, undefined, [])
    await setImmediate()
  }
  return isDone()
}
