/** The configurations under which Weir is measured, as plain data. */
import { createHash } from "node:crypto"
import { model } from "../wire/Events.ts"

/** The key that the load generator sends where keys are asked for. */
const clientKey = "sk-bench-0123456789abcdef"

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex")

export interface WeirOptions {
  readonly upstream: number
  readonly backends?: number
  /** So many keys in their SHA-256 form; the last one is the client's. */
  readonly keys?: number
  /** So many model rules, of which only the last one matches. */
  readonly rules?: number
  /** Keys with limits, stickiness by key, user and address, and a limit for each address. */
  readonly everything?: boolean
  readonly traces?: { readonly sink: number; readonly ratio: number }
}

const keysOf = ({ everything = false, keys = 0 }: WeirOptions): ReadonlyArray<object> => {
  const count = everything ? Math.max(1, keys) : keys
  // Limits that are far away: what is measured is their bookkeeping.
  const limits = { requestsPerMinute: 100_000_000, tokensPerMinute: 1_000_000_000, concurrent: 1_000_000 }
  return Array.from({ length: count }, (_, index) => ({
    name: `key-${index}`,
    sha256: sha256(index === count - 1 ? clientKey : `sk-other-${index}`),
    ...(everything && { limits })
  }))
}

const rulesOf = ({ rules = 0 }: WeirOptions): ReadonlyArray<object> =>
  Array.from({ length: rules }, (_, index) => ({
    match: index === rules - 1 ? model : `model-${index}(-\\d+)?`,
    pool: "default"
  }))

/** Everything that is not named here has its default. */
export const weirConfig = (port: number, options: WeirOptions): object => {
  const { backends = 1, everything = false, traces, upstream } = options
  const names = Array.from({ length: backends }, (_, index) => `engine-${index + 1}`)
  const url = `http://127.0.0.1:${upstream}`
  const keys = keysOf(options)
  const rules = rulesOf(options)
  return {
    listeners: [{ port, ...(everything && { rateLimit: { perSecond: 10_000, burst: 20_000 } }) }],
    backends: names.map((name) => ({ name, url })),
    // Beyond a handful of backends their probes would be a load of their own.
    ...(backends > 1 && { health: { interval: "1h", timeout: "10s" } }),
    ...(everything && {
      pools: [{ name: "default", backends: names, sticky: { by: ["header", "user", "ip"] } }]
    }),
    ...(keys.length > 0 && { keys }),
    ...(rules.length > 0 && { models: rules }),
    ...(traces !== undefined && {
      telemetry: { traces: { endpoint: `http://127.0.0.1:${traces.sink}`, sampleRatio: traces.ratio } }
    })
  }
}

/** What a client of such a configuration sends. */
export const weirHeaders = ({ everything = false, keys = 0 }: WeirOptions): Readonly<Record<string, string>> => ({
  ...((everything || keys > 0) && { authorization: `Bearer ${clientKey}` }),
  ...(everything && { "x-session-key": "bench-session" })
})
