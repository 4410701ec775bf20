/**
 * How much of a backend, a pool or a key this process may use now. To take looks as well, in one synchronous step, so that
 * no count is ever above its bound. In one process the counts are exact; with several processes others take part
 * between a look and a take, so that a take may fail although there seemed to be room.
 */
import { Context, Layer } from "effect"
import type { BackendEntry } from "./Snapshot.ts"

/** A place that is taken, until it is given back. */
export interface Claim {
  /** To be called once. */
  release(): void
}

/** The requests of one pool or one key that are at work, counted against a limit that may be another one each time. */
export interface Permits {
  /** Those that this process has taken. */
  readonly active: number
  /** Whether there seems to be one left. */
  readonly hasRoom: (limit: number) => boolean
  /** Takes one, if there is one left; `Infinity` is no limit, but it counts all the same. */
  readonly tryTake: (limit: number) => boolean
  /** To be called once for each that was taken. */
  readonly release: () => void
}

export class Capacity extends Context.Service<
  Capacity,
  {
    /** Whether there seems to be a place. */
    readonly hasRoom: (backend: BackendEntry) => boolean
    /** Takes a place and counts it; `undefined` where there is none. */
    readonly tryTake: (backend: BackendEntry) => Claim | undefined
    /**
     * The permits of a pool or a key. Whatever asks keeps them, and asks again only after it has let go of them, with none
     * taken: two at once may each count by itself.
     */
    readonly permits: (kind: "pool" | "key", name: string) => Permits
  }
>()("weir/registry/Capacity") {
  static readonly layer = Layer.sync(Capacity, () => inProcess)
}

/** What holds it is what keeps it: one that is let go of leaves nothing here. */
class Count implements Permits {
  active = 0

  hasRoom(limit: number): boolean {
    return this.active < limit
  }

  tryTake(limit: number): boolean {
    if (this.active >= limit) return false
    this.active++
    return true
  }

  release(): void {
    this.active--
  }
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
  },
  permits: () => new Count()
}
