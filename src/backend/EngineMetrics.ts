/** An engine's load from the page of metrics that it has for Prometheus. */
import type { Adapter } from "./Adapter.ts"

export interface MetricNames {
  readonly running: string
  readonly waiting: string
  /** The share of the KV cache in use, under the first of these names that is there. */
  readonly kvCacheUsage: ReadonlyArray<string>
  /** Series whose labels match this are a part of what another one says already. */
  readonly parts?: RegExp
}

/** Requests add up over the engines behind one page, shares of a cache do not. `undefined`: no queue is known. */
export const loadFromPrometheus =
  ({ kvCacheUsage, parts, running, waiting }: MetricNames): Adapter["load"] =>
  ({ body, status }) => {
    if (status !== 200 || typeof body !== "string") return undefined
    const valuesOf = (name: string) => readPrometheus(body, name, parts)
    const queues = { running: valuesOf(running), waiting: valuesOf(waiting) }
    if (queues.running.length === 0 && queues.waiting.length === 0) return undefined
    const caches = kvCacheUsage.map(valuesOf).find(({ length }) => length > 0)
    const started = readPrometheus(body, "process_start_time_seconds")
    return {
      running: sum(queues.running),
      waiting: sum(queues.waiting),
      kvCacheUsage: caches === undefined ? 0 : Math.min(1, sum(caches) / caches.length),
      ...(started.length > 0 && { startedAt: Math.max(...started) })
    }
  }

/** What follows a name: labels, which may hold anything within their quotes, then the value. */
const labelsAndValue = /^(\{(?:[^"}]|"(?:[^"\\]|\\.)*")*\})?[ \t]+([^\s#]+)/

/** The values of a name in Prometheus text, one for each of its series but those whose labels match `parts`. */
export const readPrometheus = (text: string, name: string, parts?: RegExp): ReadonlyArray<number> =>
  text.split("\n").flatMap((line) => {
    if (!line.startsWith(name)) return []
    const [, labels = "", written] = labelsAndValue.exec(line.slice(name.length)) ?? []
    const value = Number(written ?? Number.NaN)
    return Number.isFinite(value) && parts?.test(labels) !== true ? [value] : []
  })

const sum = (values: ReadonlyArray<number>): number => values.reduce((total, value) => total + value, 0)
