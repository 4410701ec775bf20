/**
 * Each connection takes a file descriptor, and the system gives a process no more than so many. Where the listeners may
 * have more connections than that, it is said at the start, not when clients are already turned away.
 */
import { Effect, Option, Schema } from "effect"
import type { GatewayConfig } from "../../domain/GatewayConfig.ts"
import type { Registry } from "../../registry/Registry.ts"
import { bindingsOf } from "./Bindings.ts"

const Limits = Schema.Struct({ userLimits: Schema.Struct({ open_files: Schema.Struct({ soft: Schema.Int }) }) })
const decodeLimits = Schema.decodeUnknownOption(Limits)

/**
 * How many files this process may have open; `undefined` where there is no limit or none is told (Windows). Takes 10 ms,
 * and longer with connections, whose addresses are looked up for the report: to be read before any is open.
 */
export const readDescriptorLimit: Effect.Effect<number | undefined> = Effect.sync(() =>
  Option.getOrUndefined(
    Option.map(decodeLimits(process.report.getReport()), ({ userLimits }) => userLimits.open_files.soft)
  )
)

/** For what is no connection of a client: files, timers, probes, a few connections to backends. */
const spareDescriptors = 64

/** The connections that all addresses together may have. */
const maxConnectionsOf = (config: GatewayConfig): number =>
  [...bindingsOf(config).values()].reduce((total, { listener }) => total + listener.maxConnections, 0)

/** Warns now where the limit is too low for the configuration, and at each change that asks for more. */
export const holdAgainstLimit = Effect.fnUntraced(function* (registry: Registry["Service"], limit: number | undefined) {
  if (limit === undefined) return
  let before = 0
  yield* registry.follow(({ config }) =>
    Effect.suspend(() => {
      const wanted = maxConnectionsOf(config)
      const isMore = wanted > before
      before = wanted
      return isMore && wanted + spareDescriptors > limit ? warn(wanted, limit) : Effect.void
    })
  )
})

const warn = (wanted: number, limit: number) =>
  Effect.logWarning(
    `the listeners may have ${wanted} connections at once (maxConnections of all together), but this process may ` +
      `have ${limit} files open: lower listeners[].maxConnections, or raise the limit (ulimit -n, or LimitNOFILE= ` +
      "in a systemd unit); each request to a backend takes one more",
    { maxConnections: wanted, fileLimit: limit }
  )
