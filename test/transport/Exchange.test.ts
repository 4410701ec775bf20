import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Result, Stream } from "effect"
import { Exchange } from "../../src/transport/Exchange.ts"
import { noteUse } from "../../src/transport/StaleConnection.ts"
import {
  BodyEnd,
  type BodySink,
  type ExchangeFailed,
  UpstreamFailed,
  type UpstreamResponse
} from "../../src/transport/UpstreamTransport.ts"
import { Controller } from "./Wire.ts"

const scene = () => {
  const heads: Array<Result.Result<UpstreamResponse, ExchangeFailed>> = []
  const exchange = new Exchange((head) => heads.push(head))
  const controller = new Controller()
  return { heads, exchange, controller }
}

const begun = () => {
  const all = scene()
  all.exchange.onRequestStart(all.controller)
  all.exchange.onResponseStart(all.controller, 200, { a: "b" })
  return all
}

const bytes = (length: number) => new Uint8Array(length)
const tooSlow = new UpstreamFailed({ kind: "timeout", detail: "idle" })

describe("a head", () => {
  it("is given once, with its status and its headers, when what came with it is there too", async () => {
    const { heads } = begun()
    assert.deepStrictEqual(heads, [])
    await Promise.resolve()
    assert.lengthOf(heads, 1)
    const [head] = heads
    assert.isTrue(head !== undefined && Result.isSuccess(head))
    if (head !== undefined && Result.isSuccess(head))
      assert.deepInclude(head.success, { status: 200, headers: { a: "b" } })
  })

  it("a head that has come is given, whatever becomes of the rest", async () => {
    const { controller, exchange, heads } = begun()
    exchange.onResponseError(controller, new Error("reset"))
    await Promise.resolve()
    assert.lengthOf(heads, 1)
    assert.isTrue(heads[0] !== undefined && Result.isSuccess(heads[0]))
  })

  it("is not one of those that only announce another", async () => {
    const { controller, exchange, heads } = scene()
    exchange.onRequestStart(controller)
    exchange.onResponseStart(controller, 100, {})
    exchange.onResponseStart(controller, 103, { link: "x" })
    assert.deepStrictEqual(heads, [])
    exchange.onResponseStart(controller, 204, {})
    await Promise.resolve()
    assert.lengthOf(heads, 1)
  })

  it("a head that never comes is a failure, with what undici says of it", () => {
    const { controller, exchange, heads } = scene()
    exchange.onResponseError(controller, Object.assign(new Error("x"), { code: "ECONNREFUSED" }))
    assert.deepStrictEqual(heads, [Result.fail(new UpstreamFailed({ kind: "connect", detail: "ECONNREFUSED" }))])
  })
})

