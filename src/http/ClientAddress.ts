/** Which address a request counts for. */
import { memoize } from "effect/Function"
import { IpNetwork, NetAddress } from "effect/net"
import { networkUnsafe, parseAddress } from "../domain/Addresses.ts"
import type { Listener } from "../domain/Listener.ts"
import type { Incoming } from "./Incoming.ts"

export interface ClientAddress {
  /**
   * The peer; or, where the peer is a proxy that this listener trusts, the last address in `X-Forwarded-For` that is not
   * such a proxy itself. What any other writes there is not believed. Canonical (RFC 5952), without port, brackets and
   * zone, and as IPv4 where it is an IPv4 address mapped into IPv6.
   */
  readonly of: (incoming: Incoming, listener: Listener) => string
  /** Whether the peer is a proxy that this listener trusts. */
  readonly isTrustedPeer: (incoming: Incoming, listener: Listener) => boolean
}

/** Proxies in a row that are looked through; no real chain has as many. */
const maxProxies = 64

export const makeClientAddress = (): ClientAddress => {
  const networksOf = memoize((listener: Listener) => listener.trustedProxies.map(networkUnsafe))

  const isTrusted = (listener: Listener, address: NetAddress.IpAddress | undefined): boolean =>
    address !== undefined && networksOf(listener).some((network) => IpNetwork.contains(network, address))

  const isTrustedPeer = ({ message }: Incoming, listener: Listener): boolean =>
    listener.trustedProxies.length > 0 && isTrusted(listener, parseAddress(message.socket.remoteAddress ?? ""))

  return {
    isTrustedPeer,
    of: (incoming, listener) => {
      const peer = canonicalPeer(incoming.message.socket.remoteAddress ?? "unknown")
      if (!isTrustedPeer(incoming, listener)) return peer
      const forwarded = incoming.header("x-forwarded-for") ?? ""
      let end = forwarded.length
      for (let hops = 0; hops < maxProxies && end > 0; ) {
        const comma = forwarded.lastIndexOf(",", end - 1)
        const hop = forwarded.slice(comma + 1, end).trim()
        end = comma
        if (hop === "") continue
        hops++
        const address = parseAddress(bareHop(hop))
        // What is no address was written by a proxy that did not know it, or by the client: nothing before it counts.
        if (address === undefined) return peer
        if (!isTrusted(listener, address)) return NetAddress.formatIp(address)
      }
      return peer
    }
  }
}

/** IPv4 is canonical as the socket has it, and most peers are that. */
const canonicalPeer = (address: string): string => {
  if (!address.includes(":")) return address
  const parsed = parseAddress(address)
  return parsed === undefined ? address : NetAddress.formatIp(parsed)
}

/** `1.2.3.4:5`, `[2001:db8::1]`, `[2001:db8::1]:5`, and each of them in quotes: what is before the port. */
const hopForm = /^(?:\[([^\]]+)\]|([^:]+))(?::\d{1,5})?$/

const bareHop = (hop: string): string => {
  const text = hop.length > 2 && hop.startsWith('"') && hop.endsWith('"') ? hop.slice(1, -1) : hop
  const [, bracketed, plain] = hopForm.exec(text) ?? []
  return bracketed ?? plain ?? text
}
