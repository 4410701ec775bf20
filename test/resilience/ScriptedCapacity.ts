/** Capacity that other processes take part in, as the tests say; and what was asked for. */
import { Layer } from "effect"
import { Capacity, inProcess } from "../../src/registry/Capacity.ts"

export class ScriptedCapacity {
  /** Whether other processes take the last permit in the moment between a look and a take. */
  isLost = false
  /** Which permits were made, in order. */
  readonly made: Array<string> = []

  readonly layer = Layer.succeed(Capacity, {
    ...inProcess,
    permits: (kind, name) => {
      this.made.push(`${kind} ${name}`)
      const own = inProcess.permits(kind, name)
      const isLost = () => this.isLost
      return {
        get active() {
          return own.active
        },
        hasRoom: (limit) => own.hasRoom(limit),
        tryTake: (limit) => !isLost() && own.tryTake(limit),
        release: () => own.release()
      }
    }
  })
}
