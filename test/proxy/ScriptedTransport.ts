/**
 * Backends that play a script: what each of them does with its first request, its second, and so on. Virtual time, no
 * sockets; everything that was sent, cancelled and aborted is written down.
 */

import type { Duplex } from "node:stream"
import { Clock, type Context, Deferred, Duration, Effect, Layer } from "effect"
import { type Chunks, Pieces } from "../../src/domain/Bytes.ts"
import type { UpstreamHeaders } from "../../src/domain/UpstreamHeaders.ts"
import {
  type Abort,
  BodyEnd,
  type ExchangeFailed,
  RequestBodyFailed,
  UpstreamFailed,
  type UpstreamRequest,
  type UpstreamResponse,
  UpstreamTransport
} from "../../src/transport/UpstreamTransport.ts"
import { transportBySending, wholeBodyByReading } from "../transport/DirectForms.ts"

/** A piece of a body, and how long the backend takes for it. */
export type Piece = string | Uint8Array | { readonly after: Duration.Input; readonly data: string | Uint8Array }

export const later = (after: Duration.Input, data: string | Uint8Array): Piece => ({ after, data })

export interface Answer {
  readonly status: number
  readonly headers: UpstreamHeaders
  /** Until the head. */
  readonly after: Duration.Input
  readonly pieces: ReadonlyArray<Piece>
  /** What comes behind the last piece: the end, a broken connection, or nothing at all. */
  readonly end: "end" | "cut" | "stall"
  /** What a 101 opens; the test holds the other end. */
  readonly socket?: Duplex
}

/** What a backend does with one request. */
export type Step =
  | { readonly fails: UpstreamFailed["kind"]; readonly after: Duration.Input; readonly detail?: string }
  | { readonly fails: "request_body"; readonly after: Duration.Input; readonly reason: RequestBodyFailed["reason"] }
  | { readonly silent: true }
  | Answer

/** Nothing listens there. */
export const refuse: Step = { fails: "connect", after: 0 }

/** The connection breaks before the head. */
export const reset = (after: Duration.Input = 0): Step => ({ fails: "reset", after })

/** Takes the request and never says a word. */
export const silence: Step = { silent: true }

/** Chunked, as engines send what they do not know the length of. */
export const labelled = (type: string): UpstreamHeaders => ({ "content-type": type, "transfer-encoding": "chunked" })

export const answer = (
  status: number,
  body: string | ReadonlyArray<Piece> = "{}",
  more: Partial<Answer> = {}
): Answer => ({
  status,
  headers: labelled("application/json"),
  after: "1 millis",
  pieces: typeof body === "string" ? [body] : body,
  end: "end",
  ...more
})

/** A stream of events in these pieces. */
export const stream = (pieces: ReadonlyArray<Piece>, more: Partial<Answer> = {}): Answer =>
  answer(200, pieces, { headers: labelled("text/event-stream"), ...more })

/** The backend accepts a WebSocket. */
export const accept = (socket: Duplex, more: Partial<Answer> = {}): Answer =>
  answer(101, [], { headers: { upgrade: "websocket", connection: "upgrade" }, socket, ...more })

/** One exchange as the backend saw it. */
export class Exchange {
  readonly request: UpstreamRequest
  /** Pieces that were read so far. */
  readonly pieces: Array<Uint8Array> = []
  /** What it was told to do; `undefined` until it begins. */
  step: Step | undefined
  /** Whether its head was given. */
  answered = false
  state: "open" | "finished" | "cancelled" | ExchangeFailed = "open"
  readonly #context: Context.Context<never>
  readonly #onHead: (answer: Answer) => void
  readonly #ending = Deferred.makeUnsafe<BodyEnd>()
  #wake = () => {}

  constructor(request: UpstreamRequest, context: Context.Context<never>, onHead: (answer: Answer) => void) {
    this.request = request
    this.#context = context
    this.#onHead = onHead
  }

  get read(): number {
    return this.pieces.length
  }

  get text(): string {
    const { body } = this.request
    if (body instanceof Pieces) return Buffer.concat(body.all).toString("utf8")
    return body instanceof Uint8Array ? Buffer.from(body).toString("utf8") : ""
  }

  header(name: string): string | undefined {
    const at = this.request.headers.findIndex((each, i) => i % 2 === 0 && each.toLowerCase() === name)
    return at < 0 ? undefined : this.request.headers[at + 1]
  }

  readonly abort: Abort = (failure) => this.#finish(failure, new BodyEnd(failure))

  readonly cancel = (): void => this.#finish("cancelled", new BodyEnd(undefined))

