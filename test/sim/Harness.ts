/** What the tests over sockets share: a quick simulator, requests to it, and waiting for a condition. */
import { Duration, Effect, Schedule } from "effect"
import { isRecord, textOr } from "../../src/sim/Json.ts"
import { Simulator, type SimulatorOptions, type SimulatorStats } from "../../src/sim/Simulator.ts"

export type Running = Simulator["Service"]

/** Quick enough for tests, slow enough to be caught in every phase. */
export const quick = { ttft: Duration.millis(4), itl: Duration.millis(2), tokens: 10 }

export const launch = (options: SimulatorOptions = {}) => Simulator.make({ ...quick, ...options })

export const chatBody = (content: string, more: object = {}) => ({
  model: "sim-model",
  messages: [{ role: "user", content }],
  ...more
})

/** Fails when the condition does not come true within some seconds. */
export const eventually = (
  simulator: Running,
  test: (stats: SimulatorStats) => boolean
): Effect.Effect<SimulatorStats> =>
  simulator.stats.pipe(
    Effect.filterOrFail(test, (stats) => new Error(`still ${JSON.stringify(stats)}`)),
    Effect.retry(Schedule.max([Schedule.spaced("5 millis"), Schedule.recurs(800)])),
    Effect.orDie
  )

export interface Fetched {
  readonly status: number
  readonly headers: Headers
  readonly text: string
}

export const send = (url: string, init: RequestInit = {}): Effect.Effect<Fetched> =>
  Effect.promise(async (signal) => {
    const response = await fetch(url, { ...init, signal })
    return { status: response.status, headers: response.headers, text: await response.text() }
  })

export const postJson = (url: string, body: unknown, headers: Record<string, string> = {}): Effect.Effect<Fetched> =>
  send(url, { method: "POST", headers: { "content-type": "application/json", ...headers }, body: JSON.stringify(body) })

/** A simulator of its own for one test: two models, and a context of 1,000 tokens. */
export const onSimulator = <A, E>(use: (simulator: Running) => Effect.Effect<A, E>) =>
  Effect.scoped(Effect.flatMap(launch({ models: ["sim-model", "org/other"], contextTokens: 1000 }), use))

/** What such a simulator answers to one request. */
export const askJson = (path: string, body: unknown) =>
  onSimulator((simulator) =>
    Effect.map(postJson(`${simulator.url}${path}`, body), ({ status, text }) => ({ status, json: parsed(text) }))
  )

export const parsed = (text: string): unknown => JSON.parse(text)

/** The value at a path of keys and indices. */
export const at = (value: unknown, ...path: ReadonlyArray<string | number>): unknown =>
  path.reduce<unknown>((inner, key) => {
    if (Array.isArray(inner) && typeof key === "number") return inner.at(key)
    return isRecord(inner) ? inner[key] : undefined
  }, value)

/** The data of each event; `[DONE]` as it is. */
export const eventsOf = (text: string): ReadonlyArray<unknown> =>
  text
    .split("\n")
    .filter((line) => line.startsWith("data: "))
    .map((line) => line.slice("data: ".length))
    .map((data) => (data === "[DONE]" ? data : parsed(data)))

/** What all deltas of a chat stream say together. */
export const chatText = (events: ReadonlyArray<unknown>): string =>
  events.map((event) => textOr(at(event, "choices", 0, "delta", "content"), "")).join("")
