/**
 * Where a gateway must never be made to connect to. The metadata services of clouds hand out credentials to any that
 * asks from inside the machine, so no configuration opens them; private networks and further ones are configurable.
 */

import { IpNetwork, NetAddress } from "effect/net"
import { networkUnsafe, parseAddress } from "./Addresses.ts"
import type { Security } from "./GatewayConfig.ts"

const networks = (...texts: ReadonlyArray<string>): ReadonlyArray<IpNetwork.IpNetwork> =>
  texts.map((text) => IpNetwork.fromStringUnsafe(text))

/**
 * As the clouds' own documentation has them. Over IPv4 link-local as a whole (AWS, ECS, EKS, Google, Azure, Oracle,
 * Tencent, Huawei, IBM, OpenStack, DigitalOcean, Hetzner, Vultr, Exoscale, Scaleway); the rest has addresses of its own.
 */
const metadataNetworks = networks(
  "169.254.0.0/16",
  // Alibaba.
  "100.100.100.200/32",
  "fd00:100::100:200/128",
  // Oracle, its older and its present cloud.
  "192.0.0.192/32",
  "fd00:c1::a9fe:a9fe/128",
  // Azure's agent of the host.
  "168.63.129.16/32",
  // AWS: what its machines are given (254), what EKS gives to pods (23), and the other services of the machine.
  "fd00:ec2::/32",
  // Google.
  "fd20:ce::254/128",
  // Scaleway.
  "fd00:42::42/128",
  // Akamai (Linode).
  "fd00:a9fe:a9fe::1/128",
  // OpenStack, and the clouds that are made of it.
  "fe80::a9fe:a9fe/128"
)

/** Names that mean such a service inside of a cloud: known before they are resolved, by a proxy perhaps. */
const metadataNames = new Set([
  "metadata.google.internal",
  "metadata.goog",
  "metadata",
  "instance-data",
  "instance-data.ec2.internal",
  "metadata.tencentyun.com",
  "api.metadata.cloud.ibm.com",
  "metadata.exoscale.com",
  "metadata.packet.net",
  "metadata.platformequinix.com"
])

/** AWS in its regions but the first, whose name is in the list above. */
const regionalMetadataName = /^instance-data\.[a-z0-9-]+\.compute\.internal$/

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
  const denied = security.denyNetworks.map(networkUnsafe)

  const refuseAddress = (address: string): string | undefined => {
    const meant = addressesIn(address)
    const inside = (network: IpNetwork.IpNetwork) => meant.some((ip) => IpNetwork.contains(network, ip))
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
      .replace(/\.+$/, "")
      .toLowerCase()
    if (metadataNames.has(bare) || regionalMetadataName.test(bare)) return "is the metadata service of a cloud"
    return refuseAddress(bare)
  }

  return { refuseHost, refuseAddress }
}

/** A proxy is no backend: where it stands may be private. All else holds for it too. */
export const makeProxyPolicy = (security: Security): EgressPolicy =>
  makeEgressPolicy({ ...security, allowPrivateBackends: true })

/** An address without its zone, and every IPv4 address that a network may take it for. */
const addressesIn = (text: string): ReadonlyArray<NetAddress.IpAddress> => {
  const ip = parseAddress(text)
  if (ip === undefined) return []
  return NetAddress.isIpv6Address(ip) ? [ip, ...embeddedIpv4(NetAddress.ipv6ToSegments(ip))] : [ip]
}

/** What translators and tunnels make of an IPv6 address; one wrapped as `::ffff:a.b.c.d` is unwrapped before. */
const embeddedIpv4 = (segments: NetAddress.Ipv6Segments): ReadonlyArray<NetAddress.Ipv4Address> => {
  const [first, second, third, fourth, fifth, sixth, high, low] = segments
  const last = fromWords(high, low)
  // 6to4.
  if (first === 0x2002) return [fromWords(second, third)]
  // Teredo: the server, and the client with all its bits turned.
  if (first === 0x2001 && second === 0) return [fromWords(third, fourth), fromWords(~high & 0xffff, ~low & 0xffff)]
  // NAT64, with the well-known prefix and with the one for local use.
  if (first === 0x64 && second === 0xff9b) return [last]
  // ISATAP.
  if (sixth === 0x5efe && (fifth === 0 || fifth === 0x200)) return [last]
  const leading = first | second | third | fourth
  // Stateless translation, then the old compatible form; `::` and `::1` are themselves.
  if (leading === 0 && fifth === 0xffff && sixth === 0) return [last]
  return leading === 0 && fifth === 0 && sixth === 0 && high !== 0 ? [last] : []
}

const fromWords = (high: number, low: number): NetAddress.Ipv4Address =>
  NetAddress.ipv4FromBytesUnsafe(Uint8Array.of(high >> 8, high & 0xff, low >> 8, low & 0xff))
