/** Clients that ask one thing after the other for as long as they are told to, each on a connection that it keeps. */
import { Effect } from "effect"
import { Agent, errors, request } from "undici"
import { lackOf, type Outcome } from "./Clients.ts"

/** One request and what became of it. */
export interface Try extends Outcome {
  /** Milliseconds of the test's own clock at which it was sent. */
  readonly sentAt: number
  /** At which its connection was made; `undefined`: there was none. */
  readonly connectedAt: number | undefined
  /** What the connection failed with, as the client's library says it; empty where it did not. */
  readonly error: string
}

export interface LoadSettings {
  readonly clients: number
  /** Asked before each request. */
  readonly more: (sent: number) => boolean
  readonly streamed: (n: number) => boolean
  readonly tokens: number
  /** How many requests of a client share a connection; all, if not said. */
  readonly perConnection?: number
}

const bodyOf = (stream: boolean, tokens: number): string =>
  JSON.stringify({ model: "sim-model", stream, max_tokens: tokens, messages: [{ role: "user", content: "Hello" }] })

const codeOf = (error: unknown): string =>
  error instanceof errors.UndiciError || (error instanceof Error && "code" in error)
    ? `${String(error.code)}: ${error.message}`
    : String(error)

/** Its one connection at a time, and when that was made. */
const makeLine = () => {
  const line: { readonly dispatcher: Agent; connectedAt: number | undefined } = {
    dispatcher: new Agent({ connections: 1, pipelining: 1, headersTimeout: 0, bodyTimeout: 0 }),
    connectedAt: undefined
  }
  line.dispatcher.on("connect", () => {
    line.connectedAt = performance.now()
  })
  line.dispatcher.on("connectionError", () => {
    line.connectedAt = undefined
  })
  return line
}

const send = async (
  url: string,
  line: ReturnType<typeof makeLine>,
  streamed: boolean,
  body: string,
  last: boolean
): Promise<Try> => {
  const { dispatcher } = line
  const sentAt = performance.now()
  const since = () => ({ streamed, sentAt, millis: performance.now() - sentAt, connectedAt: line.connectedAt })
  let status = 0
  let headers: Outcome["headers"] = {}
  try {
    const answer = await request(`${url}/v1/chat/completions`, {
      dispatcher,
      method: "POST",
      headers: { "content-type": "application/json", ...(last && { connection: "close" }) },
      body
    })
    status = answer.statusCode
    headers = answer.headers
    const text = await answer.body.text()
    return { status, headers, text, broken: false, error: "", ...since() }
  } catch (error) {
    return { status, headers, text: "", broken: true, error: codeOf(error), ...since() }
  }
}

/** Returns all tries, in the order of their ends. */
export const load = (url: string, settings: LoadSettings): Effect.Effect<ReadonlyArray<Try>> =>
  Effect.promise(async () => {
    const { clients, more, perConnection = Number.POSITIVE_INFINITY, streamed, tokens } = settings
    const bodies = [bodyOf(false, tokens), bodyOf(true, tokens)] as const
    const tries: Array<Try> = []
    let sent = 0
    const client = async (): Promise<void> => {
      // No other client shares its connection.
      const line = makeLine()
      for (let n = 1; more(sent); n++) {
        const stream = streamed(sent++)
        tries.push(await send(url, line, stream, bodies[stream ? 1 : 0], n % perConnection === 0))
      }
      await line.dispatcher.close()
    }
    await Promise.all(Array.from({ length: clients }, client))
    return tries
  })

/** Why a try was no whole answer, the connection's failure included; `undefined`: it was one. */
export const failureOf = (one: Try): string | undefined => {
  const lack = lackOf(one)
  return lack === undefined || one.error === "" ? lack : `${lack} (${one.error})`
}

/** How often each reason occurs. */
export const tally = (reasons: ReadonlyArray<string>): Readonly<Record<string, number>> => {
  const counts: Record<string, number> = {}
  for (const reason of reasons) counts[reason] = (counts[reason] ?? 0) + 1
  return counts
}

/** One line of numbers for the reader of the output. */
export const summaryOf = (what: string, tries: ReadonlyArray<Try>, failed: number): string => {
  const sorted = tries.map(({ millis }) => millis).toSorted((a, b) => a - b)
  const at = (share: number) => Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0)
  const began = Math.min(...tries.map(({ sentAt }) => sentAt))
  const ended = Math.max(...tries.map(({ millis, sentAt }) => sentAt + millis))
  const streams = tries.filter(({ streamed }) => streamed).length
  const seconds = ((ended - began) / 1000).toFixed(1)
  return `${what}: ${tries.length} requests (${streams} streams) in ${seconds} s, ${failed} failed; p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, longest ${at(1)} ms\n`
}