  /** Waits for what the script says, or for whoever ends the exchange before. */
  play(step: Step): Effect.Effect<UpstreamResponse, ExchangeFailed> {
    this.step = step
    if ("silent" in step) return this.#unlessEnded(Effect.never, stopped)
    if ("fails" in step) {
      const failure =
        step.fails === "request_body"
          ? new RequestBodyFailed({ reason: step.reason })
          : new UpstreamFailed({ kind: step.fails, detail: step.detail ?? "scripted" })
      return this.#unlessEnded(Effect.andThen(Effect.delay(Effect.void, step.after), this.#end(failure)), stopped)
    }
    const pieces = step.pieces.values()
    const read = this.#reading(pieces, step.end)
    const head = {
      status: step.status,
      headers: step.headers,
      ...wholeBodyByReading(this.#context, read, this.cancel),
      wake: () => this.#wake(),
      socket: step.socket
    }
    const give = Effect.sync(() => {
      this.answered = true
      this.#onHead(step)
      return head
    })
    return this.#unlessEnded(Effect.delay(give, step.after), stopped)
  }

  #reading(pieces: Iterator<Piece>, end: Answer["end"]): Effect.Effect<Chunks | BodyEnd> {
    // The piece that is on its way; it does not begin anew where the one who waited for it was woken.
    let coming: { readonly data: string | Uint8Array; readonly at: number } | undefined
    const next = Effect.flatMap(Clock.currentTimeMillis, (now): Effect.Effect<Chunks | BodyEnd> => {
      const { done, value } = coming === undefined ? pieces.next() : { done: false, value: coming.data }
      if (done !== true) {
        const { after, data } =
          typeof value === "string" || value instanceof Uint8Array ? { after: 0, data: value } : value
        coming ??= { data, at: now + Duration.toMillis(after) }
        return Effect.delay(
          Effect.sync((): Chunks => {
            coming = undefined
            const piece = typeof data === "string" ? Buffer.from(data, "utf8") : data
            this.pieces.push(piece)
            return [piece]
          }),
          Math.max(0, coming.at - now)
        )
      }
      if (end === "stall") return Effect.never
      const failure = end === "cut" ? new UpstreamFailed({ kind: "reset", detail: "scripted" }) : undefined
      return Effect.sync(() => {
        this.#finish(failure ?? "finished", new BodyEnd(failure))
        return new BodyEnd(failure)
      })
    })
    const woken = Effect.callback<Chunks>((resume) => {
      this.#wake = () => resume(Effect.succeed([new Uint8Array(0)]))
    })
    return this.#unlessEnded(Effect.raceFirst(next, woken), Effect.succeed)
  }

  #finish(state: Exclude<Exchange["state"], "open">, end: BodyEnd): void {
    if (this.state !== "open") return
    this.state = state
    if (this.answered && this.step !== undefined && "socket" in this.step) this.step.socket?.destroy()
    Deferred.doneUnsafe(this.#ending, Effect.succeed(end))
  }

  #end(failure: ExchangeFailed): Effect.Effect<never, ExchangeFailed> {
    return Effect.suspend(() => {
      this.abort(failure)
      return Effect.fail(failure)
    })
  }

  #unlessEnded<A, B, E, F>(play: Effect.Effect<A, E>, otherwise: (end: BodyEnd) => Effect.Effect<B, F>) {
    const ended = Effect.flatMap(Deferred.await(this.#ending), otherwise)
    return Effect.suspend(
      (): Effect.Effect<A | B, E | F> => (this.state === "open" ? Effect.raceFirst(play, ended) : ended)
    )
  }
}

const stopped = (end: BodyEnd): Effect.Effect<never, ExchangeFailed> =>
  Effect.fail(end.failure ?? new UpstreamFailed({ kind: "reset", detail: "cancelled" }))

/** By backend; the last step is repeated. */
export type Script = Readonly<Record<string, ReadonlyArray<Step>>>

/** What a backend does, decided when it is asked. */
export type Play = (exchange: Exchange) => Step

const playing = (script: Script, transport: ScriptedTransport): Play => {
  const nth = ({ request }: Exchange) => transport.with(request.backend.name).length - 1
  return (exchange) => {
    const steps = script[exchange.request.backend.name] ?? []
    return steps[nth(exchange)] ?? steps.at(-1) ?? silence
  }
}

export class ScriptedTransport {
  /** Every exchange that was begun for a client, in order. */
  readonly exchanges: Array<Exchange> = []
  /** What a backend does with its probes, where it is not simply well. */
  readonly probes = new Map<string, Step>()
  /** Told of every head as it is given. */
  onHead: (exchange: Exchange, answer: Answer) => void = () => {}
  readonly #play: Play

  constructor(script: Script | Play) {
    this.#play = typeof script === "function" ? script : playing(script, this)
  }

  /** The exchanges with one backend. */
  with(name: string): ReadonlyArray<Exchange> {
    return this.exchanges.filter(({ request }) => request.backend.name === name)
  }

  /** Who was asked, in order. */
  get asked(): string {
    return this.exchanges.map(({ request }) => request.backend.name).join("")
  }

  /** How the exchanges ended, in order. */
  get ends(): ReadonlyArray<string> {
    return this.exchanges.map(({ state }) => (typeof state === "string" ? state : state.kind))
  }

  readonly layer = Layer.effect(
    UpstreamTransport,
    Effect.contextWith((context: Context.Context<never>) =>
      Effect.succeed(
        transportBySending(context, (request, started) =>
          Effect.suspend(() => {
            const exchange = new Exchange(request, context, (head) => this.onHead(exchange, head))
            const isProbe = request.method === "GET" && request.path === "/v1/models"
            if (!isProbe) this.exchanges.push(exchange)
            const step = isProbe ? (this.probes.get(request.backend.name) ?? answer(200, "{}")) : this.#play(exchange)
            started(exchange.abort)
            return Effect.onInterrupt(exchange.play(step), () => Effect.sync(exchange.cancel))
          })
        )
      )
    )
  )
}
