/** A request as it comes in to the data plane, and the report that is written of it on its way. */
import type { ApiKey } from "../domain/ApiKey.ts"
import type { Listener } from "../domain/Listener.ts"
import type { Endpoint } from "../protocol/Endpoint.ts"
import type { Envelope } from "../protocol/Envelope.ts"
import type { StreamEnd } from "../protocol/StreamError.ts"
import type { Usage } from "../protocol/Usage.ts"
import type { Snapshot } from "../registry/Registry.ts"
import type { ActiveSpan } from "../telemetry/Telemetry.ts"
import type { UpstreamBody } from "../transport/UpstreamTransport.ts"

export interface ProxyRequest {
  readonly id: string
  readonly snapshot: Snapshot
  readonly listener: Listener
  /** Whose request it is; `undefined` on a listener that asks for no key. */
  readonly key: ApiKey | undefined
  /** Whose address it came from. */
  readonly address: string
  readonly method: string
  /** Without the query. */
  readonly path: string
  /** What is asked for there with this method, where it is inference. */
  readonly endpoint: Endpoint | undefined
  /** With its question mark, or empty. */
  readonly query: string
  /** Names and values in turn, as they were sent. */
  readonly rawHeaders: ReadonlyArray<string>
  /** One header by its name in lower case. */
  readonly header: (name: string) => string | undefined
  /** The protocol that the client's connection is to be switched to. */
  readonly upgrade: "websocket" | undefined
  readonly payload: Payload
  readonly report: RequestReport
}

/** A multipart form that names its model. */
export interface ModelForm {
  readonly model: string
  /** The same upload with another model; every byte but the name is as it was. */
  readonly named: (model: string) => UpstreamBody
}

/** What a client has sent, for as long as it may have to be sent on. */
export interface Payload {
  /** All of it for what is routed by model; else it may come while it is sent on. `undefined`: nothing, or no more. */
  readonly body: UpstreamBody
  /** Of a multipart upload: the model that it names. */
  readonly form: ModelForm | undefined
  /** What was read of it, once it was; the planner writes it. */
  envelope: Envelope | undefined
  /** Neither is needed any more. Calling it again is harmless. */
  letGo(): void
}

/**
 * What became of one request, written down on the way and read at its end: for the log, the metrics, the response.
 * Mutable by nature; one for each request.
 */
export class RequestReport {
  /** Monotonic milliseconds. */
  readonly receivedAt: number
  model: string | undefined
  pool: string | undefined
  backend: string | undefined
  attempts = 0
  /** Milliseconds. */
  queued = 0
  /** Milliseconds spent waiting for backends. */
  upstream = 0
  /** Milliseconds from the request to the first output of a stream. */
  firstOutput: number | undefined
  end: StreamEnd | undefined
  /** The gateway stopped while it ran, and told the client: a request that is interrupted then has not been left. */
  isStopped = false
  /** The `code` of the gateway's own error. */
  error: string | undefined
  /** Where the request is traced. */
  span: ActiveSpan | undefined
  usage: Usage | undefined

  constructor(receivedAt: number) {
    this.receivedAt = receivedAt
  }
}