describe("a body", () => {
  it.effect("is read piece by piece as it comes, or what has come at once, then its end again and again", () =>
    Effect.gen(function* () {
      const { controller, exchange } = begun()
      const waiting = yield* Effect.forkChild(exchange.read, { startImmediately: true })
      exchange.onResponseData(controller, bytes(1))
      assert.deepStrictEqual(yield* Fiber.join(waiting), [bytes(1)])
      exchange.onResponseData(controller, bytes(2))
      exchange.onResponseData(controller, bytes(3))
      exchange.onResponseEnd()
      assert.deepStrictEqual(yield* exchange.read, [bytes(2), bytes(3)])
      for (let i = 0; i < 3; i++) assert.deepStrictEqual(yield* exchange.read, new BodyEnd(undefined))
    })
  )

  it.effect("a body that is not read stops the socket at 64 KiB, and reading starts it again", () =>
    Effect.gen(function* () {
      const { controller, exchange } = begun()
      for (let i = 0; i < 3; i++) exchange.onResponseData(controller, bytes(16 * 1024))
      assert.isFalse(controller.paused)
      exchange.onResponseData(controller, bytes(16 * 1024))
      assert.isTrue(controller.paused)
      yield* exchange.read
      assert.deepStrictEqual([controller.paused, controller.resumes], [false, 1])
      exchange.onResponseData(controller, bytes(1))
      yield* exchange.read
      assert.strictEqual(controller.resumes, 1)
    })
  )

  it.effect("loses nothing when its reader is interrupted", () =>
    Effect.gen(function* () {
      const { controller, exchange } = begun()
      const waiting = yield* Effect.forkChild(exchange.read, { startImmediately: true })
      yield* Fiber.interrupt(waiting)
      exchange.onResponseData(controller, bytes(5))
      assert.deepStrictEqual(yield* exchange.read, [bytes(5)])
    })
  )

  it.effect("a body that breaks off gives what has come, then the reason", () =>
    Effect.gen(function* () {
      const { controller, exchange } = begun()
      exchange.onResponseData(controller, bytes(5))
      exchange.onResponseError(controller, Object.assign(new Error("x"), { code: "ECONNRESET" }))
      assert.deepStrictEqual(yield* exchange.read, [bytes(5)])
      const end = yield* exchange.read
      assert.instanceOf(end, BodyEnd)
      if (end instanceof BodyEnd) assert.deepInclude(end.failure, { kind: "reset", detail: "ECONNRESET" })
    })
  )
})

describe("a body as a stream", () => {
  /** One whose head has been given. */
  const answered = Effect.gen(function* () {
    const { controller, exchange, heads } = begun()
    yield* Effect.promise(() => Promise.resolve())
    const [head] = heads
    assert.isDefined(head)
    return { controller, exchange, response: yield* Effect.orDie(Effect.fromResult(head)) }
  })
  const reset = Object.assign(new Error("x"), { code: "ECONNRESET" })

  it.effect("is all that was not read yet, then its end", () =>
    Effect.gen(function* () {
      const { controller, exchange, response } = yield* answered
      exchange.onResponseData(controller, bytes(1))
      yield* response.read
      exchange.onResponseData(controller, bytes(2))
      exchange.onResponseData(controller, bytes(3))
      const reading = yield* Effect.forkChild(Stream.runCollect(response.stream), { startImmediately: true })
      exchange.onResponseData(controller, bytes(4))
      exchange.onResponseEnd()
      assert.deepStrictEqual(yield* Fiber.join(reading), [bytes(2), bytes(3), bytes(4)])
    })
  )

  it.effect("that breaks off gives what has come, then fails with the reason", () =>
    Effect.gen(function* () {
      const { controller, exchange, response } = yield* answered
      exchange.onResponseData(controller, bytes(5))
      exchange.onResponseError(controller, reset)
      const seen: Array<Uint8Array> = []
      const failure = yield* Effect.flip(
        Stream.runForEach(response.stream, (piece) => Effect.sync(() => seen.push(piece)))
      )
      assert.deepStrictEqual(seen, [bytes(5)])
      assert.deepInclude(failure, { kind: "reset", detail: "ECONNRESET" })
    })
  )

  it.effect("of which only the beginning is wanted gives up the rest", () =>
    Effect.gen(function* () {
      const { controller, exchange, response } = yield* answered
      exchange.onResponseData(controller, bytes(5))
      assert.deepStrictEqual(yield* Stream.runCollect(Stream.take(response.stream, 1)), [bytes(5)])
      assert.isTrue(controller.aborted)
    })
  )

  it.effect("whose reader is interrupted gives up the rest", () =>
    Effect.gen(function* () {
      const { controller, response } = yield* answered
      const reading = yield* Effect.forkChild(Stream.runDrain(response.stream), { startImmediately: true })
      assert.isFalse(controller.aborted)
      yield* Fiber.interrupt(reading)
      assert.isTrue(controller.aborted)
    })
  )

  it.effect("stops the socket at 64 KiB while its reader is busy", () =>
    Effect.gen(function* () {
      const { controller, exchange, response } = yield* answered
      const goOn = yield* Deferred.make<void>()
      const reading = yield* Effect.forkChild(
        Stream.runForEach(response.stream, () => Deferred.await(goOn)),
        { startImmediately: true }
      )
      for (let i = 0; i < 5; i++) exchange.onResponseData(controller, bytes(16 * 1024))
      yield* Effect.yieldNow
      assert.isTrue(controller.paused)
      yield* Deferred.succeed(goOn, undefined)
      exchange.onResponseEnd()
      yield* Fiber.join(reading)
    })
  )
})

