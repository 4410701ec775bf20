/** Whether a decoded configuration can be used, beyond what the schema of each field says. */
import { Redacted } from "effect"
import { checkAdminToken } from "./AdminToken.ts"
import { checkReferences } from "./CrossReferences.ts"
import type { GatewayConfig } from "./GatewayConfig.ts"
import type { Issue } from "./Issue.ts"
import type { Listener } from "./Listener.ts"
import { indexOfConfig } from "./ReferenceIndex.ts"
import { checkSafety } from "./SafetyChecks.ts"
import { checkAvailable } from "./Unavailable.ts"

/** All but the names, which the loader looks at before it decodes. `isReused`: see {@link checkAdminToken}. */
export const checkSettings = (config: GatewayConfig, isReused: boolean): ReadonlyArray<Issue> => [
  ...checkSafety(config),
  ...checkAdminToken(config, isReused),
  ...checkAvailable(config)
]

/** For an edited configuration: what the loader would say of a file that says the same. */
export const checkConfig = (config: GatewayConfig, isReused: boolean): ReadonlyArray<Issue> => [
  ...checkSettings(config, isReused),
  ...checkReferences(indexOfConfig(config))
]

/** What follows from the rest: a lone pool needs no mention, and an empty token is none. */
export const settle = (config: GatewayConfig): GatewayConfig => {
  const only = config.pools.length === 1 ? config.pools[0]?.name : undefined
  const withPool = (listener: Listener): Listener =>
    listener.pool === undefined && only !== undefined ? { ...listener, pool: only } : listener
  const [first, ...rest] = config.listeners
  const { token, ...admin } = config.admin
  return {
    ...config,
    listeners: [withPool(first), ...rest.map(withPool)],
    admin: token === undefined || Redacted.value(token) === "" ? admin : { ...admin, token }
  }
}
