/**
 * The open addresses, kept in step with the configuration. A change opens what is new before it is in force (and is
 * refused where that cannot be), and closes what is gone after that, gracefully; what stays the same is not touched.
 */
import { type Duration, Effect, Latch, Schedule } from "effect"
import type { GatewayConfig } from "../../domain/GatewayConfig.ts"
import type { Listener } from "../../domain/Listener.ts"
import { ChangeRefused, derived, type PreparedChange, type Registry, type Snapshot } from "../../registry/Registry.ts"
import type { Timers } from "../../resilience/Timers.ts"
import { lacksDescriptors, makeTellShortage } from "../../telemetry/Shortages.ts"
import { type Binding, bindingsOf } from "./Bindings.ts"
import { Connections } from "./Connections.ts"
import { type CannotListen, type FastWay, openServer, type RequestHandler, readPems, type Server } from "./Server.ts"
import type { Pems } from "./ServerTls.ts"

/** Told of every address that is opened. */
export type OnListening = (handler: {
  readonly name: string
  readonly host: string
  readonly port: number
}) => Effect.Effect<void>

/** What holds at an address for a request that comes in now. */
export interface Current {
  readonly snapshot: Snapshot
  readonly binding: Binding
}

/** What a handler is told of the address that it answers at. */
export interface ListenerContext {
  readonly current: () => Current
  readonly connections: Connections
}

/** The two ways of a listener's requests: most are over without a fiber, all others are an effect's. */
export interface RequestWays {
  readonly handler: RequestHandler
  readonly fastWay: FastWay
}

export interface ListenersOptions {
  readonly registry: Registry["Service"]
  readonly now: () => number
  readonly timers: Timers["Service"]
  readonly waysOf: (context: ListenerContext) => RequestWays
  readonly onListening: OnListening
  /** Told of every connection that was one too many. */
  readonly onRefused: (listener: Listener) => void
  /** Called when the end begins. */
  readonly onEnd: () => void
}

/** A server with what is seen there. */
interface OpenListener extends ListenerContext {
  readonly server: Server
}

