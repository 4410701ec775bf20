/**
 * What the names in a configuration mean at the moment it is read. Only where a name means an address that is refused is
 * this a problem; a name that means nothing yet may do so later, and is looked at again at every connect.
 */
import { lookup } from "node:dns/promises"
import { isIP } from "node:net"
import { Effect } from "effect"
import { makeEgressPolicy } from "../domain/EgressPolicy.ts"
import type { GatewayConfig } from "../domain/GatewayConfig.ts"
import type { Issue } from "../domain/Issue.ts"

/** A start does not wait for a name server that is away. */
const lookupTimeout = "1 second"

/** An issue for each backend whose name means a refused address now. */
export const checkResolution = Effect.fnUntraced(function* ({ backends, security }: GatewayConfig) {
  const { refuseAddress } = makeEgressPolicy(security)
  const hosts = backends.map(({ url }) => new URL(url).hostname.replace(/^\[|\]$/g, ""))
  const names = [...new Set(hosts)].filter((host) => isIP(host) === 0)
  const found = new Map<string, string>()
  const look = (name: string) =>
    Effect.tryPromise(() => lookup(name, { all: true })).pipe(
      Effect.map((addresses) => {
        const reason = addresses.map(({ address }) => refuseAddress(address)).find((one) => one !== undefined)
        if (reason !== undefined) found.set(name, reason)
      }),
      Effect.ignore
    )
  // One of the four threads that look names up stays free for everything else that they do.
  yield* Effect.forEach(names, look, { concurrency: 3, discard: true }).pipe(Effect.timeoutOption(lookupTimeout))
  return hosts.flatMap((host, index): ReadonlyArray<Issue> => {
    const reason = found.get(host)
    return reason === undefined
      ? []
      : [{ at: ["backends", index, "url"], message: `refused: this name means an address that ${reason}` }]
  })
})
