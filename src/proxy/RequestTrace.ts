/** What a trace tells of a request and of its attempts, in the names of OpenTelemetry's HTTP and GenAI conventions. */
import type { Attributes } from "@opentelemetry/api"
import { type BodyOutline, promptSpan } from "../protocol/BodyOutline.ts"
import type { Endpoint } from "../protocol/Endpoint.ts"
import type { Envelope } from "../protocol/Envelope.ts"
import type { Usage } from "../protocol/Usage.ts"
import type { Member } from "../registry/Registry.ts"
import type { ActiveSpan } from "../telemetry/Telemetry.ts"

/** Of a request that is sampled. */
export interface RequestTrace {
  readonly span: ActiveSpan
  /** The name of the spans of its attempts. */
  readonly name: string
  /** What is true of the request and of each attempt. */
  readonly attributes: Attributes
  readonly captureContent: boolean
}

/** So much of a prompt or an answer is kept. */
const maxContentBytes = 65_536

export const makeRequestTrace = (
  span: ActiveSpan,
  method: string,
  endpoint: Endpoint | undefined,
  envelope: Envelope | undefined,
  captureContent: boolean
): RequestTrace => {
  if (endpoint === undefined || envelope === undefined) return { span, name: method, attributes: {}, captureContent }
  const { operation } = endpoint
  const attributes: Attributes = {
    "gen_ai.operation.name": operation,
    "gen_ai.request.model": envelope.model,
    "gen_ai.request.stream": envelope.stream
  }
  span.set(attributes)
  if (captureContent) span.set({ "gen_ai.input.messages": inputOf(envelope.outline) })
  return { span, name: `${operation} ${envelope.model}`, attributes, captureContent }
}

/** As the client wrote it. */
const inputOf = (outline: BodyOutline): string => {
  const { end, start } = promptSpan(outline)
  // A character of UTF-16 is at most three bytes of UTF-8.
  const last = Math.min(end, start + 3 * maxContentBytes)
  return start < 0 ? "" : outline.bytes.toString("utf8", start, last).slice(0, maxContentBytes)
}

export const attemptAttributes = (
  { attributes }: RequestTrace,
  { backend: { config, name } }: Member,
  method: string,
  attempt: number
): Attributes => {
  const { hostname, port, protocol } = new URL(config.url)
  return {
    ...attributes,
    "gen_ai.provider.name": config.adapter,
    "http.request.method": method,
    ...(attempt > 1 && { "http.request.resend_count": attempt - 1 }),
    "server.address": hostname,
    "server.port": Number(port === "" ? (protocol === "https:" ? 443 : 80) : port),
    "weir.backend": name
  }
}

export const usageAttributes = (usage: Usage | undefined): Attributes =>
  usage === undefined
    ? {}
    : { "gen_ai.usage.input_tokens": usage.prompt, "gen_ai.usage.output_tokens": usage.completion }

/** What was answered, as it came, up to a bound: for those who asked to have it in their traces. */
export class ContentRecorder {
  readonly #pieces: Array<Uint8Array> = []
  #size = 0

  push(piece: Uint8Array): void {
    if (this.#size >= maxContentBytes) return
    this.#pieces.push(piece)
    this.#size += piece.length
  }

  attributes(): Attributes {
    const text = Buffer.concat(this.#pieces).subarray(0, maxContentBytes).toString("utf8")
    return { "gen_ai.output.messages": text }
  }
}