describe("a reader that is woken", () => {
  it("reads nothing, loses nothing of what comes behind it, and is harmed by no other waking", async () => {
    const { controller, exchange } = begun()
    exchange.wake()
    const first = Effect.runPromise(exchange.read)
    exchange.wake()
    exchange.wake()
    assert.deepStrictEqual(await first, [bytes(0)])
    const second = Effect.runPromise(exchange.read)
    exchange.onResponseData(controller, bytes(3))
    assert.deepStrictEqual(await second, [bytes(3)])
    exchange.onResponseEnd()
    exchange.wake()
    assert.instanceOf(await Effect.runPromise(exchange.read), BodyEnd)
  })
})

describe("ending an exchange from outside", () => {
  it("an end before the exchange was sent lets nothing go out", () => {
    const { controller, exchange, heads } = scene()
    exchange.abort(tooSlow)
    assert.deepStrictEqual(heads, [Result.fail(tooSlow)])
    exchange.onRequestStart(controller)
    assert.isTrue(controller.aborted)
  })

  it("an end before the head fails it with the caller's reason, not with what undici makes of it", () => {
    const { controller, exchange, heads } = scene()
    exchange.onRequestStart(controller)
    exchange.abort(tooSlow)
    exchange.onResponseError(controller, new Error("aborted"))
    assert.deepStrictEqual(heads[0], Result.fail(tooSlow))
    assert.isTrue(controller.aborted)
  })

  it.effect("wakes the reader that waits for the body", () =>
    Effect.gen(function* () {
      const { controller, exchange } = begun()
      const waiting = yield* Effect.forkChild(exchange.read, { startImmediately: true })
      exchange.abort(tooSlow)
      assert.deepStrictEqual(yield* Fiber.join(waiting), new BodyEnd(tooSlow))
      assert.isTrue(controller.aborted)
      assert.deepStrictEqual(yield* exchange.read, new BodyEnd(tooSlow))
    })
  )

  it.effect("an exchange that is given up throws away what will not be read", () =>
    Effect.gen(function* () {
      const { controller, exchange } = begun()
      exchange.onResponseData(controller, bytes(5))
      exchange.cancel()
      exchange.cancel()
      assert.isTrue(controller.aborted)
      assert.deepStrictEqual(yield* exchange.read, new BodyEnd(undefined))
    })
  )

  it.effect("an end after the exchange's own changes nothing: the connection is kept for the next request", () =>
    Effect.gen(function* () {
      const { controller, exchange } = begun()
      exchange.onResponseEnd()
      exchange.cancel()
      exchange.abort(tooSlow)
      assert.isFalse(controller.aborted)
      assert.deepStrictEqual(yield* exchange.read, new BodyEnd(undefined))
    })
  )

  it.effect("is decided by the first cause", () =>
    Effect.gen(function* () {
      const { controller, exchange } = begun()
      exchange.abort(tooSlow)
      exchange.cancel()
      exchange.onResponseError(controller, new Error("later"))
      exchange.onResponseEnd()
      assert.deepStrictEqual(yield* exchange.read, new BodyEnd(tooSlow))
    })
  )

  it.effect("takes no more of what still comes in", () =>
    Effect.gen(function* () {
      const { controller, exchange } = begun()
      exchange.cancel()
      exchange.onResponseData(controller, bytes(5))
      assert.deepStrictEqual(yield* exchange.read, new BodyEnd(undefined))
    })
  )
})

