/**
 * The gateway's figures, as the contract names them. Labels come from names that exist, configured or (bounded)
 * listed by backends, so that no client can make a series; what is not known is `other`.
 *
 * Handles are made once for each combination of labels and kept: an update is one table lookup and one addition.
 */
import { Context, Effect, Layer, Metric } from "effect"
import { type IsCurrent, SeriesTree, type Update } from "./SeriesTree.ts"

const secondsBuckets = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600
]
const overheadBuckets = [0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5]

/** One name with its labels; the values are given in the order of the labels. */
type Family = (...values: ReadonlyArray<string>) => Update

export class Metrics extends Context.Service<
  Metrics,
  {
    readonly httpRequests: Family
    readonly httpDuration: Family
    readonly httpErrors: Family
    readonly rateLimited: Family
    readonly connectionsRefused: Family
    readonly rejected: Family
    readonly queueWait: Family
    readonly upstreamRequests: Family
    readonly upstreamDuration: Family
    readonly upstreamErrors: Family
    readonly retries: Family
    readonly circuitChanges: Family
    readonly circuitCalls: Family
    readonly firstToken: Family
    readonly interToken: Family
    readonly tokens: Family
    readonly streamEnds: Family
    readonly sticky: Family
    readonly configReloads: Family
    readonly overhead: Update
    /** A figure that is read when somebody asks; the answer ends it. */
    readonly observe: (
      name: string,
      description: string,
      labels: Record<string, string>,
      read: () => number
    ) => () => void
    /** Drops the series of names that have been gone for an hour; to be called now and then with a monotonic time. */
    readonly sweep: (now: number, isCurrent: IsCurrent) => void
    /** The same for what only grows. */
    readonly observeTotal: (name: string, description: string, read: () => number) => () => void
  }
>()("weir/telemetry/Metrics") {
  /** Figures live in the registry of the context, so two gateways in one process do not share them. */
  static readonly layer = Layer.effect(
    Metrics,
    Effect.map(Effect.context(), (context) => {
      const trees: Array<SeriesTree> = []
      // Each series is a metric with attributes of its own: through `withAttributes` its key would be made at every update.
      const family = (
        make: (attributes: Record<string, string>) => Metric.Metric<number, unknown>,
        ...labels: ReadonlyArray<string>
      ): Family => {
        const series = new SeriesTree(labels, (attributes) => {
          const metric = make(attributes)
          return {
            update: (value) => metric.updateUnsafe(value, context),
            remove: () => Metric.removeUnsafe(metric, context)
          }
        })
        trees.push(series)
        return (...values) => series.of(values)
      }
      const counter = (name: string, description: string, ...labels: ReadonlyArray<string>) =>
        family((attributes) => Metric.counter(name, { description, attributes, incremental: true }), ...labels)
      const histogram = (name: string, description: string, ...labels: ReadonlyArray<string>) =>
        family(
          (attributes) => Metric.histogram(name, { description, attributes, boundaries: secondsBuckets }),
          ...labels
        )

      return Metrics.of({
        httpRequests: counter("weir_http_requests_total", "Requests answered", "listener", "route", "method", "status"),
        httpDuration: histogram(
          "weir_http_request_duration_seconds",
          "From the request to the end of its answer",
          "listener",
          "route"
        ),
        httpErrors: counter(
          "weir_http_errors_total",
          "Answers that are the gateway's own errors",
          "listener",
          "code",
          "status"
        ),
        connectionsRefused: counter(
          "weir_connections_refused_total",
          "Connections closed because the listener had as many as it may",
          "listener"
        ),
        rateLimited: counter("weir_ratelimit_total", "Requests refused by a limit", "listener", "scope"),
        rejected: counter("weir_requests_rejected_total", "Requests that found no place", "pool", "reason"),
        queueWait: histogram("weir_queue_wait_seconds", "Time between admission asked and given", "pool"),
        upstreamRequests: counter("weir_upstream_requests_total", "Attempts sent to backends", "pool", "backend"),
        upstreamDuration: histogram(
          "weir_upstream_duration_seconds",
          "From the attempt to its response head",
          "pool",
          "backend"
        ),
        upstreamErrors: counter("weir_upstream_errors_total", "Attempts that failed", "pool", "backend", "error"),
        retries: counter("weir_retries_total", "Further attempts", "pool", "reason"),
        circuitChanges: counter(
          "weir_circuitbreaker_state_changes_total",
          "Changes of a circuit",
          "backend",
          "from",
          "to"
        ),
        circuitCalls: counter(
          "weir_circuitbreaker_calls_total",
          "Attempts as the circuit counted them",
          "backend",
          "result"
        ),
        firstToken: histogram(
          "weir_time_to_first_token_seconds",
          "From the request to the first output of a stream",
          "pool",
          "model"
        ),
        interToken: histogram("weir_inter_token_latency_seconds", "Between two outputs of a stream", "pool", "model"),
        tokens: counter("weir_tokens_total", "Tokens, as the backends count them", "pool", "model", "kind"),
        streamEnds: counter("weir_stream_ends_total", "How streams ended", "pool", "end"),
        sticky: counter("weir_sticky_total", "What became of sessions' preferences", "pool", "outcome"),
        configReloads: counter("weir_config_reloads_total", "Times that the configuration was read again", "result"),
        overhead: family((attributes) =>
          Metric.histogram("weir_overhead_seconds", {
            description: "The gateway's own share of a request",
            attributes,
            boundaries: overheadBuckets
          })
        )(),
        sweep: (now, isCurrent) => {
          for (const tree of trees) tree.sweep(now, isCurrent)
        },
        observe: (name, description, labels, read) => {
          const gauge = Metric.withAttributes(Metric.gauge(name, { description }), labels)
          const registration = Metric.registerUnsafe(gauge, context, {
            get: () => ({ value: read() }),
            update: () => {},
            modify: () => {}
          })
          return () => registration.remove()
        },
        observeTotal: (name, description, read) => {
          const registration = Metric.registerUnsafe(
            Metric.counter(name, { description, incremental: true }),
            context,
            {
              get: () => ({ count: read(), incremental: true }),
              update: () => {},
              modify: () => {}
            }
          )
          return () => registration.remove()
        }
      })
    })
  )
}
