/**
 * How much of a backend this process may use now. To look and to take are one synchronous step, so that no count is ever
 * above its bound. In one process the counts of the registry are exact; with several processes others take part between
 * a look and a take, so that a take may fail although there seemed to be room.
 */
import { Context, Layer } from "effect"
import type { BackendEntry } from "./Snapshot.ts"

/** A place that is taken, until it is given back. */
export interface Claim {
  /** To be called once. */
  release(): void
}

export class Capacity extends Context.Service<
  Capacity,
  {
    /** Whether there seems to be a place. */
    readonly hasRoom: (backend: BackendEntry) => boolean
    /** Takes a place and counts it; `undefined` where there is none. */
    readonly tryTake: (backend: BackendEntry) => Claim | undefined
  }
>()("weir/registry/Capacity") {
  static readonly layer = Layer.sync(Capacity, () => inProcess)
}

const hasRoom = ({ capacity, state }: BackendEntry): boolean => state.inflight < capacity

/** Of one process: exact, as nothing else counts. */
export const inProcess: Capacity["Service"] = {
  hasRoom,
  tryTake: (backend) => {
    if (!hasRoom(backend)) return undefined
    backend.state.inflight++
    // All claims on a backend are alike, so that its state stands for each: nothing is made for one.
    return backend.state
  }
}