describe("a connection that breaks before there was a head", () => {
  const failureOf = (error: Error) => {
    const { controller, exchange, heads } = scene()
    exchange.onRequestStart(controller)
    exchange.onResponseError(controller, error)
    const [head] = heads
    return head !== undefined && Result.isFailure(head) ? head.failure : undefined
  }
  const kindOf = (error: Error) => failureOf(error)?.kind
  const reset = () => Object.assign(new Error("x"), { code: "ECONNRESET", syscall: "read" })
  const closed = (bytesRead: number) => Object.assign(new Error("x"), { code: "UND_ERR_SOCKET", socket: { bytesRead } })

  it("is stale where it had served before, and else broken", () => {
    const used = reset()
    noteUse(used, 17)
    const fresh = reset()
    noteUse(fresh, 0)
    assert.deepStrictEqual([used, fresh, reset()].map(kindOf), ["stale", "reset", "reset"])
    assert.deepStrictEqual([closed(17), closed(0)].map(kindOf), ["stale", "reset"])
  })

  it("is what it is where more is known than that it broke", () => {
    const refused = Object.assign(new Error("x"), { code: "ECONNREFUSED" })
    noteUse(refused, 17)
    assert.strictEqual(kindOf(refused), "connect")
  })
})

/** A client: takes everything, and is ready again when it is told. */
class Client implements BodySink {
  readonly pieces: Array<string> = []
  isReady = true
  #waiting: Array<() => void> = []
  readonly write = (piece: Uint8Array): boolean => {
    this.pieces.push(Buffer.from(piece).toString("latin1"))
    return this.isReady
  }
  readonly onDrain = (ready: () => void): void => {
    this.#waiting.push(ready)
  }
  drain(): void {
    this.isReady = true
    for (const ready of this.#waiting.splice(0)) ready()
  }
}

const text = (of: string) => Buffer.from(of, "latin1")

describe("a body that is piped", () => {
  const piping = (client: BodySink) => {
    const all = begun()
    const fiber = Effect.runFork(all.exchange.pipe(client))
    return { ...all, fiber, ended: () => fiber.pollUnsafe() }
  }

  it("hands over what had come before, then what comes, then its end", async () => {
    const client = new Client()
    const { controller, exchange } = begun()
    exchange.onResponseData(controller, text("a"))
    exchange.onResponseData(controller, text("b"))
    const fiber = Effect.runFork(exchange.pipe(client))
    assert.deepStrictEqual(client.pieces, ["ab"])
    exchange.onResponseData(controller, text("c"))
    await Promise.resolve()
    assert.deepStrictEqual(client.pieces, ["ab", "c"])
    assert.isUndefined(fiber.pollUnsafe())
    exchange.onResponseEnd()
    assert.deepStrictEqual(fiber.pollUnsafe(), Exit.succeed(new BodyEnd(undefined)))
  })

  it("passes on as one piece what came in one turn", async () => {
    const client = new Client()
    const { controller, exchange } = piping(client)
    for (const piece of ["a", "b", "c"]) exchange.onResponseData(controller, text(piece))
    assert.deepStrictEqual(client.pieces, [])
    await Promise.resolve()
    assert.deepStrictEqual(client.pieces, ["abc"])
  })

  it("a body whose end comes in the same turn as its last piece is whole", () => {
    const client = new Client()
    const { controller, ended, exchange } = piping(client)
    exchange.onResponseData(controller, text("last"))
    exchange.onResponseEnd()
    assert.deepStrictEqual(client.pieces, ["last"])
    assert.isDefined(ended())
  })

  it("waits for a client that is slow, with the socket stopped once enough has gathered", async () => {
    const client = new Client()
    const { controller, exchange } = piping(client)
    client.isReady = false
    exchange.onResponseData(controller, text("a"))
    await Promise.resolve()
    exchange.onResponseData(controller, bytes(65_536))
    await Promise.resolve()
    assert.lengthOf(client.pieces, 1)
    assert.isTrue(controller.paused)
    client.drain()
    assert.deepStrictEqual(
      client.pieces.map((piece) => piece.length),
      [1, 65_536]
    )
    assert.isFalse(controller.paused)
  })

  it("stays in order where a socket that is let go on tells more, and its end, at once", async () => {
    const client = new Client()
    const { controller, ended, exchange } = piping(client)
    client.isReady = false
    exchange.onResponseData(controller, text("a"))
    await Promise.resolve()
    exchange.onResponseData(controller, text("b".repeat(65_536)))
    assert.isTrue(controller.paused)
    controller.resume = () => {
      controller.paused = false
      exchange.onResponseData(controller, text("c"))
      exchange.onResponseEnd()
    }
    client.drain()
    assert.deepStrictEqual(client.pieces, ["a", "b".repeat(65_536), "c"])
    assert.isDefined(ended())
    client.drain()
    assert.lengthOf(client.pieces, 3)
  })

  it("is handed over whole at its end, even to a client that is slow", async () => {
    const client = new Client()
    const { controller, ended, exchange } = piping(client)
    client.isReady = false
    exchange.onResponseData(controller, text("a"))
    await Promise.resolve()
    exchange.onResponseData(controller, text("b"))
    exchange.onResponseEnd()
    assert.deepStrictEqual(client.pieces, ["a", "b"])
    assert.isDefined(ended())
  })

  it("tells how it broke off, after all that had come", () => {
    const client = new Client()
    const { controller, ended, exchange } = piping(client)
    exchange.onResponseData(controller, text("a"))
    exchange.abort(tooSlow)
    assert.deepStrictEqual(client.pieces, ["a"])
    assert.deepStrictEqual(ended(), Exit.succeed(new BodyEnd(tooSlow)))
  })

  it("a body is piped no further once its reader was interrupted", async () => {
    const client = new Client()
    const { controller, exchange, fiber } = piping(client)
    exchange.onResponseData(controller, text("a"))
    await Effect.runPromise(Fiber.interrupt(fiber))
    exchange.onResponseData(controller, text("b"))
    exchange.cancel()
    await Promise.resolve()
    assert.deepStrictEqual(client.pieces, [])
    assert.isTrue(controller.aborted)
  })

  it("is not hurried by a client that was given up and is ready only now", async () => {
    const [former, client] = [new Client(), new Client()]
    former.isReady = false
    client.isReady = false
    const { controller, exchange, fiber } = piping(former)
    exchange.onResponseData(controller, text("a"))
    await Promise.resolve()
    await Effect.runPromise(Fiber.interrupt(fiber))
    Effect.runFork(exchange.pipe(client))
    exchange.onResponseData(controller, text("b"))
    await Promise.resolve()
    exchange.onResponseData(controller, text("c"))
    former.drain()
    assert.deepStrictEqual([former.pieces, client.pieces], [["a"], ["b"]])
    client.drain()
    assert.deepStrictEqual(client.pieces, ["b", "c"])
  })

  it("ends its reader, not the program, where a sink fails", async () => {
    const { controller, ended, exchange } = piping({
      write: () => {
        throw new Error("a bug")
      },
      onDrain: () => {}
    })
    exchange.onResponseData(controller, text("a"))
    await Promise.resolve()
    const exit = ended()
    assert.isTrue(exit !== undefined && Exit.hasDies(exit))
    exchange.onResponseData(controller, text("b"))
    await Promise.resolve()
  })

  it("ends its reader, not the program, where a sink cannot say when it is ready again", async () => {
    const { controller, ended, exchange } = piping({
      write: () => false,
      onDrain: () => {
        throw new Error("a bug")
      }
    })
    exchange.onResponseData(controller, text("a"))
    await Promise.resolve()
    const exit = ended()
    assert.isTrue(exit !== undefined && Exit.hasDies(exit))
  })
})
