/** The few fields of a request that routing needs, read once. The bytes themselves travel on untouched. */
import { Effect, Result, type Semaphore } from "effect"
import { InvalidRequest, ModelRequired } from "../domain/Errors.ts"
import { BodyOutline, type Kind } from "./BodyOutline.ts"
import { type BodyError, readBodyAtOnce, readBodyInSlices } from "./BodyReading.ts"
import { deploymentIn, type Endpoint } from "./Endpoint.ts"

/** Of a request that names its model, or must. */
export interface Envelope {
  readonly model: string
  /** The member of the body that has to name the model; `undefined` where none has to. */
  readonly member: "model" | "name" | undefined
  /** The name that stands there. */
  readonly written: string | undefined
  /** Another model that the body names where the path has named one: some engines go by it. */
  readonly other: string | undefined
  readonly stream: boolean
  /** How many choices were asked for: a stream is complete when as many have ended. */
  readonly choices: number
  /** What the request will use of a token limit, roughly: a token for every four bytes, and what it asks for. */
  readonly tokenEstimate: number
  /** What else is known of the body, nothing of one that is no JSON. Keeps it, so ask while it is there anyway. */
  readonly outline: BodyOutline
}

export type EnvelopeError = BodyError | ModelRequired

/** What is known of a request before its body is read. */
export interface Addressed {
  /** `undefined`: of the path nothing is known. */
  readonly endpoint: Endpoint | undefined
  readonly path: string
  /** For a request that names none where one is required. */
  readonly defaultModel: string | undefined
}

/** `undefined`: no model is named, and none has to be. */
type Outcome = Result.Result<Envelope | undefined, EnvelopeError>

/**
 * Reads a body at once. `undefined`: it names no model and need not name one, so the request goes by path. What only the
 * engine can judge is left to the engine.
 */
export const readEnvelope = (addressed: Addressed, body: Uint8Array): Outcome =>
  envelopeOf(addressed, readBodyAtOnce(body))

/** The same for a long body: in slices, between which others get their turn. */
export const readLongEnvelope = (
  addressed: Addressed,
  body: Uint8Array,
  turns: Semaphore.Semaphore
): Effect.Effect<Envelope | undefined, EnvelopeError> =>
  Effect.flatMap(Effect.result(readBodyInSlices(body, turns)), (read) => Effect.fromResult(envelopeOf(addressed, read)))

/** The same for a body that is not read: its path alone can name a model. */
export const unreadEnvelope = ({ path }: Addressed): Envelope | undefined => {
  const deployment = deploymentIn(path)
  return deployment === undefined ? undefined : addressedEnvelope(deployment, new BodyOutline(noBytes), undefined)
}

/** The same for a multipart upload that names a model. */
export const formEnvelope = ({ endpoint, path }: Addressed, model: string): Envelope => {
  const deployment = deploymentIn(path)
  const outline = new BodyOutline(noBytes)
  return deployment === undefined
    ? { model, member: undefined, written: undefined, other: undefined, ...restOf(endpoint, outline) }
    : addressedEnvelope(deployment, outline, endpoint, model)
}

const noBytes = Buffer.alloc(0)

const envelopeOf = (addressed: Addressed, read: Result.Result<BodyOutline, BodyError>): Outcome => {
  const { endpoint, path } = addressed
  const isRequired = endpoint?.requiresModel === true
  if (Result.isFailure(read)) {
    // A body that names two models is no body without a model.
    const isRefused = isRequired || read.failure.param === "model"
    return isRefused ? Result.fail(read.failure) : Result.succeed(unreadEnvelope(addressed))
  }
  const outline = read.success
  const wrong = isRequired ? wrongMember(endpoint, outline) : undefined
  if (wrong !== undefined) return Result.fail(wrong)
  const naming = namedIn(endpoint, outline)
  if (Result.isFailure(naming)) return Result.fail(naming.failure)
  const named = naming.success
  const deployment = deploymentIn(path)
  if (deployment !== undefined) return Result.succeed(addressedEnvelope(deployment, outline, endpoint, named?.written))
  if (named !== undefined) {
    return Result.succeed({ ...named, model: named.written, other: undefined, ...restOf(endpoint, outline) })
  }
  return isRequired ? defaultEnvelope(addressed, outline) : nothingNamed
}

