/** A seed's plan: what is configured, what the backends do, which requests come when, and what is changed meanwhile. */
import { Schema } from "effect"
import { GatewayConfig } from "../../src/domain/GatewayConfig.ts"
import type { Question } from "../proxy/Harness.ts"
import { answer, later, type Piece, refuse, reset, type Step, silence, stream } from "../proxy/ScriptedTransport.ts"
import { sharedModel } from "./Oracle.ts"
import { makeSeededRandom, type SeededRandom } from "./SeededRandom.ts"

/** One request of a client. */
export interface PlannedRequest {
  readonly index: number
  readonly at: number
  readonly question: Question
  readonly streams: boolean
  /** By path, to any backend. */
  readonly passedThrough: boolean
  /** May be sent twice whatever became of it the first time. */
  readonly repeatable: boolean
  /** Milliseconds after which the client leaves; `Infinity`: it stays. */
  readonly patience: number
  /** Milliseconds that it gives the gateway for all of it; `Infinity`: it does not say. */
  readonly deadline: number
  readonly choices: number
}

export interface Plan {
  readonly config: GatewayConfig
  readonly backends: ReadonlyArray<string>
  /** A backend that is always well, always there and never full: a request with enough retries is served. */
  readonly rock: string | undefined
  /** A second attempt may run beside the first. */
  readonly hedges: boolean
  readonly requests: ReadonlyArray<PlannedRequest>
  readonly reloads: ReadonlyArray<{ readonly at: number; readonly config: GatewayConfig }>
  /** Backends that die and come back. */
  readonly turns: ReadonlyArray<{ readonly at: number; readonly backend: string; readonly probe: Step | undefined }>
  /** What a backend that lives does with a request. */
  readonly stepFor: (backend: string, asksForStream: boolean) => Step
}

const decode = Schema.decodeUnknownSync(GatewayConfig)

/** Milliseconds in which everything begins; what begun then may take longer. */
const span = 3000

export const planFor = (seed: number): Plan => {
  const random = makeSeededRandom(seed)
  const { of, once, roll } = random
  const backends = ["a", "b", "c", "d"].slice(0, 2 + roll(3))
  const rock = once(2) ? of("a", ...backends.slice(1)) : undefined
  const shares = once(2)
  const requests = Array.from({ length: 6 + roll(18) }, (_, index) => plannedRequest(random, index, shares)).toSorted(
    (one, other) => one.at - other.at
  )
  const settings = settingsFor(random, backends, rock, requests.length)
  const mood = of<Mood>("well", "mixed", "awful")
  return {
    config: configFor(settings, random, rock),
    backends,
    rock,
    hedges: settings.hedges,
    requests,
    reloads: once(3)
      ? Array.from({ length: 1 + roll(4) }, () => ({ at: roll(span), config: configFor(settings, random, rock) }))
      : [],
    turns: once(3)
      ? Array.from({ length: 1 + roll(6) }, () => ({
          at: roll(span),
          backend: of("a", ...backends.slice(1)),
          probe: of<Step | undefined>(undefined, undefined, refuse, silence, answer(500), answer(429), answer(401))
        })).filter(({ backend }) => backend !== rock)
      : [],
    stepFor: (backend, asksForStream) => stepFor(random, backend === rock ? "rock" : mood, asksForStream)
  }
}

/** `shares`: all want the same model, and wait in the same line. */
const plannedRequest = ({ of, once, roll }: SeededRandom, index: number, shares: boolean): PlannedRequest => {
  const passedThrough = once(8)
  const method = passedThrough ? of("GET", "POST") : "POST"
  const streams = once(2)
  const deadline = once(4) ? 1 + roll(1500) : Number.POSITIVE_INFINITY
  const choices = streams && once(6) ? 2 : 1
  const session = once(3) ? { "x-session-key": `s${roll(4)}` } : {}
  const timeout = Number.isFinite(deadline) ? { "x-weir-timeout": `${deadline}ms` } : {}
  return {
    index,
    // No two in the same moment, so that each can be told apart by its time.
    at: roll(span) + index / 100,
    question: {
      method,
      headers: { ...session, ...timeout },
      ...(passedThrough && { path: of("/api/other", "/v1/files") }),
      ...(once(3) && { key: "k" }),
      ...(method === "POST" && { body: { model: shares ? sharedModel : `m${index}`, stream: streams, n: choices } })
    },
    streams,
    passedThrough,
    repeatable: !passedThrough || method === "GET",
    patience: once(4) ? roll(700) + 0.5 : Number.POSITIVE_INFINITY,
    deadline,
    choices
  }
}

interface Settings {
  readonly backends: ReadonlyArray<string>
  readonly models: Readonly<Record<string, ReadonlyArray<string>>>
  readonly strategy: string
  readonly hedges: boolean
}

/** Which backend serves which model is decided once, so that no reload takes a model away. */
const settingsFor = (
  { of, once }: SeededRandom,
  backends: ReadonlyArray<string>,
  rock: string | undefined,
  count: number
): Settings => {
  const all = [sharedModel, ...Array.from({ length: count }, (_, index) => `m${index}`)]
  const picky = once(4)
  const served = (name: string) => (picky && name !== rock ? all.filter(() => !once(3)) : all)
  return {
    backends,
    models: Object.fromEntries(backends.map((name) => [name, served(name)])),
    strategy: of("least_inflight", "round_robin", "failover", "random", "weighted_round_robin", "power_of_two"),
    hedges: once(4)
  }
}

