/** How connections are opened: TCP and TLS, and never to an address that the egress policy refuses. */
import { type LookupAddress, lookup as resolve } from "node:dns"
import type { LookupFunction } from "node:net"
import { buildConnector } from "undici"
import type { EgressPolicy } from "../domain/EgressPolicy.ts"
import type { TlsMaterial } from "./BackendTls.ts"
import { noteUse } from "./StaleConnection.ts"
import { UpstreamFailed } from "./UpstreamTransport.ts"

/**
 * The policy of the moment is asked for the name before it is resolved and for every address that it resolves to, at
 * each connect: what a name meant when the configuration was read is no promise.
 */
export const makeConnector = (
  policy: () => EgressPolicy,
  timeout: number,
  tls: TlsMaterial["options"] = {}
): buildConnector.connector => {
  const lookup = guardedLookup(policy)
  const connect = buildConnector({ ...tls, timeout, allowH2: false, lookup, autoSelectFamily: true })
  // The name in a request's Host must not win over the configured one.
  const named = tls.servername === undefined ? {} : { servername: tls.servername }
  return (options, callback) => {
    const reason = policy().refuseHost(options.hostname)
    if (reason !== undefined) return callback(refused(reason), null)
    connect({ ...options, ...named }, (...outcome) => {
      const [, socket] = outcome
      // Where it fails undici gives no socket at all, whatever its types say.
      socket?.prependListener("error", (error) => noteUse(error, socket.bytesRead))
      callback(...outcome)
    })
  }
}

export const refused = (reason: string): UpstreamFailed =>
  new UpstreamFailed({ kind: "refused", detail: `the address ${reason}` })

/** Resolves a name, and fails where any of its addresses is one that the policy of the moment refuses. */
export const guardedLookup =
  (policy: () => EgressPolicy): LookupFunction =>
  (hostname, options, callback) => {
    resolve(hostname, { ...options, all: true }, (error, addresses) => {
      if (error !== null) return callback(error, [])
      const { refuseAddress } = policy()
      const reason = addresses.map(({ address }) => refuseAddress(address)).find((found) => found !== undefined)
      if (reason !== undefined) return callback(refused(reason), [])
      answer(addresses, options.all === true, callback)
    })
  }

const answer = (
  addresses: ReadonlyArray<LookupAddress>,
  all: boolean,
  callback: Parameters<LookupFunction>[2]
): void => {
  const [first] = addresses
  if (all || first === undefined) callback(null, [...addresses])
  else callback(null, first.address, first.family)
}