const nothingNamed: Outcome = Result.succeed(undefined)

/** Of a request whose path names the model. */
const addressedEnvelope = (
  model: string,
  outline: BodyOutline,
  endpoint: Endpoint | undefined,
  written?: string
): Envelope => ({
  model,
  member: written === model ? "model" : undefined,
  written,
  other: written === model ? undefined : written,
  ...restOf(endpoint, outline)
})

const defaultEnvelope = ({ defaultModel, endpoint }: Addressed, outline: BodyOutline): Outcome => {
  if (defaultModel === undefined) {
    return Result.fail(new ModelRequired({ message: "The request must name a model.", param: "model" }))
  }
  // In an object without a member no member can be put in front of others.
  const full = outline.isEmpty
    ? readBodyAtOnce(Buffer.from(JSON.stringify({ model: defaultModel })))
    : Result.succeed(outline)
  const written = outline.isEmpty ? defaultModel : undefined
  return Result.map(full, (read) => {
    return { model: defaultModel, member: "model", written, other: undefined, ...restOf(endpoint, read) }
  })
}

const restOf = (endpoint: Endpoint | undefined, outline: BodyOutline) => ({
  stream: outline.kind("stream") === "boolean" ? outline.isTrue("stream") : endpoint?.streamsUnasked === true,
  choices: choicesOf(outline),
  tokenEstimate: Math.ceil(outline.bytes.length / 4) + requestedTokens(outline),
  outline
})

interface Named {
  readonly member: "model" | "name"
  readonly written: string
}

/** Characters of a model's name. No engine has one of this length; each name is compared with patterns and noted. */
const maxModelChars = 65_536

/** The model that a body names. Where two members can name it, they must not name two. */
const namedIn = (
  endpoint: Endpoint | undefined,
  outline: BodyOutline
): Result.Result<Named | undefined, InvalidRequest> => {
  let found: Named | undefined
  for (const member of endpoint?.modelMembers ?? onlyModel) {
    const written = outline.text(member, maxModelChars) ?? ""
    if (written === "") continue
    if (written.length > maxModelChars) {
      const message = `The model's name is longer than ${maxModelChars} characters.`
      return Result.fail(new InvalidRequest({ message, param: member }))
    }
    if (outline.repeats(member) || (found !== undefined && found.written !== written)) {
      return Result.fail(new InvalidRequest({ message: "The body names its model more than once.", param: member }))
    }
    found ??= { member, written }
  }
  return Result.succeed(found)
}

const onlyModel = ["model"] as const

const wrongMember = ({ dialect, modelMembers }: Endpoint, outline: BodyOutline): InvalidRequest | undefined => {
  for (const member of modelMembers) if (!mayBe(outline, member, "text")) return wrongType(member, "a string")
  if (!mayBe(outline, "stream", "boolean")) return wrongType("stream", "a boolean")
  if (dialect === "none") return undefined
  if (!mayBe(outline, "messages", "list")) return wrongType("messages", "an array")
  return mayBe(outline, "tools", "list") ? undefined : wrongType("tools", "an array")
}

const mayBe = (
  outline: BodyOutline,
  name: "model" | "name" | "stream" | "messages" | "tools",
  expected: Kind
): boolean => {
  const kind = outline.kind(name)
  return kind === expected || kind === "null" || kind === "absent"
}

const wrongType = (param: string, expected: string) =>
  new InvalidRequest({ message: `"${param}" must be ${expected}.`, param })

/** `n` for each prompt. */
const choicesOf = (outline: BodyOutline): number => {
  const n = outline.number("n")
  return Math.max(1, outline.prompts) * (n !== undefined && n > 1 ? n : 1)
}

/** The most that a limit can be configured to; `1e999` is JSON too, and infinity minus infinity would lift a limit. */
const maxTokenLimit = 1_000_000_000

const tokenLimits = ["max_completion_tokens", "max_output_tokens", "max_tokens"] as const

const requestedTokens = (outline: BodyOutline): number => {
  const name = tokenLimits.find((limit) => outline.has(limit) && outline.kind(limit) !== "null")
  const asked = name && outline.number(name)
  return asked !== undefined && asked > 0 ? Math.min(Math.ceil(asked), maxTokenLimit) : 0
}
