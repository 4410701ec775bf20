/**
 * The few fields of a request that routing needs, read once. The bytes themselves travel on untouched; only a model
 * that has to be renamed is replaced in place, so that nothing else of the body can change on the way.
 */
import { isUtf8 } from "node:buffer"
import type { Endpoint } from "../domain/Endpoint.ts"
import { InvalidJson, InvalidRequest, ModelRequired } from "../domain/Errors.ts"
import { topLevelMember } from "./JsonMember.ts"
import { type Fields, isFields } from "./RequestFields.ts"
import { shortened } from "./ShortJson.ts"

export interface Envelope {
  readonly model: string
  readonly stream: boolean
  /** How many choices were asked for: a stream is complete when as many have ended. */
  readonly choices: number
  /** What the request will use of a token limit, roughly: a token for every four bytes, and what it asks for. */
  readonly tokenEstimate: number
  /** All members; in a large body, long texts inside of messages are empty. */
  readonly fields: Fields
  /** All members with all that they say, for who wants to read messages. Keeps the body, so ask while it is there anyway. */
  readonly whole: () => Fields
}

export type EnvelopeError = InvalidJson | InvalidRequest | ModelRequired

/** Reads a body that was sent to an endpoint. What only the engine can judge is left to the engine. */
export const readEnvelope = (endpoint: Endpoint, body: Uint8Array): Envelope | EnvelopeError => {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength)
  const fields = parse(bytes)
  if (fields instanceof InvalidJson || fields instanceof InvalidRequest) return fields
  const { model, stream } = fields
  if (model === undefined || model === null || model === "") {
    return new ModelRequired({ message: "The request must name a model.", param: "model" })
  }
  if (typeof model !== "string") return wrongType("model", "a string")
  if (stream !== undefined && stream !== null && typeof stream !== "boolean") return wrongType("stream", "a boolean")
  const wrong = endpoint.dialect === "none" ? undefined : wrongList(fields)
  if (wrong !== undefined) return wrong
  return {
    model,
    stream: stream === true,
    choices: choicesOf(fields),
    tokenEstimate: Math.ceil(body.length / 4) + requestedTokens(fields),
    fields,
    whole: () => {
      const value = isLarge(bytes) ? parseJson(bytes.toString("utf8")) : fields
      return isFields(value) ? value : fields
    }
  }
}

/** From here on it is cheaper to leave long texts out than to read them. */
const isLarge = ({ length }: Buffer): boolean => length >= 32_768

const parse = (bytes: Buffer): Fields | InvalidJson | InvalidRequest => {
  if (!isUtf8(bytes)) return new InvalidJson({ message: "The body is not valid UTF-8." })
  const text = isLarge(bytes) ? shortened(bytes) : bytes.toString("utf8")
  const value = text === undefined ? invalid : parseJson(text)
  if (text === undefined || value === invalid) return new InvalidJson({ message: "The body is not valid JSON." })
  if (!isFields(value)) return new InvalidRequest({ message: "The body must be a JSON object." })
  // Engines do not agree on which of two equal keys counts; what was checked here must be what is served there.
  return mayRepeatModel(text) && topLevelMember(bytes, "model").repeated
    ? new InvalidRequest({ message: "The body names its model more than once.", param: "model" })
    : value
}

const invalid = Symbol("not JSON")

/** `JSON.parse` throws, and that is all there is to know: its message quotes the client's text. */
const parseJson = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return invalid
  }
}

/** A cheap look before the exact one: the word twice, or spelled with escapes. */
const mayRepeatModel = (text: string): boolean =>
  text.indexOf('"model"', text.indexOf('"model"') + 1) > 0 || (text.includes("\\u00") && /\\u00[4-7]/.test(text))

const wrongType = (param: string, expected: string) =>
  new InvalidRequest({ message: `"${param}" must be ${expected}.`, param })

const wrongList = (fields: Fields): InvalidRequest | undefined => {
  for (const param of ["messages", "tools"]) {
    const value = fields[param]
    if (value !== undefined && value !== null && !Array.isArray(value)) return wrongType(param, "an array")
  }
  return undefined
}

/** `n` for each prompt; a list of numbers is one prompt, as tokens. */
const choicesOf = ({ n, prompt }: Fields): number => {
  const prompts = Array.isArray(prompt) && typeof prompt[0] !== "number" ? prompt.length : 1
  return Math.max(1, prompts) * (typeof n === "number" && n > 1 ? n : 1)
}

/** The most that a limit can be configured to; `1e999` is JSON too, and infinity minus infinity would lift a limit. */
const mostTokens = 1_000_000_000

const requestedTokens = (fields: Fields): number => {
  const asked = fields["max_completion_tokens"] ?? fields["max_output_tokens"] ?? fields["max_tokens"]
  return typeof asked === "number" && asked > 0 ? Math.min(Math.ceil(asked), mostTokens) : 0
}

/** The same body with another model; every byte but the name is as it was. */
export const withModel = (body: Uint8Array, model: string): Uint8Array => withMember(body, "model", model)

/** The same body with these members: in place of its own of the same name, else in front of all. */
export const withMembers = (body: Uint8Array, members: Fields): Uint8Array => {
  let changed = body
  const added: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(members)) {
    if (topLevelMember(changed, name).start < 0) added[name] = value
    else changed = withMember(changed, name, value)
  }
  const text = JSON.stringify(added)
  const start = changed.indexOf(0x7b)
  if (text === "{}" || start < 0) return changed
  return Buffer.concat([
    changed.subarray(0, start),
    Buffer.from(`${text.slice(0, -1)},`, "utf8"),
    changed.subarray(start + 1)
  ])
}

const withMember = (body: Uint8Array, name: string, value: unknown): Uint8Array => {
  const { end, start } = topLevelMember(body, name)
  if (start < 0) return body
  return Buffer.concat([body.subarray(0, start), Buffer.from(JSON.stringify(value), "utf8"), body.subarray(end)])
}
