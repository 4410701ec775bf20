/** What a change changes, in words that a person can check against what they meant. */
import { Equal } from "effect"
import type { GatewayConfig } from "../domain/GatewayConfig.ts"

/** One line for each thing that came, went or is different: `backend gpu-1 added`. No value, so no secret, is in it. */
export const differences = (before: GatewayConfig, after: GatewayConfig): ReadonlyArray<string> =>
  Object.values(comparisons).flatMap((compare) => compare(before, after))

type Compare = (before: GatewayConfig, after: GatewayConfig) => ReadonlyArray<string>

const section =
  (name: keyof GatewayConfig): Compare =>
  (before, after) =>
    Equal.equals(before[name], after[name]) ? [] : [`${name} changed`]

/** What is told, in this order. A section that is not in here does not compile. */
const comparisons = {
  listeners: (before, after) => named("listener", before.listeners, after.listeners),
  backends: (before, after) => named("backend", before.backends, after.backends),
  pools: (before, after) => named("pool", before.pools, after.pools),
  keys: (before, after) => named("key", before.keys, after.keys),
  server: section("server"),
  admin: section("admin"),
  models: section("models"),
  defaultModel: section("defaultModel"),
  fallbackBackend: section("fallbackBackend"),
  limits: section("limits"),
  health: section("health"),
  telemetry: section("telemetry"),
  security: section("security"),
  state: section("state")
} satisfies Record<keyof GatewayConfig, Compare>

type Named = { readonly name: string }

const named = (kind: string, before: ReadonlyArray<Named>, after: ReadonlyArray<Named>): ReadonlyArray<string> => {
  const old = new Map(before.map((entry) => [entry.name, entry]))
  const now = new Map(after.map((entry) => [entry.name, entry]))
  const gone = before.filter(({ name }) => !now.has(name)).map(({ name }) => `${kind} ${name} removed`)
  const others = after.flatMap((entry) => {
    const known = old.get(entry.name)
    if (known === undefined) return [`${kind} ${entry.name} added`]
    return Equal.equals(known, entry) ? [] : [`${kind} ${entry.name} changed`]
  })
  const kept = (entries: ReadonlyArray<Named>, others: ReadonlyMap<string, Named>) =>
    entries.flatMap(({ name }) => (others.has(name) ? [name] : []))
  const moved = !Equal.equals(kept(before, now), kept(after, old))
  return [...gone, ...others, ...(moved ? [`${kind}s in another order`] : [])]
}

/** Settings that are read once, when the process starts. */
const fixed: ReadonlyArray<readonly [path: string, of: (config: GatewayConfig) => unknown]> = [
  ["server.workers", ({ server }) => server.workers],
  ["server.reusePort", ({ server }) => server.reusePort],
  ["telemetry.serviceName", ({ telemetry }) => telemetry.serviceName],
  ["telemetry.traces", ({ telemetry }) => telemetry.traces],
  ["state", ({ state }) => state]
]

/** Which settings of a configuration differ from those that the process runs with, and can only follow at a start. */
export const awaitingRestart = (running: GatewayConfig, wanted: GatewayConfig): ReadonlyArray<string> =>
  fixed.flatMap(([path, of]) => (Equal.equals(of(running), of(wanted)) ? [] : [path]))
