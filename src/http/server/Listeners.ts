/**
 * The open addresses, kept in step with the configuration. A change opens what is new before it is in force (and is
 * refused where that cannot be), and closes what is gone after that, gracefully; what stays the same is not touched.
 */
import { type Duration, Effect, Latch, Schedule } from "effect"
import type { GatewayConfig } from "../../domain/GatewayConfig.ts"
import type { Listener } from "../../domain/Listener.ts"
import { ChangeRefused, type Prepared, type Registry, type Snapshot } from "../../registry/Registry.ts"
import { lacksDescriptors, makeTellShortage } from "../../telemetry/Shortages.ts"
import { type Place, placesOf } from "./Bindings.ts"
import { Connections } from "./Connections.ts"
import { type CannotListen, type Door, openDoor, readPems, type Surface } from "./Server.ts"
import type { Pems } from "./ServerTls.ts"

/** Told of every address that is opened. */
export type OnListening = (surface: {
  readonly name: string
  readonly host: string
  readonly port: number
}) => Effect.Effect<void>

/** What holds at an address for a request that comes in now. */
export interface Seen {
  readonly snapshot: Snapshot
  readonly place: Place
}

/** What a surface is told of the address that it answers at. */
export interface Threshold {
  readonly see: () => Seen
  readonly connections: Connections
}

export interface ListenersOptions {
  readonly registry: Registry["Service"]
  readonly now: () => number
  readonly surfaceOf: (threshold: Threshold) => Surface
  readonly onListening: OnListening
  /** Told of every connection that was one too many. */
  readonly onRefused: (listener: Listener) => void
  /** Called when the end begins. */
  readonly onEnd: () => void
}

/** A door with what is seen there. */
interface Opened extends Threshold {
  readonly door: Door
}