const configFor = (
  { backends, hedges, models, strategy }: Settings,
  random: SeededRandom,
  rock: string | undefined
): GatewayConfig => {
  const { once, roll } = random
  const timeouts = () => ({
    firstByte: `${200 + roll(300)}ms`,
    idle: `${100 + roll(200)}ms`,
    request: `${400 + roll(600)}ms`
  })
  const backend = (name: string) => ({
    name,
    url: `http://${name}${once(8) && name !== rock ? "2" : ""}.test`,
    models: models[name],
    weight: 1 + roll(3),
    breaker: { minRequests: 3 + roll(8), threshold: 0.5, window: "5s", cooldown: `${100 + roll(600)}ms` },
    ...(name === rock
      ? { timeouts: { firstByte: "10s", idle: "10s", request: "10s" } }
      : {
          timeouts: timeouts(),
          ...(once(2) && { maxConcurrency: 1 + roll(3) }),
          ...(once(10) && { enabled: false })
        })
  })
  const kept = backends.filter((name) => name === rock || !once(10))
  return decode({
    listeners: [{ port: 0, pool: "default" }],
    health: { interval: "300ms", timeout: "100ms", unhealthyAfter: 1 + roll(3) },
    backends: kept.map(backend),
    keys: [{ name: "k", key: "secret", limits: { concurrent: 4 } }],
    pools: [
      {
        name: "default",
        backends: kept.map((name) => ({ name, priority: once(5) ? 1 : 0 })),
        strategy,
        ...(hedges && { hedge: { after: "p50", maxRatio: 1 } }),
        admission:
          rock !== undefined || once(2)
            ? {}
            : { maxConcurrent: 1 + roll(6), maxQueue: roll(5), queueTimeout: `${100 + roll(900)}ms` },
        retry: { attempts: rock !== undefined ? 3 : roll(4), initialDelay: "20ms", maxDelay: `${50 + roll(500)}ms` }
      }
    ]
  })
}

type Mood = "well" | "mixed" | "awful" | "rock"

const event = (text: string, finish: string | null = null, index = 0): string =>
  `data: ${JSON.stringify({ choices: [{ index, delta: { content: text }, finish_reason: finish }] })}\n\n`

const done = "data: [DONE]\n\n"

const texts = ["Hello", "größe 🎉", "data: [DONE]", '"finish_reason":"stop"', "\n\ndata: [DONE]\n\n"]

const stepFor = (random: SeededRandom, mood: Mood, asksForStream: boolean): Step => {
  const { of, once, roll } = random
  if (mood === "rock" || (mood === "well" && !once(8)) || (mood === "mixed" && once(2)))
    return well(random, asksForStream)
  const rest = { headers: { "retry-after-ms": String(roll(600)) }, after: `${roll(40)} millis` } as const
  const before: ReadonlyArray<Step> = [
    refuse,
    reset(`${roll(80)} millis`),
    { fails: "protocol", after: `${roll(20)} millis` },
    silence,
    answer(500, "oops", { after: `${roll(40)} millis` }),
    answer(502, ["oo", later("30 millis", "ps")]),
    answer(503, "busy", rest),
    answer(429, "busy", rest),
    answer(400, '{"error":{"code":"context_length_exceeded"}}'),
    answer(404, "{}", { end: once(3) ? "cut" : "end" })
  ]
  return of(of(reset(), ...before), asksForStream ? badStream(random) : badWhole(random))
}

const slowly = ({ roll }: SeededRandom, data: string | Uint8Array): Piece => later(`${roll(60)} millis`, data)

const well = (random: SeededRandom, asksForStream: boolean): Step => {
  const { of, once, roll } = random
  const after = `${roll(150)} millis` as const
  if (!asksForStream) return answer(200, ['{"choices":', slowly(random, '[{"finish_reason":"stop"}]}')], { after })
  const words = Array.from({ length: 1 + roll(4) }, () => event(of("x", ...texts)))
  const finish = [event("", "stop"), event("", "length", 1)]
  const text = [once(3) ? ": ping\n\n" : "", ...words, ...finish, once(6) ? "" : done].join("")
  return stream(inPieces(random, text), { after })
}

/** Cut into chunks anywhere, in the middle of a character too. */
const inPieces = (random: SeededRandom, text: string): ReadonlyArray<Piece> => {
  const bytes = Buffer.from(text, "utf8")
  const pieces: Array<Piece> = []
  for (let at = 0; at < bytes.length; ) {
    const size = 1 + random.roll(120)
    pieces.push(random.once(2) ? bytes.subarray(at, at + size) : slowly(random, bytes.subarray(at, at + size)))
    at += size
  }
  return pieces
}

/** Broken off, fallen silent or ended in order, at any byte. */
const badStream = (random: SeededRandom): Step => {
  const { of, once, roll } = random
  const text = [...texts.map((each) => event(each)), event("", "stop"), done].join("")
  const bytes = Buffer.from(text, "utf8")
  const kept = once(6) ? text : bytes.subarray(0, roll(bytes.length)).toString("latin1")
  const pieces = once(6) ? [": ping\n\n"] : inPieces(random, kept)
  return stream(pieces, { after: `${roll(60)} millis`, end: of<"cut" | "stall" | "end">("cut", "stall", "end") })
}

const large = Buffer.alloc(1_200_000, "x")

const badWhole = (random: SeededRandom): Step => {
  const { of, once } = random
  const pieces = once(40) ? [large, slowly(random, "x")] : ['{"a":', slowly(random, "1")]
  return answer(200, pieces, { end: of<"cut" | "stall">("cut", "stall") })
}
