/** Clients of the gateway: many at once, each of which writes down all that it got. */
import { Effect, Schema } from "effect"
import { Agent, type Dispatcher, request } from "undici"

/** What one client got. */
export interface Outcome {
  readonly streamed: boolean
  /** 0 where there was no answer at all. */
  readonly status: number
  readonly headers: Readonly<Record<string, string | ReadonlyArray<string> | undefined>>
  readonly text: string
  /** The connection broke, before the head or behind it. */
  readonly broken: boolean
  /** From the request to the end of its answer. */
  readonly millis: number
}

export interface Asking {
  readonly streamed: boolean
  readonly path?: string
  readonly fields?: Readonly<Record<string, unknown>>
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  /** Leaves after so many milliseconds. */
  readonly leavesAfter?: number
}

/** Own connections for all clients of the tests, as many as are needed. */
const dispatcher = new Agent({ connections: null, pipelining: 1, headersTimeout: 0, bodyTimeout: 0 })

const bodyOf = ({ fields, streamed }: Asking): string =>
  JSON.stringify({
    model: "sim-model",
    stream: streamed,
    messages: [{ role: "user", content: "Hello" }],
    ...fields
  })

const readAll = async (
  answer: Dispatcher.ResponseData
): Promise<{ readonly text: string; readonly broken: boolean }> => {
  const pieces: Array<Buffer> = []
  let broken = false
  try {
    for await (const piece of answer.body) pieces.push(Buffer.from(piece))
  } catch {
    broken = true
  }
  return { text: Buffer.concat(pieces).toString("utf8"), broken }
}

/** One request to its end, whatever that is. */
export const ask = (url: string, asking: Asking): Effect.Effect<Outcome> =>
  Effect.promise(async () => {
    const { headers, leavesAfter, path = "/v1/chat/completions", streamed } = asking
    const began = performance.now()
    const signal = leavesAfter === undefined ? undefined : AbortSignal.timeout(leavesAfter)
    const outcome = await request(`${url}${path}`, {
      dispatcher,
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: asking.body ?? bodyOf(asking),
      ...(signal !== undefined && { signal })
    }).then(
      async (answer) => ({ status: answer.statusCode, headers: answer.headers, ...(await readAll(answer)) }),
      () => ({ status: 0, headers: {}, text: "", broken: true })
    )
    return { streamed, millis: performance.now() - began, ...outcome }
  })

/** `count` clients at once, every other one with a stream; all of them ask alike. */
export const volley = (
  url: string,
  count: number,
  asking: Omit<Asking, "streamed"> = {}
): Effect.Effect<ReadonlyArray<Outcome>> =>
  Effect.all(
    Array.from({ length: count }, (_, n) => ask(url, { ...asking, streamed: n % 2 === 0 })),
    { concurrency: "unbounded" }
  )

export const nodeOf = ({ headers }: Outcome): string => String(headers["x-routed-node"] ?? "")

export const attemptsOf = ({ headers }: Outcome): number => Number(headers["x-weir-attempts"] ?? Number.NaN)

const decodeCode = Schema.decodeUnknownOption(
  Schema.fromJsonString(Schema.Struct({ error: Schema.Struct({ code: Schema.Unknown }) }))
)

/** The code of the error that the answer is, or by which its stream ends; `undefined`: there is none. */
export const codeOf = ({ text }: Outcome): unknown => {
  const data = text.startsWith("data:") ? (text.trimEnd().split("\ndata: ").at(-1) ?? "") : text
  const decoded = decodeCode(data)
  return decoded._tag === "Some" ? decoded.value.error.code : undefined
}

/** What is wrong with it if it should be a whole answer; `undefined`: nothing. */
export const lackOf = (outcome: Outcome): string | undefined => {
  const { broken, status, streamed, text } = outcome
  if (status !== 200) return `status ${status} (${String(codeOf(outcome))})`
  if (broken) return "the connection broke"
  if (!streamed) return text.startsWith("{") && text.includes('"finish_reason":"') ? undefined : `no answer: ${text}`
  const dones = text.split("data: [DONE]").length - 1
  if (dones !== 1 || !text.endsWith("data: [DONE]\n\n")) return `not ended by one [DONE]: …${text.slice(-120)}`
  return text.includes('"finish_reason":"') ? undefined : "no reason to finish"
}

/** What is wrong with it if it should be a stream that was cut and says so; `undefined`: nothing. */
export const lackOfTelling = (outcome: Outcome, code: string): string | undefined => {
  const { broken, status, text } = outcome
  if (status !== 200) return `status ${status}`
  if (broken) return "the connection broke instead"
  if (text.includes("[DONE]")) return "it looks complete"
  if (!text.includes('"content":')) return "nothing of the answer came"
  return codeOf(outcome) === code && text.endsWith("}\n\n") ? undefined : `ends as …${text.slice(-160)}`
}