/** Opens every address of the snapshot in force, then follows the registry until the scope closes. */
export const openListeners = Effect.fnUntraced(function* (options: ListenersOptions) {
  const { registry } = options
  const first = registry.current().config
  const scope = yield* Effect.scope
  // Requests run with this, and with nothing of the fiber that asks for a change that opens an address.
  const services = yield* Effect.context()
  const open = new Map<string, OpenListener>()
  const retiring = new Set<OpenListener>()

  /** Opens one address; what comes in waits for `ready`. */
  const openAt = Effect.fnUntraced(function* (
    binding: Binding,
    pems: Pems | undefined,
    next: GatewayConfig,
    ready: Latch.Latch
  ) {
    const current = makeCurrent(registry, binding)
    const refused = () => options.onRefused(current().binding.listener)
    const context = { current, connections: new Connections(options.now, refused) }
    const { fastWay, handler: answering } = options.waysOf(context)
    const handler = Effect.suspend(() => (ready.isOpen() ? answering : Effect.andThen(ready.await, answering)))
    const waiting: FastWay = {
      ...fastWay,
      take: (arriving, handOver) => ready.isOpen() && fastWay.take(arriving, handOver)
    }
    const config = { ...next, server: { ...next.server, reusePort: first.server.reusePort } }
    const server = yield* openServer(binding, config, pems, context.connections, handler, waiting, options).pipe(
      Effect.setContext(services)
    )
    return { ...context, server }
  })

  const announce = ({ listener: { host, name } }: Binding, { server: { port } }: OpenListener) =>
    options.onListening({ name, host, port })

  /** Nothing new comes in, what is under way ends, the connections close. */
  const retire = Effect.fnUntraced(function* (opened: OpenListener, grace: Duration.Duration) {
    const { host, name } = opened.current().binding.listener
    retiring.add(opened)
    yield* opened.server.stopListening
    yield* Effect.logInfo("no longer listening", { name, host, port: opened.server.port })
    yield* opened.server.drain(grace)
    yield* opened.server.close
    retiring.delete(opened)
  })

  const prepare = Effect.fnUntraced(function* (next: GatewayConfig) {
    const bindings = bindingsOf(next)
    const ready = Latch.makeUnsafe(false)
    const gone = [...open].filter(([key]) => !bindings.has(key))
    const silenced: Array<Server> = []
    const opened: Array<readonly [Binding, OpenListener]> = []
    const kept: Array<readonly [Binding, Pems | undefined]> = []

    const follow = Effect.fnUntraced(function* (binding: Binding) {
      const pems = yield* readPems(binding)
      if (open.has(binding.key)) {
        kept.push([binding, pems])
        return
      }
      const attempt = openAt(binding, pems, next, ready)
      // A listener that goes may have the port: then it goes first.
      const holder = gone.find(([, { current }]) => current().binding.listener.port === binding.listener.port)?.[1]
        .server
      const instead = (error: CannotListen) => {
        if (!error.taken || holder === undefined || silenced.includes(holder)) return Effect.fail(error)
        silenced.push(holder)
        return Effect.andThen(holder.stopListening, attempt)
      }
      opened.push([binding, yield* Effect.catch(attempt, instead)])
    })
    const undo = Effect.gen(function* () {
      yield* Effect.forEach(opened, ([, { server }]) => server.close, { discard: true })
      yield* Effect.forEach(silenced, ({ listenAgain }) => Effect.catch(listenAgain, tellLost), { discard: true })
    })

    const [, problems] = yield* Effect.partition(bindings.values(), follow)
    if (problems.length > 0) return yield* Effect.andThen(undo, new ChangeRefused({ problems }))
    const commit = Effect.fnUntraced(function* ({ config }: Snapshot) {
      for (const [binding, pems] of kept) open.get(binding.key)?.server.adjust(binding, config, pems)
      for (const [key] of gone) open.delete(key)
      for (const [{ key }, one] of opened) open.set(key, one)
      // What is gone goes on with what it sees now, so all of them look.
      for (const { current } of open.values()) current()
      yield* ready.open
      yield* Effect.forEach(opened, ([binding, one]) => announce(binding, one), { discard: true })
      const { shutdownGrace } = config.server
      yield* Effect.forEach(gone, ([, one]) => Effect.forkIn(retire(one, shutdownGrace), scope), { discard: true })
    })
    const prepared: PreparedChange = { commit, abort: undo }
    return prepared
  })

  /** `/readyz` says so at once; what is under way goes on to its end, for as long as the grace lasts. */
  const end = Effect.gen(function* () {
    options.onEnd()
    const all = [...open.values(), ...retiring]
    const underWay = () => all.reduce((total, { connections }) => total + connections.busy, 0)
    const each = (run: (server: Server) => Effect.Effect<void>) =>
      Effect.forEach(all, ({ server }) => run(server), { concurrency: "unbounded", discard: true })
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
    for (const binding of bindingsOf(first).values()) {
      const opened = yield* openAt(binding, yield* readPems(binding), first, ready)
      open.set(binding.key, opened)
      yield* announce(binding, opened)
    }
  })
  yield* Effect.tapError(openAll, () => Effect.forEach(open.values(), ({ server }) => server.close))
  yield* Effect.sync(() => {
    for (const { connections } of [...open.values(), ...retiring]) connections.cutStalled(maxStallMillis)
  }).pipe(Effect.repeat(Schedule.spaced("5 seconds")), Effect.forkScoped)
  yield* Effect.forkScoped(watchDescriptors)
  yield* Effect.addFinalizer(() => end)
  yield* registry.participate(prepare)
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
const maxStallMillis = 60_000

/** An address that is gone goes on with what it saw last. */
const makeCurrent = (registry: Registry["Service"], binding: Binding): (() => Current) => {
  let seen: Current = { snapshot: registry.current(), binding }
  return derived(registry.current, (snapshot) => {
    const now = bindingsOf(snapshot.config).get(binding.key)
    if (now !== undefined) seen = { snapshot, binding: now }
    return seen
  })
}

const tellLost = ({ message, path }: CannotListen) =>
  Effect.logError("a listener that was to stay could not be opened again", { path, message })
