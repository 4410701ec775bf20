/** The few fields of a request that routing needs, read once. The bytes themselves travel on untouched. */
import { Effect } from "effect"
import type { Endpoint } from "../domain/Endpoint.ts"
import { InvalidRequest, ModelRequired } from "../domain/Errors.ts"
import { type BodyError, readBodyAtOnce, readBodyInSlices } from "./BodyReading.ts"
import { Outline } from "./Outline.ts"

export interface Envelope {
  readonly model: string
  readonly stream: boolean
  /** How many choices were asked for: a stream is complete when as many have ended. */
  readonly choices: number
  /** What the request will use of a token limit, roughly: a token for every four bytes, and what it asks for. */
  readonly tokenEstimate: number
  /** What else is known of the body. Keeps the body, so ask while it is there anyway. */
  readonly outline: Outline
}

export type EnvelopeError = BodyError | ModelRequired

/** Reads a body that was sent to an endpoint, at once. What only the engine can judge is left to the engine. */
export const readEnvelope = (endpoint: Endpoint, body: Uint8Array): Envelope | EnvelopeError => {
  const outline = readBodyAtOnce(body)
  return outline instanceof Outline ? envelopeOf(endpoint, outline) : outline
}

/** The same for a long body: in slices, between which others get their turn. */
export const readLongEnvelope = (endpoint: Endpoint, body: Uint8Array): Effect.Effect<Envelope, EnvelopeError> =>
  Effect.flatMap(readBodyInSlices(body), (outline) => {
    const envelope = envelopeOf(endpoint, outline)
    return "model" in envelope ? Effect.succeed(envelope) : Effect.fail(envelope)
  })

/** Characters of a model's name. No engine has one of this length; each name is compared with patterns and noted. */
const longestModel = 65_536

const envelopeOf = (endpoint: Endpoint, outline: Outline): Envelope | EnvelopeError => {
  if (!mayBe(outline, "model", "text")) return wrongType("model", "a string")
  const model = outline.text("model", longestModel) ?? ""
  if (model === "") return new ModelRequired({ message: "The request must name a model.", param: "model" })
  if (model.length > longestModel) {
    return new InvalidRequest({
      message: `The model's name is longer than ${longestModel} characters.`,
      param: "model"
    })
  }
  const wrong = wrongMember(endpoint, outline)
  if (wrong !== undefined) return wrong
  return {
    model,
    stream: outline.isTrue("stream"),
    choices: choicesOf(outline),
    tokenEstimate: Math.ceil(outline.bytes.length / 4) + requestedTokens(outline),
    outline
  }
}

const wrongMember = ({ dialect }: Endpoint, outline: Outline): InvalidRequest | undefined => {
  if (!mayBe(outline, "stream", "boolean")) return wrongType("stream", "a boolean")
  if (dialect === "none") return undefined
  if (!mayBe(outline, "messages", "list")) return wrongType("messages", "an array")
  return mayBe(outline, "tools", "list") ? undefined : wrongType("tools", "an array")
}

const mayBe = (outline: Outline, name: "model" | "stream" | "messages" | "tools", expected: string): boolean => {
  const kind = outline.kind(name)
  return kind === expected || kind === "null" || kind === "absent"
}

const wrongType = (param: string, expected: string) =>
  new InvalidRequest({ message: `"${param}" must be ${expected}.`, param })

/** `n` for each prompt. */
const choicesOf = (outline: Outline): number => {
  const n = outline.number("n")
  return Math.max(1, outline.prompts) * (n !== undefined && n > 1 ? n : 1)
}

/** The most that a limit can be configured to; `1e999` is JSON too, and infinity minus infinity would lift a limit. */
const mostTokens = 1_000_000_000

const tokenLimits = ["max_completion_tokens", "max_output_tokens", "max_tokens"] as const

const requestedTokens = (outline: Outline): number => {
  const name = tokenLimits.find((limit) => outline.has(limit) && outline.kind(limit) !== "null")
  const asked = name && outline.number(name)
  return asked !== undefined && asked > 0 ? Math.min(Math.ceil(asked), mostTokens) : 0
}
