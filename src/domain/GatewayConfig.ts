/** The whole configuration: what the file and the environment say together, validated, with every default filled in. */
import { Schema } from "effect"
import { ApiKey } from "./ApiKey.ts"
import { Backend } from "./Backend.ts"
import { doc, orElse } from "./Fields.ts"
import { Admin, Listener, Network } from "./Listener.ts"
import { ModelRule } from "./ModelRule.ts"
import { Name } from "./Names.ts"
import { Pool } from "./Pool.ts"
import { between, decimal, flag, HealthDefaults } from "./Settings.ts"
import { Size, Span, sizeAboveZero } from "./Units.ts"

/** The process: how many workers share the ports and how it stops. */
export const Server = Schema.Struct({
  workers: between(1, 1024).pipe(
    orElse(1),
    doc("Processes that share the ports. This version takes 1 only.", { examples: [1], unit: "processes" })
  ),
  shutdownGrace: Span.pipe(
    orElse("30s"),
    doc("How long running requests may go on after SIGTERM or SIGINT.", { examples: ["5m"] })
  ),
  reusePort: flag.pipe(
    orElse(false),
    doc("SO_REUSEPORT: a new process can take over the ports before the old one has left them.", { examples: [true] })
  ),
  fastPath: flag.pipe(
    orElse(true),
    doc("Whether requests that wait for nothing are served without a fiber each. Answers are the same either way.", {
      examples: [false]
    })
  )
})

/**
 * The most that one request may bring. `maxBodyBytes`: a body that is held in memory; `maxUploadBytes`: one that streams
 * through; `maxBufferedBytes`: the bodies of all requests that are in memory at once.
 */
export const Limits = Schema.Struct({
  maxBodyBytes: sizeAboveZero("with 0 every request with a body is refused; leave it out for 16MiB").pipe(
    orElse("16MiB"),
    doc("One body that is held in memory; at least 1 byte.", { examples: ["32MiB"] })
  ),
  maxUploadBytes: Size.pipe(
    orElse("1GiB"),
    doc("One body that streams through; 0: no uploads.", { examples: ["4GiB"] })
  ),
  maxBufferedBytes: sizeAboveZero("with 0 no body can be in memory; leave it out for 512MiB").pipe(
    orElse("512MiB"),
    doc(
      "The bodies of all requests that are in memory at once; at least 1 byte, and one of maxBodyBytes in any case.",
      { examples: ["2GiB"] }
    )
  ),
  maxHeaderBytes: sizeAboveZero("with 0 every request is refused; leave it out for 16KiB").pipe(
    orElse("16KiB"),
    doc("The head of one request; at least 1 byte.", { examples: ["64KiB"] })
  )
})

/** Where spans go; without an endpoint there are none. */
export const Traces = Schema.Struct({
  endpoint: Schema.String.pipe(
    Schema.check(
      Schema.isPattern(/^https?:\/\/\S+$/u, { message: "expected an address such as http://127.0.0.1:4318" })
    ),
    doc("Where spans are sent, over OTLP/HTTP.", { examples: ["http://127.0.0.1:4318"] })
  ),
  sampleRatio: decimal(0, 1).pipe(
    orElse(1),
    doc("The share of requests that are traced, where no known client says so itself.", {
      examples: [0.1],
      unit: "share of requests"
    })
  ),
  captureContent: flag.pipe(
    orElse(false),
    doc("Whether spans hold the text of prompts and completions.", { examples: [true] })
  )
})

export const LogLevel = Schema.Literals(["trace", "debug", "info", "warn", "error", "none"])
export type LogLevel = typeof LogLevel.Type

/**
 * What the gateway tells of itself. `maxModelLabels`: so many names of models that backends list are labels of metrics,
 * besides every name that stands in the configuration; 0: none of them.
 */
export const Telemetry = Schema.Struct({
  serviceName: Schema.NonEmptyString.pipe(
    orElse("weir"),
    doc("How traces and metrics call this service.", { examples: ["weir-eu"] })
  ),
  traces: Schema.optionalKey(Traces).pipe(
    doc("Where traces go.", {
      examples: [{ endpoint: "http://127.0.0.1:4318", sampleRatio: 0.1 }],
      absent: "no traces"
    })
  ),
  maxModelLabels: between(0, 100_000).pipe(
    orElse(200),
    doc("How many names of models that backends list are labels of metrics; names in this file always are.", {
      examples: [50],
      unit: "names"
    })
  ),
  logs: Schema.Struct({
    level: LogLevel.pipe(orElse("info"), doc("The least important lines that are written.", { examples: ["debug"] })),
    format: Schema.Literals(["json", "pretty"]).pipe(
      orElse("json"),
      doc("One JSON object a line, or text for a person.", { examples: ["pretty"] })
    )
  }).pipe(orElse({}), doc("What is written to stderr.", { examples: [{ level: "warn" }] }))
})
export type Telemetry = typeof Telemetry.Type

