/** `docs/metrics.md`: every family of metrics, as a gateway with one backend really has it. */
import { Effect, Metric, Schedule } from "effect"
import { parseGatewayConfig } from "../../src/domain/GatewayConfig.ts"
import { layerGateway } from "../../src/Gateway.ts"
import { families as requestFamilies } from "../../src/telemetry/Families.ts"
import { code, heading, table } from "./Markdown.ts"

interface Family {
  readonly name: string
  readonly kind: string
  readonly description: string
  readonly labels: ReadonlyArray<string>
}

/** What the value of a label is. A label that is not here stops the generator. */
const meanings: Readonly<Record<string, string>> = {
  backend: "the name of a backend",
  code: "the code of an error of the gateway's own ([errors](errors.md))",
  end: "`complete`, `upstream_truncated`, `upstream_timeout`, `upstream_error` or `client_gone`",
  error: "a status, or the kind of a failure: `connect`, `tls`, `reset`, `protocol`, `timeout` …",
  from: "the phase that a circuit was in: `closed`, `half_open` or `open`",
  kind: "`prompt` or `completion`",
  listener: "the name of a listener; `admin` for the admin surface",
  method: "the method of a request; `other` for unusual ones",
  model: "a model that is configured, or one of the first `telemetry.maxModelLabels` that backends list; else `other`",
  outcome: "what became of a session's preference: `hit`, `miss` or `moved`",
  pool: "the name of a pool",
  reason: "the code of a refusal; for retries what failed, `hedge` or `fallback`",
  result: "`success`, `failure` or `ignored`; for reloads `applied`, `unchanged` or `refused`",
  route: "an endpoint's path as it is known, or `other`",
  scope: "`ip` or `key`",
  status: "the status of the answer",
  to: "the phase that a circuit is in now"
}

/** One backend in one pool, so that each gauge has a series; nothing listens at that port. */
const configuration = {
  listeners: [{ port: 0 }],
  backends: [{ name: "a", url: "http://127.0.0.1:9" }],
  pools: [{ name: "default", backends: ["a"] }],
  telemetry: { logs: { level: "none" } }
}

const families: Effect.Effect<ReadonlyArray<Family>> = Effect.gen(function* () {
  const config = yield* parseGatewayConfig(configuration)
  const loaded = { config, file: undefined, files: [], looks: new Map(), said: [] }
  const gateway = layerGateway(loaded, Effect.succeed(loaded), () => Effect.void)
  const read = Effect.gen(function* () {
    // Gauges follow the backends and pools that exist, a moment later.
    return yield* Metric.snapshot.pipe(
      Effect.repeat({
        schedule: Schedule.spaced("10 millis"),
        until: (found) => ["weir_backend_healthy", "weir_queue_depth"].every((id) => found.some((one) => one.id === id))
      }),
      Effect.timeout("5 seconds")
    )
  })
  const found = yield* Effect.provide(read, gateway)
  const observed = found.map(({ attributes, description, id, type }) => ({
    name: id,
    kind: type.toLowerCase(),
    description: description ?? "",
    labels: Object.keys(attributes ?? {})
  }))
  const written = Object.values(requestFamilies)
  const names = new Set(written.map(({ name }) => name))
  return [...written, ...observed.filter(({ name }) => !names.has(name))]
}).pipe(Effect.orDie)

const unitOf = (name: string): string => /_(seconds|bytes)(?:_total)?$/.exec(name)?.[1] ?? ""

export const metrics = async (): Promise<string> => {
  const all = (await Effect.runPromise(families)).toSorted((one, other) => (one.name < other.name ? -1 : 1))
  const labels = [...new Set(all.flatMap((family) => family.labels))].toSorted()
  const unknown = labels.filter((label) => meanings[label] === undefined)
  if (unknown.length > 0) throw new Error(`labels without a meaning in docs/generate/metrics.ts: ${unknown.join(", ")}`)
  return `${heading("Metrics", "metrics")}
\`/metrics\` of the admin surface speaks Prometheus' text format. Counters start at 0 with the process. A series
appears with its first value. One whose name (a pool, a backend, a model …) has been gone for an hour is dropped. A
client cannot make a series: labels are names that exist, anything else is \`other\`.

${table(
  ["name", "kind", "unit", "labels", "tells"],
  all.map(({ description, kind, labels, name }) => [
    code(name),
    kind,
    unitOf(name),
    labels.map(code).join(", "),
    description
  ])
)}

Histograms have the series \`_bucket\`, \`_sum\` and \`_count\`.

## Labels

${table(
  ["label", "is"],
  labels.map((label) => [code(label), meanings[label] ?? ""])
)}
`
}
