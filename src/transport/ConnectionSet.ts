/**
 * The connections to one origin, one request at a time on each. The one that was free last is taken first, so that what is
 * not needed any more rests until it is closed; a choice costs the same with one connection as with thousands (undici's
 * own pool looks at each of them for every request, and keeps all that there ever were).
 */
import type { Client, Dispatcher } from "undici"

/** What dispatches to one origin, until it is closed. */
export interface Connections {
  readonly dispatch: (options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler) => boolean
  /** Takes nothing new, and returns when what runs is over. */
  readonly close: () => Promise<void>
  readonly destroy: () => Promise<void>
}

interface Slot {
  readonly client: Client
  isFree: boolean
  isConnected: boolean
}

/** Mutable by nature: written by what connections tell of themselves. */
export class ConnectionSet implements Connections {
  readonly #make: () => Client
  readonly #all = new Set<Slot>()
  /** The one that was freed last is behind. */
  readonly #free: Array<Slot> = []
  #isClosed = false

  /** `make`: a client of one connection, which connects with its first request. */
  constructor(make: () => Client) {
    this.#make = make
  }

  get size(): number {
    return this.#all.size
  }

  readonly dispatch = (options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean => {
    const slot = this.#free.pop() ?? this.#add()
    slot.isFree = false
    // A request that undici does not take leaves it as it was.
    if (slot.client.dispatch(options, handler) || slot.client.stats.size === 0) this.#setFree(slot)
    return true
  }

  readonly close = (): Promise<void> => this.#end((client) => client.close())

  readonly destroy = (): Promise<void> => this.#end((client) => client.destroy())

  async #end(end: (client: Client) => Promise<void>): Promise<void> {
    this.#isClosed = true
    this.#free.length = 0
    await Promise.all([...this.#all].map(({ client }) => end(client)))
  }

  #add(): Slot {
    const slot: Slot = { client: this.#make(), isFree: false, isConnected: false }
    this.#all.add(slot)
    slot.client.on("connect", () => {
      slot.isConnected = true
    })
    slot.client.on("disconnect", () => {
      slot.isConnected = false
      if (slot.isFree) this.#forget(slot)
    })
    slot.client.on("connectionError", () => this.#forget(slot))
    slot.client.on("drain", () => {
      if (slot.isConnected) this.#setFree(slot)
      else this.#forget(slot)
    })
    return slot
  }

  #setFree(slot: Slot): void {
    if (slot.isFree || this.#isClosed || !this.#all.has(slot)) return
    slot.isFree = true
    this.#free.push(slot)
  }

  /** It has no connection any more. */
  #forget(slot: Slot): void {
    if (!this.#all.delete(slot)) return
    const at = slot.isFree ? this.#free.indexOf(slot) : -1
    if (at >= 0) this.#free.splice(at, 1)
    slot.isFree = false
    if (!this.#isClosed) void slot.client.close()
  }
}
