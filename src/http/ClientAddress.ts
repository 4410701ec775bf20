/** Which address a request counts for. */

import { Result } from "effect"
import { memoize } from "effect/Function"
import { IpNetwork, NetAddress } from "effect/net"
import type { Listener } from "../domain/Listener.ts"
import type { Incoming } from "./Incoming.ts"

/**
 * The peer; or, where the peer is a proxy that this listener trusts, the last address in `X-Forwarded-For` that is not
 * such a proxy itself. What anybody else writes there is not believed.
 */
export const makeClientAddress = () => {
  const networksOf = memoize((listener: Listener) => listener.trustedProxies.map(toNetwork))
  return ({ header, message }: Incoming, listener: Listener): string => {
    const peer = message.socket.remoteAddress ?? "unknown"
    if (listener.trustedProxies.length === 0) return peer
    const trusted = networksOf(listener)
    if (!isTrusted(trusted, peer)) return peer
    const hops = (header("x-forwarded-for") ?? "").split(",").map((hop) => hop.trim())
    return hops.findLast((hop) => hop !== "" && !isTrusted(trusted, hop)) ?? peer
  }
}

const toNetwork = (text: string): IpNetwork.IpNetwork =>
  IpNetwork.fromStringUnsafe(text.includes("/") ? text : `${text}/${text.includes(":") ? 128 : 32}`)

const isTrusted = (trusted: ReadonlyArray<IpNetwork.IpNetwork>, address: string): boolean => {
  const parsed = NetAddress.ipFromString(address)
  if (Result.isFailure(parsed)) return false
  const ip = NetAddress.toCanonical(parsed.success)
  return trusted.some((network) => IpNetwork.contains(network, ip))
}