/** Opens every address of the snapshot in force, then follows the registry until the scope closes. */
export const openListeners = Effect.fnUntraced(function* (options: ListenersOptions) {
  const { registry } = options
  const first = registry.current().config
  const scope = yield* Effect.scope
  // Requests run with this, and with nothing of whoever asks for a change that opens an address.
  const context = yield* Effect.context()
  const doors = new Map<string, Opened>()
  const retiring = new Set<Opened>()

  /** Opens one address; what comes in waits for `ready`. */
  const openAt = Effect.fnUntraced(function* (
    place: Place,
    pems: Pems | undefined,
    next: GatewayConfig,
    ready: Latch.Latch
  ) {
    const see = seeing(registry, place)
    const refused = () => options.onRefused(see().place.listener)
    const threshold = { see, connections: new Connections(options.now, refused) }
    const answering = options.surfaceOf(threshold)
    const surface = Effect.suspend(() => (ready.isOpen() ? answering : Effect.andThen(ready.await, answering)))
    const config = { ...next, server: { ...next.server, reusePort: first.server.reusePort } }
    const door = yield* openDoor(place, config, pems, threshold.connections, surface).pipe(Effect.setContext(context))
    return { ...threshold, door }
  })

  const announce = ({ listener: { host, name } }: Place, { door: { port } }: Opened) =>
    options.onListening({ name, host, port })

  /** Nothing new comes in, what is under way ends, the connections close. */
  const retire = Effect.fnUntraced(function* (opened: Opened, grace: Duration.Duration) {
    const { host, name } = opened.see().place.listener
    retiring.add(opened)
    yield* opened.door.stopListening
    yield* Effect.logInfo("no longer listening", { name, host, port: opened.door.port })
    yield* opened.door.drain(grace)
    yield* opened.door.close
    retiring.delete(opened)
  })

  const prepare = Effect.fnUntraced(function* (next: GatewayConfig) {
    const places = placesOf(next)
    const ready = Latch.makeUnsafe(false)
    const gone = [...doors].filter(([key]) => !places.has(key))
    const silenced: Array<Door> = []
    const opened: Array<readonly [Place, Opened]> = []
    const kept: Array<readonly [Place, Pems | undefined]> = []

    const follow = Effect.fnUntraced(function* (place: Place) {
      const pems = yield* readPems(place)
      if (doors.has(place.key)) {
        kept.push([place, pems])
        return
      }
      const attempt = openAt(place, pems, next, ready)
      // Somebody who goes may have the port: then it goes first.
      const holder = gone.find(([, { see }]) => see().place.listener.port === place.listener.port)?.[1].door
      const instead = (error: CannotListen) => {
        if (!error.taken || holder === undefined || silenced.includes(holder)) return Effect.fail(error)
        silenced.push(holder)
        return Effect.andThen(holder.stopListening, attempt)
      }
      opened.push([place, yield* Effect.catch(attempt, instead)])
    })
    const undo = Effect.gen(function* () {
      yield* Effect.forEach(opened, ([, { door }]) => door.close, { discard: true })
      yield* Effect.forEach(silenced, ({ listenAgain }) => Effect.catch(listenAgain, tellLost), { discard: true })
    })

    const [, problems] = yield* Effect.partition(places.values(), follow)
    if (problems.length > 0) return yield* Effect.andThen(undo, new ChangeRefused({ problems }))
    const commit = Effect.fnUntraced(function* ({ config }: Snapshot) {
      for (const [place, pems] of kept) doors.get(place.key)?.door.adjust(place, config, pems)
      for (const [key] of gone) doors.delete(key)
      for (const [{ key }, one] of opened) doors.set(key, one)
      // What is gone goes on with what it sees now, so everybody looks.
      for (const { see } of doors.values()) see()
      yield* ready.open
      yield* Effect.forEach(opened, ([place, one]) => announce(place, one), { discard: true })
      const { shutdownGrace } = config.server
      yield* Effect.forEach(gone, ([, one]) => Effect.forkIn(retire(one, shutdownGrace), scope), { discard: true })
    })
    const prepared: Prepared = { commit, abort: undo }
    return prepared
  })

  /** `/readyz` says so at once; what is under way goes on to its end, for as long as the grace lasts. */
  const end = Effect.gen(function* () {
    options.onEnd()
    const all = [...doors.values(), ...retiring]
    const underWay = () => all.reduce((total, { connections }) => total + connections.busy, 0)
    const each = (run: (door: Door) => Effect.Effect<void>) =>
      Effect.forEach(all, ({ door }) => run(door), { concurrency: "unbounded", discard: true })
    yield* Effect.logInfo("stopping", { requestsUnderWay: underWay() })
    // Where another process has the port too, the sockets go at once, so that it gets what comes in.
    if (first.server.reusePort) yield* each(({ stopListening }) => stopListening)
    const { shutdownGrace } = registry.current().config.server
    yield* each(({ drain }) => drain(shutdownGrace))
    if (underWay() > 0) yield* Effect.logWarning("the grace is over, requests are cut", { requests: underWay() })
    yield* each(({ close }) => close)
  })

  const openAll = Effect.gen(function* () {
    const ready = Latch.makeUnsafe(true)
    for (const place of placesOf(first).values()) {
      const opened = yield* openAt(place, yield* readPems(place), first, ready)
      doors.set(place.key, opened)
      yield* announce(place, opened)
    }
  })
  yield* Effect.tapError(openAll, () => Effect.forEach(doors.values(), ({ door }) => door.close))
  yield* Effect.sync(() => {
    for (const { connections } of [...doors.values(), ...retiring]) connections.cutStalled(stallPatience)
  }).pipe(Effect.repeat(Schedule.spaced("5 seconds")), Effect.forkScoped)
  yield* Effect.forkScoped(watchDescriptors)
  yield* Effect.addFinalizer(() => end)
  yield* registry.takePart(prepare)
})

/**
 * While a process lacks descriptors the system makes connections for it, and they are closed unread: nothing in here is
 * told of them. So it is looked at, and told in the log.
 */
const watchDescriptors = Effect.gen(function* () {
  const tell = yield* makeTellShortage
  const look = Effect.suspend(() => (lacksDescriptors() ? tell("EMFILE", "connections from clients") : Effect.void))
  yield* Effect.repeat(look, Schedule.spaced("1 second"))
})

/** Milliseconds for which a client may take nothing of its answer. */
const stallPatience = 60_000

/** An address that is gone goes on with what it saw last. */
const seeing = (registry: Registry["Service"], place: Place): (() => Seen) => {
  let seen: Seen = { snapshot: registry.current(), place }
  return () => {
    const snapshot = registry.current()
    if (snapshot === seen.snapshot) return seen
    const now = placesOf(snapshot.config).get(place.key)
    if (now !== undefined) seen = { snapshot, place: now }
    return seen
  }
}

const tellLost = ({ message, path }: CannotListen) =>
  Effect.logError("a listener that was to stay could not be opened again", { path, message })
