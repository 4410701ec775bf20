/**
 * Clients of all kinds, one request after the other each: well behaved, impatient, wrong, large, in every dialect; some ask
 * for large answers, some for what makes every engine fail.
 */
import { Effect } from "effect"
import { Agent, request } from "undici"
import type { SeededRandom } from "../invariants/SeededRandom.ts"
import { largeBytes, largeModel } from "./Speaker.ts"

interface Dialect {
  readonly path: string
  readonly fields: object
  /** How a stream ends when it is whole. */
  readonly end: string
}

/** What became of the requests, by what their clients saw. */
export class Tally {
  readonly counts = new Map<string, number>()
  requests = 0
  /** Answers that neither ended as they should nor said that they were cut. */
  readonly lies: Array<string> = []

  note(what: string): void {
    this.requests++
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1)
  }
}

interface SoakRequest {
  readonly path: string
  readonly body: string
  readonly streams: boolean
  readonly headers: Readonly<Record<string, string>>
  readonly leavesAfter: number | undefined
  readonly end: string
  /** Of the whole answer, where that is known. */
  readonly bytes?: number
}

const dialects: readonly [Dialect, ...ReadonlyArray<Dialect>] = [
  { path: "/v1/chat/completions", fields: { messages: [{ role: "user", content: "Hello" }] }, end: "data: [DONE]\n\n" },
  { path: "/v1/completions", fields: { prompt: "Hello" }, end: "data: [DONE]\n\n" },
  { path: "/v1/responses", fields: { input: "Hello" }, end: '"type":"response.completed"' },
  {
    path: "/v1/messages",
    fields: { messages: [{ role: "user", content: "Hello" }], max_tokens: 40 },
    end: '"type":"message_stop"'
  }
]

const json = { "content-type": "application/json" }

/** All engines answer it with 500, as they do to a mistake that they do not expect. */
export const poisonedPath = "/v1/score"

const poisonous: SoakRequest = {
  path: poisonedPath,
  body: JSON.stringify({ model: "sim-model", text_1: "a", text_2: ["b"] }),
  streams: false,
  headers: json,
  leavesAfter: undefined,
  end: ""
}

const largeFrom = ({ of, once, roll }: SeededRandom): SoakRequest => {
  const [dialect] = dialects
  const streams = once(2)
  return {
    path: streams ? dialect.path : "/v1/embeddings",
    body: JSON.stringify({ model: largeModel, ...(streams ? { stream: true, ...dialect.fields } : { input: ["x"] }) }),
    streams,
    headers: json,
    leavesAfter: once(4) ? of(1, 5, 20) * (1 + roll(5)) : undefined,
    end: dialect.end,
    bytes: streams ? largeBytes.events : largeBytes.batch
  }
}

/** Of so many requests, one is of the kind. */
const largeOnceIn = 40
const poisonousOnceIn = 40

const requestFrom = (random: SeededRandom): SoakRequest => {
  if (random.once(largeOnceIn)) return largeFrom(random)
  return random.once(poisonousOnceIn) ? poisonous : usualFrom(random)
}

const usualFrom = ({ of, once, roll }: SeededRandom): SoakRequest => {
  const { end, fields, path } = of(...dialects)
  const streams = once(2)
  const padding = once(20) ? { user: "x".repeat(200_000) } : {}
  const model = once(25) ? `nobody-has-${roll(100_000)}` : "sim-model"
  const whole = JSON.stringify({ model, stream: streams, max_tokens: 1 + roll(40), ...fields, ...padding })
  return {
    path: once(20) ? `/unknown/${roll(1000)}` : path,
    body: once(25) ? whole.slice(0, roll(whole.length)) : whole,
    streams,
    headers: {
      "content-type": "application/json",
      ...(once(2) && { "x-session-key": `s${roll(100_000)}` }),
      ...(once(10) && { "x-weir-timeout": `${20 + roll(500)}ms` })
    },
    leavesAfter: once(5) ? roll(300) : undefined,
    end
  }
}

const run = async (url: string, agent: Agent, planned: SoakRequest, tally: Tally): Promise<void> => {
  const { body, bytes, end, headers, leavesAfter, path } = planned
  const leaving = leavesAfter === undefined ? undefined : AbortSignal.timeout(leavesAfter)
  const sending = { dispatcher: agent, method: "POST" as const, headers, body, ...(leaving && { signal: leaving }) }
  try {
    const answer = await request(`${url}${path}`, sending)
    const text = await answer.body.text()
    const { statusCode } = answer
    const isStream = statusCode === 200 && String(answer.headers["content-type"]).startsWith("text/event-stream")
    if (statusCode === 200 && bytes !== undefined && text.length !== bytes && !text.includes('"code":"upstream_')) {
      tally.lies.push(`${text.length} of ${bytes} bytes`)
    }
    if (!isStream) return tally.note(`${bytes === undefined ? "" : "large answer, "}status ${statusCode}`)
    const cut = /"code":"(upstream_[a-z]+)"[^\n]*\n\n$/.exec(text)?.[1]
    const whole = text.includes(end)
    if (whole === (cut !== undefined)) tally.lies.push(text.slice(-200))
    tally.note(cut === undefined ? "whole stream" : `stream that says ${cut}`)
  } catch {
    tally.note(leaving?.aborted === true ? "client left" : "broken connection")
  }
}

/** `clients` at once until `over` says so. */
export const traffic = (
  url: string,
  random: SeededRandom,
  clients: number,
  tally: Tally,
  over: () => boolean
): Effect.Effect<void> =>
  Effect.promise(async () => {
    const agent = new Agent({
      connections: null,
      pipelining: 1,
      keepAliveTimeout: 1000,
      bodyTimeout: 0,
      headersTimeout: 0
    })
    const client = async (): Promise<void> => {
      while (!over()) await run(url, agent, requestFrom(random), tally)
    }
    await Promise.all(Array.from({ length: clients }, client))
    await agent.destroy()
  })
