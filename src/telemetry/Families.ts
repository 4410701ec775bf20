/**
 * Every family of metrics that requests write: its kind, name, description and labels, in one place. What is read only
 * when it is asked for is described where it is observed.
 */

const secondsBuckets = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600
]
const overheadBuckets = [0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5]

export interface FamilyDescription<Label extends string = string> {
  readonly kind: "counter" | "histogram"
  readonly name: string
  readonly description: string
  readonly labels: ReadonlyArray<Label>
  /** Upper bounds in seconds; of a histogram only. */
  readonly buckets?: ReadonlyArray<number>
}

const counter = <Label extends string>(
  name: string,
  description: string,
  ...labels: ReadonlyArray<Label>
): FamilyDescription<Label> => ({ kind: "counter", name, description, labels })

const histogram = <Label extends string>(
  name: string,
  description: string,
  ...labels: ReadonlyArray<Label>
): FamilyDescription<Label> => ({ kind: "histogram", name, description, labels, buckets: secondsBuckets })

export const families = {
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
  circuitChanges: counter("weir_circuitbreaker_state_changes_total", "Changes of a circuit", "backend", "from", "to"),
  circuitCalls: counter("weir_circuitbreaker_calls_total", "Attempts as the circuit counted them", "backend", "result"),
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
  overhead: { ...histogram("weir_overhead_seconds", "The gateway's own share of a request"), buckets: overheadBuckets }
}
