/**
 * What is equal stays the same object from one configuration to the next, so that whatever was derived from it and is
 * kept by identity (connections, prepared requests, candidates) stays too, and a change touches only what changed.
 */
import { Equal } from "effect"
import type { GatewayConfig } from "../domain/GatewayConfig.ts"

/** `before` itself where nothing changed. */
export const share = (before: GatewayConfig, next: GatewayConfig): GatewayConfig => {
  if (Equal.equals(before, next)) return before
  const [first, ...rest] = next.listeners
  const listener = named(before.listeners)
  const listeners: GatewayConfig["listeners"] = [listener(first), ...rest.map(listener)]
  const shared = {
    server: same(before.server, next.server),
    listeners,
    admin: same(before.admin, next.admin),
    backends: next.backends.map(named(before.backends)),
    pools: next.pools.map(named(before.pools)),
    models: same(before.models, next.models),
    keys: next.keys.map(named(before.keys)),
    limits: same(before.limits, next.limits),
    health: same(before.health, next.health),
    telemetry: same(before.telemetry, next.telemetry),
    security: same(before.security, next.security),
    state: same(before.state, next.state)
    // A section that is not in here does not compile.
  } satisfies Record<Exclude<keyof GatewayConfig, Text>, unknown>
  return { ...next, ...shared }
}

/** Nothing is kept by the identity of a text. */
type Text = "defaultModel" | "fallbackBackend"

const same = <A>(before: A, next: A): A => (Equal.equals(before, next) ? before : next)

const named = <A extends { readonly name: string }>(before: ReadonlyArray<A>): ((next: A) => A) => {
  const known = new Map(before.map((entry) => [entry.name, entry]))
  return (next) => same(known.get(next.name) ?? next, next)
}
