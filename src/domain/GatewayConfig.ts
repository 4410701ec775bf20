/** The whole configuration: what the file and the environment say together, validated, with every default filled in. */
import { Schema } from "effect"
import { ApiKey } from "./ApiKey.ts"
import { Backend } from "./Backend.ts"
import { Admin, Listener, Network } from "./Listener.ts"
import { ModelRule } from "./ModelRule.ts"
import { Name } from "./Names.ts"
import { Pool } from "./Pool.ts"
import { between, decimal, flag, HealthDefaults, orElse } from "./Settings.ts"
import { Size, Span } from "./Units.ts"

/** The process: how many workers share the ports and how it stops. */
export const Server = Schema.Struct({
  workers: between(1, 1024).pipe(orElse(1)),
  shutdownGrace: Span.pipe(orElse("30s")),
  reusePort: flag.pipe(orElse(false))
})

/**
 * The most that one request may bring. `maxBodyBytes`: a body that is held in memory; `maxUploadBytes`: one that streams
 * through; `maxBufferedBytes`: the bodies of all requests that are in memory at once.
 */
export const Limits = Schema.Struct({
  maxBodyBytes: Size.pipe(orElse("16MiB")),
  maxUploadBytes: Size.pipe(orElse("1GiB")),
  maxBufferedBytes: Size.pipe(orElse("512MiB")),
  maxHeaderBytes: Size.pipe(orElse("16KiB"))
})

/** Where spans go; without an endpoint there are none. */
export const Traces = Schema.Struct({
  endpoint: Schema.String.pipe(
    Schema.check(Schema.isPattern(/^https?:\/\/\S+$/, { message: "expected an address such as http://127.0.0.1:4318" }))
  ),
  sampleRatio: decimal(0, 1).pipe(orElse(1)),
  captureContent: flag.pipe(orElse(false))
})

export const LogLevel = Schema.Literals(["trace", "debug", "info", "warn", "error", "none"])
export type LogLevel = typeof LogLevel.Type

/**
 * What the gateway tells of itself. `maxModelLabels`: so many names of models that backends list are labels of metrics,
 * besides every name that stands in the configuration; 0: none of them.
 */
export const Telemetry = Schema.Struct({
  serviceName: Schema.NonEmptyString.pipe(orElse("weir")),
  traces: Schema.optionalKey(Traces),
  maxModelLabels: between(0, 100_000).pipe(orElse(200)),
  logs: Schema.Struct({
    level: LogLevel.pipe(orElse("info")),
    format: Schema.Literals(["json", "pretty"]).pipe(orElse("json"))
  }).pipe(orElse({}))
})
export type Telemetry = typeof Telemetry.Type

/** Which addresses a backend may have, besides the metadata services of clouds, which none may. */
export const Security = Schema.Struct({
  allowPrivateBackends: flag.pipe(orElse(true)),
  denyNetworks: Schema.Array(Network).pipe(orElse([]))
})
export type Security = typeof Security.Type

/** Where what changes at run time is kept. */
export const State = Schema.Struct({
  store: Schema.Literals(["memory", "file", "redis"]).pipe(orElse("memory")),
  path: Schema.NonEmptyString.pipe(orElse("./data")),
  url: Schema.RedactedFromValue(Schema.NonEmptyString).pipe(orElse("redis://127.0.0.1:6379"))
})

export const GatewayConfig = Schema.Struct({
  server: Server.pipe(orElse({})),
  listeners: Schema.NonEmptyArray(Listener).pipe(orElse([{}])),
  admin: Admin.pipe(orElse({})),
  backends: Schema.Array(Backend).pipe(orElse([])),
  pools: Schema.Array(Pool).pipe(orElse([])),
  models: Schema.Array(ModelRule).pipe(orElse([])),
  /** Asked for where a request to an endpoint names no model. */
  defaultModel: Schema.optionalKey(Schema.NonEmptyString),
  fallbackBackend: Schema.optionalKey(Name),
  keys: Schema.Array(ApiKey).pipe(orElse([])),
  limits: Limits.pipe(orElse({})),
  health: HealthDefaults.pipe(orElse({})),
  telemetry: Telemetry.pipe(orElse({})),
  security: Security.pipe(orElse({})),
  state: State.pipe(orElse({}))
})
export type GatewayConfig = typeof GatewayConfig.Type

/** For configurations that the program itself makes; what people write goes through the loader, which explains. */
export const parseGatewayConfig = Schema.decodeUnknownEffect(GatewayConfig)
