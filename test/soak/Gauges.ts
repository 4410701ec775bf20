/** What the gateway's process holds, looked at again and again; and what the gateway says of itself. */
import { existsSync, readdirSync } from "node:fs"
import { Effect, Schema } from "effect"

/** One look at the process. */
export interface Sample {
  /** Milliseconds since the first look. */
  readonly at: number
  readonly rss: number
  readonly heap: number
  /** Timers, sockets and whatever else keeps the process alive. */
  readonly resources: number
  /** `undefined` where the system does not tell. */
  readonly files: number | undefined
}

const text = (url: string): Effect.Effect<string> => Effect.promise(async () => (await fetch(url)).text())

const valueOf = (metrics: string, name: string): number =>
  Number(new RegExp(`^${name} (\\S+)$`, "m").exec(metrics)?.[1] ?? Number.NaN)

const openFiles = (pid: number): number | undefined => {
  const folder = `/proc/${pid}/fd`
  return existsSync(folder) ? readdirSync(folder).length : undefined
}

export const look = (url: string, pid: number, began: number): Effect.Effect<Sample> =>
  Effect.map(text(`${url}/metrics`), (metrics) => ({
    at: performance.now() - began,
    rss: valueOf(metrics, "process_resident_memory_bytes"),
    heap: valueOf(metrics, "nodejs_heap_size_used_bytes"),
    resources: valueOf(metrics, "nodejs_active_resources"),
    files: openFiles(pid)
  }))

const decodeCounts = Schema.decodeUnknownSync(
  Schema.fromJsonString(
    Schema.Struct({
      active_requests: Schema.Int,
      queue_depth: Schema.Int,
      backends: Schema.Array(Schema.Struct({ inflight: Schema.Int }))
    })
  )
)

/** Everything that the gateway counts as being under way. */
export const underWay = (url: string): Effect.Effect<number> =>
  Effect.map(text(`${url}/stats`), (json) => {
    const { active_requests, backends, queue_depth } = decodeCounts(json)
    return backends.reduce((sum, { inflight }) => sum + inflight, active_requests + queue_depth)
  })

export const median = (values: ReadonlyArray<number>): number => {
  const sorted = values.toSorted((one, other) => one - other)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}
