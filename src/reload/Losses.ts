/**
 * What a change of a file takes away that is not taken away by a change of a file: every backend, every listener, or
 * all that the file said. More often it is a slip: a file cut off, mounted empty, or replaced by another one.
 */
import type { Loaded, Problem } from "../config/ConfigLoader.ts"
import type { GatewayConfig } from "../domain/GatewayConfig.ts"

const mend = "nothing was changed; send SIGHUP to apply it all the same"

/** `running` is in force, `last` is what was read for it, `next` what was read now. */
export const lossesOf = (running: GatewayConfig, last: Loaded, next: Loaded): ReadonlyArray<Problem> => [
  ...emptied(last, next),
  ...withoutBackends(running, next),
  ...withoutListeners(running, next)
]

const emptied = (last: Loaded, next: Loaded): ReadonlyArray<Problem> =>
  last.said.flatMap(({ names, source }) => {
    const now = next.said.find((other) => other.source === source)
    const isEmptied = names.length > 0 && (now?.names.length ?? 0) === 0
    return isEmptied ? [{ path: source, message: `says nothing any more: ${mend}` }] : []
  })

const withoutBackends = (running: GatewayConfig, { config }: Loaded): ReadonlyArray<Problem> =>
  running.backends.length > 0 && config.backends.length === 0
    ? [{ path: "backends", message: `this takes away every backend (${running.backends.length}): ${mend}` }]
    : []

/** A listener always remains: where none is written, the default one. Then those that run have not been moved. */
const withoutListeners = (running: GatewayConfig, { config, said }: Loaded): ReadonlyArray<Problem> => {
  if (said.some(({ names }) => names.includes("listeners"))) return []
  const addresses = new Set(config.listeners.map(addressOf))
  return running.listeners.some((listener) => addresses.has(addressOf(listener)))
    ? []
    : [{ path: "listeners", message: `this takes away every listener (${running.listeners.length}): ${mend}` }]
}

const addressOf = ({ host, port }: GatewayConfig["listeners"][number]) => `${host} ${port}`
