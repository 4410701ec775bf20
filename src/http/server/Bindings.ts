/** The addresses that a configuration opens, and what can be reached at each. */
import type { GatewayConfig } from "../../domain/GatewayConfig.ts"
import type { Listener } from "../../domain/Listener.ts"

export interface Binding {
  /** The same for as long as the same socket will do: only then is it left alone by a change. */
  readonly key: string
  readonly listener: Listener
  /** `clients`: what clients may ask; `admin`: what administration is about; `everything`: both. */
  readonly serves: "clients" | "admin" | "everything"
  /** Where the configuration says so. */
  readonly path: string
}

/** By key, in the order of the configuration. */
export const bindingsOf = (config: GatewayConfig): ReadonlyMap<string, Binding> => {
  const { admin, listeners } = config
  const bindings = listeners.map((listener, index): Binding => {
    const serves = admin.port === undefined && index === 0 ? "everything" : "clients"
    return { key: keyOf(listener), listener, serves, path: `listeners[${index}]` }
  })
  if (admin.port !== undefined) {
    const listener = adminListener(listeners[0], admin.host, admin.port)
    bindings.push({ key: keyOf(listener), listener, serves: "admin", path: "admin" })
  }
  return new Map(bindings.map((binding) => [binding.key, binding]))
}

/** Any free port is one of its own for each name; with and without TLS are two kinds of server. */
const keyOf = ({ host, name, port, tls }: Listener): string =>
  [host, port, port === 0 ? name : "", tls === undefined ? "plain" : "tls"].join(" ")

/** The admin API as a listener that no pool stands behind. */
const adminListener = ({ connectTimeout, maxConnections }: Listener, host: string, port: number): Listener => ({
  name: "admin",
  host,
  port,
  routes: [],
  connectTimeout,
  maxConnections,
  auth: false,
  trustedProxies: [],
  passThrough: "none",
  cors: { origins: [] }
})
