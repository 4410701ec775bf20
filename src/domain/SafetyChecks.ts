/** What a start is refused for although the configuration is well-formed: doors that would stand open by mistake. */
import { Redacted } from "effect"
import { makeEgressPolicy, makeProxyPolicy } from "./EgressPolicy.ts"
import type { GatewayConfig } from "./GatewayConfig.ts"
import type { Issue } from "./Issue.ts"
import { isLoopbackHost } from "./Loopback.ts"

/** Open listeners and admin surfaces beyond loopback, and backends at addresses that none may have. */
export const checkSafety = (config: GatewayConfig): ReadonlyArray<Issue> => [
  ...openListeners(config),
  ...openAdmin(config),
  ...forbiddenBackends(config),
  ...forbiddenProxies(config)
]

const openListeners = ({ keys, listeners }: GatewayConfig): ReadonlyArray<Issue> =>
  listeners.flatMap((listener, index): ReadonlyArray<Issue> => {
    if (keys.length > 0) return []
    if (listener.auth === true) {
      return [{ at: ["listeners", index, "auth"], message: "asks for a key, but no keys are configured" }]
    }
    if (listener.auth === false || isLoopbackHost(listener.host)) return []
    const message =
      "listens beyond this machine without any key: configure keys (or WEIR_API_KEY), or say auth: false on purpose"
    return [{ at: ["listeners", index, "host"], message }]
  })

const openAdmin = ({ admin, listeners }: GatewayConfig): ReadonlyArray<Issue> => {
  if (admin.token !== undefined) return []
  const message = "the admin surface is reachable from elsewhere: set admin.token (or WEIR_ADMIN_TOKEN)"
  if (admin.port !== undefined) return isLoopbackHost(admin.host) ? [] : [{ at: ["admin", "host"], message }]
  return isLoopbackHost(listeners[0].host)
    ? []
    : [{ at: ["admin", "token"], message: `${message}, or give it a port of its own on loopback (admin.port)` }]
}

const forbiddenProxies = ({ pools, security }: GatewayConfig): ReadonlyArray<Issue> => {
  const policy = makeProxyPolicy(security)
  return pools.flatMap(({ client }, index): ReadonlyArray<Issue> => {
    if (client.proxy === undefined) return []
    const reason = policy.refuseHost(new URL(Redacted.value(client.proxy)).hostname)
    const at = ["pools", index, "client", "proxy"]
    return reason === undefined ? [] : [{ at, message: `refused: this address ${reason}` }]
  })
}

const forbiddenBackends = ({ backends, security }: GatewayConfig): ReadonlyArray<Issue> => {
  const policy = makeEgressPolicy(security)
  return backends.flatMap((backend, index): ReadonlyArray<Issue> => {
    const host = URL.parse(backend.url)?.hostname ?? ""
    const reason = policy.refuseHost(host)
    return reason === undefined ? [] : [{ at: ["backends", index, "url"], message: `refused: this address ${reason}` }]
  })
}
