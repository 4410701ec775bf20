/** Keys of the contract whose feature this version does not have: said at the start, never ignored in silence. */
import type { GatewayConfig } from "./GatewayConfig.ts"
import type { Issue } from "./Issue.ts"

/** An issue for each setting that would have no effect. */
export const checkAvailable = (config: GatewayConfig): ReadonlyArray<Issue> => {
  const issues: Array<Issue> = []
  const missing = (at: ReadonlyArray<PropertyKey>, feature: string) =>
    issues.push({ at, message: `this version of Weir has no ${feature} yet` })

  if (config.server.workers > 1) missing(["server", "workers"], "workers that share a port")
  if (config.state.store !== "memory") missing(["state", "store"], `${config.state.store} store`)
  return issues
}
