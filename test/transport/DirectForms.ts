/** The callback forms of a transport that is written with effects. */
import { type Context, Effect, Exit, type Fiber } from "effect"
import type { Chunks } from "../../src/domain/Bytes.ts"
import { bodyByReading } from "../../src/transport/Body.ts"
import {
  type BodyEnd,
  type BodySink,
  type DirectBody,
  type PipeListener,
  type UpstreamResponse,
  UpstreamTransport
} from "../../src/transport/UpstreamTransport.ts"

type Transport = UpstreamTransport["Service"]

/** `context`: what fibers run with, the clock among it. */
export const transportBySending = (context: Context.Context<never>, send: Transport["send"]): Transport =>
  UpstreamTransport.of({
    send,
    open: (request, started, onHead) => {
      const fiber = Effect.runForkWith(context)(Effect.result(send(request, started)))
      fiber.addObserver((exit) => {
        if (Exit.isSuccess(exit)) onHead(exit.value)
      })
      return () => fiber.interruptUnsafe()
    },
    tellShortage: () => Effect.void
  })

/** A body in all of its forms, from what reads it. */
export const wholeBodyByReading = (
  context: Context.Context<never>,
  read: UpstreamResponse["read"],
  cancel: () => void
) => {
  const body = bodyByReading(read, cancel)
  return { ...body, direct: new DirectReading(context, read, body.pipe) }
}

class DirectReading implements DirectBody {
  readonly #run: <A>(effect: Effect.Effect<A>) => Fiber.Fiber<A>
  readonly #read: UpstreamResponse["read"]
  readonly #pipe: UpstreamResponse["pipe"]
  #taken: Chunks | BodyEnd | undefined
  #fiber: Fiber.Fiber<unknown> | undefined

  constructor(context: Context.Context<never>, read: UpstreamResponse["read"], pipe: UpstreamResponse["pipe"]) {
    this.#run = Effect.runForkWith(context)
    this.#read = read
    this.#pipe = pipe
  }

  take(ready: () => void): Chunks | BodyEnd | undefined {
    const taken = this.#taken
    this.#taken = undefined
    if (taken !== undefined) return taken
    const fiber = this.#run(this.#read)
    const exit = fiber.pollUnsafe()
    if (exit !== undefined) return Exit.isSuccess(exit) ? exit.value : undefined
    this.#fiber = fiber
    fiber.addObserver((exit) => {
      if (this.#fiber !== fiber || !Exit.isSuccess(exit)) return
      this.#fiber = undefined
      this.#taken = exit.value
      ready()
    })
    return undefined
  }

  pipeTo(sink: BodySink, listener: PipeListener): void {
    const fiber = this.#run(this.#pipe(sink))
    this.#fiber = fiber
    fiber.addObserver((exit) => {
      if (this.#fiber !== fiber) return
      this.#fiber = undefined
      if (Exit.isSuccess(exit)) listener.ended(exit.value)
      else listener.died(exit.cause)
    })
  }

  letGo(): void {
    const fiber = this.#fiber
    this.#fiber = undefined
    fiber?.interruptUnsafe()
  }
}
