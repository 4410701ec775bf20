import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { Exchange } from "../../src/transport/Exchange.ts"
import { BodyEnd, type BodySink } from "../../src/transport/UpstreamTransport.ts"
import { fc } from "../registry/Properties.ts"
import { Wire } from "./Wire.ts"

const highWaterMark = 64 * 1024
const largestPiece = 70_000

interface Way {
  /** How the rest is taken after the last step. */
  readonly last: "read" | "pipe"
  /** What the client says of each piece, again and again: whether it is ready for more. */
  readonly ready: ReadonlyArray<boolean>
  /** It is ready again the moment it is asked to tell. */
  readonly atOnce: boolean
}

/** A client that takes everything, says of each piece whether more may come, and is ready again when it is told. */
class Client implements BodySink {
  readonly pieces: Array<Uint8Array> = []
  readonly #way: Way
  readonly #wire: Wire
  #waiting: Array<() => void> = []

  constructor(way: Way, wire: Wire) {
    this.#way = way
    this.#wire = wire
  }

  get isFull(): boolean {
    return this.#waiting.length > 0
  }

  readonly write = (piece: Uint8Array): boolean => {
    assert.isAbove(piece.length, 0, "a piece that is handed over has bytes")
    if (!this.#wire.ended) assert.isFalse(this.isFull, "it had said that it was full")
    this.pieces.push(piece)
    const { ready } = this.#way
    return ready[this.pieces.length % ready.length] ?? true
  }

  readonly onDrain = (ready: () => void): void => {
    if (this.#way.atOnce) ready()
    else this.#waiting.push(ready)
  }

  drain(): void {
    for (const ready of this.#waiting.splice(0)) ready()
  }
}

type Step =
  | { readonly kind: "arrive"; readonly length: number }
  | { readonly kind: "read" | "pipe" | "giveUp" | "drain" | "turn" }

const steps = fc.array(
  fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({
        kind: fc.constant("arrive" as const),
        length: fc.oneof(
          fc.constantFrom(0, 1, highWaterMark - 1, highWaterMark, largestPiece),
          fc.integer({ min: 0, max: largestPiece })
        )
      })
    },
    {
      weight: 4,
      arbitrary: fc.record({ kind: fc.constantFrom("read", "pipe", "giveUp", "drain", "turn") })
    }
  ),
  { maxLength: 40 }
)

const scenes = fc.record({
  steps,
  last: fc.constantFrom("read", "pipe"),
  ready: fc.array(fc.boolean(), { minLength: 1, maxLength: 5 }),
  atOnce: fc.boolean()
})

/** One body that comes and is taken; how is the scene's. */
class Scene {
  readonly #exchange = new Exchange(() => {})
  readonly wire = new Wire(this.#exchange)
  readonly #of: Way
  readonly taken: Array<Uint8Array> = []
  readonly ends: Array<BodyEnd> = []
  #sent = 0
  #reading: Fiber.Fiber<void> | undefined
  /** The latest is the one that is piped to; those before it may still say that they are ready. */
  readonly #clients: [Client, ...Array<Client>]

  constructor(of: Way) {
    this.#of = of
    this.#clients = [new Client(of, this.wire)]
  }

  /** Nothing is read any more, and nothing was lost: what the fiber had taken, it had handed over. */
  async giveUp(): Promise<void> {
    if (this.#reading !== undefined) await Effect.runPromise(Fiber.interrupt(this.#reading))
    this.#reading = undefined
    this.#gather()
  }

  take(how: "read" | "pipe"): void {
    if (this.#isTaking) return
    this.#reading = Effect.runFork(how === "pipe" ? this.#pipe() : this.#readOnce())
  }

  async step(step: Step): Promise<void> {
    switch (step.kind) {
      case "arrive":
        return this.wire.arrive(this.numbered(step.length))
      case "read":
      case "pipe":
        return this.take(step.kind)
      case "giveUp":
        // A client after one that was full is not held up by it.
        return this.giveUp()
      case "drain":
        return this.#drain()
      case "turn":
        await Promise.resolve()
    }
  }

  get #isTaking(): boolean {
    return this.#reading !== undefined && this.#reading.pollUnsafe() === undefined
  }

  /** Bytes that tell their place, so that one lost or out of order is seen. */
  numbered(length: number): Uint8Array {
    const piece = new Uint8Array(length)
    for (let i = 0; i < length; i++) piece[i] = (this.#sent + i) % 251
    this.#sent += length
    return piece
  }

  async toTheEnd(): Promise<void> {
    this.wire.end()
    for (let turns = 0; turns < 500 && this.ends.length === 0; turns++) {
      this.take(this.#of.last)
      this.#drain()
      await Promise.resolve()
    }
    await this.giveUp()
  }

  /** What came of it; as it must be: all bytes, the first of them out of order nowhere, one end. */
  outcome() {
    const all = Buffer.concat(this.taken)
    return { bytes: all.length, outOfOrder: all.findIndex((byte, at) => byte !== at % 251), ends: this.ends }
  }

  whole() {
    return { bytes: this.#sent, outOfOrder: -1, ends: [new BodyEnd(undefined)] }
  }

  /** While a reader waits that could take more, nothing may hold the backend up. */
  assertFlows(): void {
    if (this.#isTaking && !this.#clients[0].isFull) assert.isFalse(this.wire.paused, "stopped, with nothing that waits")
  }

  #gather(): void {
    this.taken.push(...this.#clients[0].pieces)
    this.#clients.unshift(new Client(this.#of, this.wire))
  }

  #drain(): void {
    for (const client of this.#clients.toReversed()) client.drain()
  }

  #readOnce(): Effect.Effect<void> {
    return Effect.map(this.#exchange.read, (read) => {
      if (read instanceof BodyEnd) {
        this.ends.push(read)
        return
      }
      for (const piece of read) assert.isAbove(piece.length, 0)
      this.taken.push(...read)
    })
  }

  #pipe(): Effect.Effect<void> {
    const [client] = this.#clients
    return Effect.map(this.#exchange.pipe(client), (end) => {
      this.ends.push(end)
    })
  }
}

describe("a body, whatever sizes its pieces have and however it is stopped and let go on", () => {
  it("arrives whole and in order and ends once, and is never stopped while nothing of it waits", async () => {
    let stopped = 0
    await fc.assert(
      fc.asyncProperty(scenes, async (of) => {
        const scene = new Scene(of)
        for (const step of of.steps) {
          await scene.step(step)
          if (scene.wire.paused) stopped++
          await Promise.resolve()
          scene.assertFlows()
        }
        await scene.toTheEnd()
        assert.deepStrictEqual(scene.outcome(), scene.whole())
      }),
      { numRuns: 400 }
    )
    assert.isAbove(stopped, 100, "the scenes do stop the connection")
  })

  for (const length of [0, 1, highWaterMark, largestPiece]) {
    it(`goes on after pieces of ${length} bytes, in each of which the connection was stopped and resumed`, async () => {
      const scene = new Scene({ last: "pipe", ready: [false], atOnce: false })
      scene.take("pipe")
      for (let i = 0; i < 20; i++) {
        await scene.step({ kind: "arrive", length })
        await scene.step({ kind: "turn" })
        await scene.step({ kind: "drain" })
        await scene.step({ kind: "arrive", length: 0 })
      }
      await scene.toTheEnd()
      assert.deepStrictEqual(scene.outcome(), scene.whole())
    })
  }
})
