/** IP addresses and networks in one canonical form, so that two spellings of an address are one address. */
import { Result } from "effect"
import { IpNetwork, NetAddress } from "effect/net"

/**
 * The address that `text` spells, an IPv4 address that is mapped into IPv6 as IPv4; `undefined` where it spells none.
 * A zone (`%eth0`) says on which of this machine's links an address is, and is left out.
 */
export const parseAddress = (text: string): NetAddress.IpAddress | undefined => {
  const zone = text.indexOf("%")
  const parsed = NetAddress.ipFromString(zone > 0 ? text.slice(0, zone) : text)
  return Result.isFailure(parsed) ? undefined : NetAddress.toCanonical(parsed.success)
}

/** A network in CIDR form without bits after its prefix, or one address. */
export const parseNetwork = (text: string): Result.Result<IpNetwork.IpNetwork, NetAddress.NetAddressError> => {
  const whole = text.includes(":") ? 128 : 32
  return Result.map(IpNetwork.fromString(text.includes("/") ? text : `${text}/${whole}`), (network) => {
    const canonical = NetAddress.toCanonical(network.address)
    // `::ffff:10.0.0.0/104` is what 10.0.0.0/8 is called in IPv6.
    return whole === 128 && NetAddress.isIpv4Address(canonical) && network.prefixLength >= 96
      ? IpNetwork.makeUnsafe(canonical, network.prefixLength - 96)
      : network
  })
}

/** {@link parseNetwork} of what a configuration has been checked for. */
export const networkUnsafe = (text: string): IpNetwork.IpNetwork => Result.getOrThrow(parseNetwork(text))

/** Bits of an IPv6 address that its provider gives out as a whole; the rest its holder may change at will. */
const clientPrefixLength = 64

/**
 * What counts as one client of a limit on addresses: an IPv4 address, or the /64 of an IPv6 address. `address` is
 * canonical; what is none stays as it is.
 */
export const clientNetwork = (address: string): string => {
  if (!address.includes(":")) return address
  const parsed = parseAddress(address)
  return parsed === undefined ? address : IpNetwork.format(IpNetwork.fromAddressUnsafe(parsed, clientPrefixLength))
}
