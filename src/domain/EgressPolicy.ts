/**
 * Where a gateway must never be made to connect to. The metadata services of clouds hand out credentials to whoever
 * asks from inside the machine, so no configuration opens them; private networks and further ones are configurable.
 */
import { Result } from "effect"
import { IpNetwork, NetAddress } from "effect/net"
import type { Security } from "./GatewayConfig.ts"

const networks = (...texts: ReadonlyArray<string>): ReadonlyArray<IpNetwork.IpNetwork> =>
  texts.map((text) => IpNetwork.fromStringUnsafe(text))

/** Link-local as a whole (AWS, GCP, Azure, ECS), Alibaba, Oracle, Azure's wire server, and AWS over IPv6. */
const metadataNetworks = networks(
  "169.254.0.0/16",
  "100.100.100.200/32",
  "192.0.0.192/32",
  "168.63.129.16/32",
  "fd00:ec2::254/128",
  "fd00:ec2::23/128",
  "fe80::a9fe:a9fe/128"
)

const metadataNames = new Set(["metadata.google.internal", "metadata.goog", "instance-data.ec2.internal"])

const privateNetworks = networks(
  "10.0.0.0/8",
  "172.16.0.0/12",
  "192.168.0.0/16",
  "127.0.0.0/8",
  "100.64.0.0/10",
  "0.0.0.0/8",
  "::1/128",
  "::/128",
  "fc00::/7",
  "fe80::/10"
)

export interface EgressPolicy {
  /** Why this host name must not be used, before anything is resolved; `undefined` where nothing speaks against it. */
  readonly refuseHost: (host: string) => string | undefined
  /** Why this resolved address must not be connected to. */
  readonly refuseAddress: (address: string) => string | undefined
}

export const makeEgressPolicy = (security: Security): EgressPolicy => {
  const denied = security.denyNetworks.map((text) =>
    IpNetwork.fromStringUnsafe(text.includes("/") ? text : `${text}/${text.includes(":") ? 128 : 32}`)
  )

  const refuseAddress = (address: string): string | undefined => {
    const ip = parseAddress(address)
    if (ip === undefined) return undefined
    const inside = (network: IpNetwork.IpNetwork) => IpNetwork.contains(network, ip)
    if (metadataNetworks.some(inside)) return "is the metadata service of a cloud"
    if (denied.some(inside)) return "is in one of security.denyNetworks"
    if (!security.allowPrivateBackends && privateNetworks.some(inside)) {
      return "is in a private network, and security.allowPrivateBackends is false"
    }
    return undefined
  }

  const refuseHost = (host: string): string | undefined => {
    const bare = host
      .replace(/^\[|\]$/g, "")
      .replace(/\.$/, "")
      .toLowerCase()
    if (metadataNames.has(bare)) return "is the metadata service of a cloud"
    return refuseAddress(bare)
  }

  return { refuseHost, refuseAddress }
}

/** An address without its zone; an IPv4 address that is wrapped in IPv6 is unwrapped first. */
const parseAddress = (text: string): NetAddress.IpAddress | undefined => {
  const parsed = NetAddress.ipFromString(text.replace(/%.*$/, ""))
  if (Result.isFailure(parsed)) return undefined
  const ip = NetAddress.toCanonical(parsed.success)
  return NetAddress.isIpv6Address(ip) ? (embeddedIpv4(NetAddress.ipv6ToSegments(ip)) ?? ip) : ip
}

/** The IPv4 address inside an IPv4-compatible (`::a.b.c.d`), NAT64 (`64:ff9b::/96`) or 6to4 (`2002::/16`) address. */
const embeddedIpv4 = (segments: NetAddress.Ipv6Segments): NetAddress.Ipv4Address | undefined => {
  const prefix = segments
    .slice(0, 6)
    .map((segment) => segment.toString(16))
    .join(":")
  if (segments[0] === 0x2002) return fromWords(segments[1], segments[2])
  if (prefix === "64:ff9b:0:0:0:0") return fromWords(segments[6], segments[7])
  return prefix === "0:0:0:0:0:0" && segments[6] !== 0 ? fromWords(segments[6], segments[7]) : undefined
}

const fromWords = (high: number, low: number): NetAddress.Ipv4Address =>
  NetAddress.ipv4FromBytesUnsafe(Uint8Array.of(high >> 8, high & 0xff, low >> 8, low & 0xff))