/** Which addresses a backend may have, besides the metadata services of clouds, which none may. */
export const Security = Schema.Struct({
  allowPrivateBackends: flag.pipe(
    orElse(true),
    doc("Whether backends may have loopback and private addresses.", { examples: [false] })
  ),
  denyNetworks: Schema.Array(Network).pipe(
    orElse([]),
    doc("Networks and addresses that no backend may have.", { examples: [["10.1.0.0/16"]] })
  )
})
export type Security = typeof Security.Type

/** Where what changes at run time is kept. */
export const State = Schema.Struct({
  store: Schema.Literals(["memory", "file", "redis"]).pipe(
    orElse("memory"),
    doc("Where it is kept. This version takes memory only.", { examples: ["memory"] })
  ),
  path: Schema.NonEmptyString.pipe(orElse("./data"), doc("The folder, for file.", { examples: ["/var/lib/weir"] })),
  url: Schema.RedactedFromValue(Schema.NonEmptyString).pipe(
    orElse("redis://127.0.0.1:6379"),
    doc("The address of Redis, for redis.", { examples: ["redis://:${REDIS_PASSWORD}@redis:6379"], secret: true })
  )
})

export const GatewayConfig = Schema.Struct({
  server: Server.pipe(
    orElse({}),
    doc("The process: how many workers share the ports and how it stops.", { examples: [{ shutdownGrace: "5m" }] })
  ),
  listeners: Schema.NonEmptyArray(Listener).pipe(
    orElse([{}]),
    doc("The addresses on which clients reach Weir, one or more; each can be a tenant of its own.", {
      examples: [[{ name: "public", host: "0.0.0.0", port: 8000 }]]
    })
  ),
  admin: Admin.pipe(
    orElse({}),
    doc("Where status, metrics and administration are served.", { examples: [{ port: 9000 }] })
  ),
  backends: Schema.Array(Backend).pipe(
    orElse([]),
    doc("The engines and cloud endpoints that answer requests.", {
      examples: [[{ name: "gpu-1", adapter: "vllm", url: "http://10.0.0.1:8001" }]]
    })
  ),
  pools: Schema.Array(Pool).pipe(
    orElse([]),
    doc("Backends that can stand in for each other, and how work is shared among them.", {
      examples: [[{ name: "default", backends: ["gpu-1", "gpu-2"], strategy: "prefix_aware" }]],
      absent: "one pool named default that holds every backend"
    })
  ),
  models: Schema.Array(ModelRule).pipe(
    orElse([]),
    doc("Rules for requests by their model, tried in order: the first that matches the whole name decides.", {
      examples: [[{ match: "gpt-4o", pool: "big", upstreamModel: "qwen2.5-72b" }]]
    })
  ),
  defaultModel: Schema.optionalKey(Schema.NonEmptyString).pipe(
    doc("The model that is asked for where a request must name one and names none.", {
      examples: ["qwen2.5-7b"],
      absent: "such a request gets 400 `model_required`"
    })
  ),
  fallbackBackend: Schema.optionalKey(Name).pipe(
    doc("The backend that is asked where no other has the model, or none can take the request.", {
      examples: ["gpu-1"],
      absent: "none"
    })
  ),
  keys: Schema.Array(ApiKey).pipe(
    orElse([]),
    doc("The keys with which clients may ask.", { examples: [[{ name: "team-a", key: "${TEAM_A_KEY}" }]] })
  ),
  limits: Limits.pipe(
    orElse({}),
    doc("The most that one request may bring.", { examples: [{ maxBodyBytes: "32MiB" }] })
  ),
  health: HealthDefaults.pipe(
    orElse({}),
    doc("How backends are probed, where a backend has nothing else.", { examples: [{ interval: "10s" }] })
  ),
  telemetry: Telemetry.pipe(
    orElse({}),
    doc("What the gateway tells of itself: logs, metrics and traces.", { examples: [{ logs: { level: "debug" } }] })
  ),
  security: Security.pipe(
    orElse({}),
    doc("Which addresses a backend may have. The metadata services of clouds are refused whatever stands here.", {
      examples: [{ allowPrivateBackends: false }]
    })
  ),
  state: State.pipe(orElse({}), doc("Where what changes at run time is kept.", { examples: [{ store: "memory" }] }))
})
export type GatewayConfig = typeof GatewayConfig.Type

/** What a file may say: the configuration, and a key for the editor that nothing else reads. */
export const ConfigFile = Schema.Struct({
  ...GatewayConfig.fields,
  $schema: Schema.optionalKey(Schema.String).pipe(
    doc("Where an editor finds the JSON Schema of this file; the gateway does not read it.", {
      examples: ["./weir.schema.json"],
      absent: "the editor goes by its own settings"
    })
  )
})

/** For configurations that the program itself makes; what people write goes through the loader, which explains. */
export const parseGatewayConfig = Schema.decodeUnknownEffect(GatewayConfig)
