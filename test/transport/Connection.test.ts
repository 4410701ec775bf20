/** What happens on one connection between two answers, as an engine plays it byte by byte. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Stream } from "effect"
import { TestClock } from "effect/testing"
import type { UpstreamRequest, UpstreamResponse } from "../../src/transport/UpstreamTransport.ts"
import { type Line, nextTurn, ok, onLine, readAll } from "./Line.ts"
import type { Peer } from "./Origin.ts"

/** The whole answer to one request that the peer answers as it is told; the connection is free afterwards. */
const asked = Effect.fnUntraced(function* ({ origin, send }: Line, answer: string, peer?: Peer) {
  const before = peer?.received().length ?? 0
  const sending = yield* Effect.forkChild(send(), { startImmediately: true })
  const on = peer ?? (yield* origin.next)
  yield* on.until((received) => received.slice(before).includes("\r\n\r\n"))
  on.send(answer)
  const { text } = yield* readAll(yield* Fiber.join(sending))
  yield* nextTurn
  yield* nextTurn
  return { peer: on, text }
})

/** A request that has arrived on a connection that has served one before, and waits for its answer. */
const askedAgain = Effect.fnUntraced(function* (line: Line, more: Partial<UpstreamRequest> = {}, part = "") {
  const { peer } = yield* asked(line, ok("first"))
  const before = peer.received().length
  const sending = yield* Effect.forkChild(line.send(more), { startImmediately: true })
  yield* peer.until((received) => received.length > before && received.slice(before).includes(part))
  return { peer, sending }
})

const statusAndText = Effect.fnUntraced(function* (response: UpstreamResponse) {
  return [response.status, (yield* readAll(response)).text]
})

describe("an interim answer that was not asked for", () => {
  const interims: ReadonlyArray<readonly [string, string]> = [
    ["100", "HTTP/1.1 100 Continue\r\n\r\n"],
    ["100 with headers", "HTTP/1.1 100 Continue\r\nserver: x\r\nconnection: close\r\n\r\n"],
    ["102", "HTTP/1.1 102 Processing\r\n\r\n"],
    ["103", "HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\n"],
    ["several", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"]
  ]
  for (const [what, interim] of interims) {
    for (const method of ["GET", "POST", "HEAD"]) {
      it.live(`is skipped, in the same packet, ahead, or cut in two: ${what}, ${method}`, () =>
        onLine(({ origin, send }) =>
          Effect.gen(function* () {
            const body = method === "POST" ? Buffer.from("{}") : undefined
            const answer = method === "HEAD" ? ok("").replace("length: 0", "length: 2") : ok("fine")
            let peer: Peer | undefined
            let seen = 0
            for (const pieces of [
              [interim + answer],
              [interim, answer],
              [interim.slice(0, 5), interim.slice(5) + answer.slice(0, 7), answer.slice(7)],
              [interim.slice(0, -1), interim.slice(-1) + answer]
            ]) {
              const sending = yield* Effect.forkChild(send({ method, body }), { startImmediately: true })
              // After a HEAD the connection is not used again.
              const on: Peer = method === "HEAD" || peer === undefined ? yield* origin.next : peer
              const from = on === peer ? seen : 0
              yield* on.until((received) => received.slice(from).includes("\r\n\r\n"))
              for (const piece of pieces) {
                on.send(piece)
                yield* nextTurn
                yield* nextTurn
              }
              const told = yield* statusAndText(yield* Fiber.join(sending))
              assert.deepStrictEqual(told, [200, method === "HEAD" ? "" : "fine"])
              yield* nextTurn
              yield* nextTurn
              peer = on
              seen = on.received().length
            }
            assert.strictEqual(origin.accepted(), method === "HEAD" ? 4 : 1)
          })
        )
      )
    }
  }

  it.live("interim answers without end are no HTTP that is understood", () =>
    onLine(({ origin, send }) =>
      Effect.gen(function* () {
        const sending = yield* Effect.forkChild(Effect.flip(send()), { startImmediately: true })
        const peer = yield* origin.next
        yield* peer.head
        peer.send("HTTP/1.1 100 Continue\r\n\r\n".repeat(5000))
        assert.notStrictEqual((yield* Fiber.join(sending)).kind, "local")
        yield* peer.closed
      })
    )
  )
})

describe("an engine that says on a kept connection that it had waited for too long", () => {
  const late: ReadonlyArray<readonly [string, string]> = [
    ["with connection: close", "HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"],
    ["without", "HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n"],
    [
      "as HAProxy does",
      "HTTP/1.0 408 Request Time-out\r\ncache-control: no-cache\r\nconnection: close\r\n\r\n<html>late"
    ],
    ["with another code", "HTTP/1.1 400 Request Timeout\r\nconnection: close\r\ncontent-length: 4\r\n\r\nlate"],
    ["after a 100", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 408 Request Timeout\r\nconnection: close\r\n\r\n"]
  ]
  for (const [how, answer] of late) {
    for (const [method, body] of [
      ["GET", undefined],
      ["POST", Buffer.from('{"a":1}')],
      ["POST", Buffer.alloc(200_000, "x")]
    ] as const) {
      it.live(`is asked again on another connection, unnoticed: ${how}, ${method} ${body?.length ?? 0}`, () =>
        onLine((line) =>
          Effect.gen(function* () {
            const { peer, sending } = yield* askedAgain(line, { method, body })
            peer.send(answer)
            const another = yield* line.origin.next
            const whole = yield* another.until((received) => received.endsWith(body?.toString("latin1") ?? "\r\n\r\n"))
            assert.isTrue(whole.startsWith(`${method} / HTTP/1.1\r\n`))
            another.send(ok("second"))
            assert.deepStrictEqual(yield* statusAndText(yield* Fiber.join(sending)), [200, "second"])
          })
        )
      )
    }
  }

  const timeout = late[0]?.[1] ?? ""

  it.live("is believed on a fresh connection: the answer is passed on, and nothing is asked twice", () =>
    onLine((line) =>
      Effect.gen(function* () {
        const sending = yield* Effect.forkChild(line.send(), { startImmediately: true })
        const peer = yield* line.origin.next
        yield* peer.head
        peer.send(timeout)
        assert.strictEqual((yield* Fiber.join(sending)).status, 408)
        assert.strictEqual(line.origin.accepted(), 1)
      })
    )
  )

  it.live("is believed when it says so on a fresh connection too", () =>
    onLine((line) =>
      Effect.gen(function* () {
        const { peer, sending } = yield* askedAgain(line)
        peer.send(timeout)
        const another = yield* line.origin.next
        yield* another.head
        another.send(timeout)
        assert.strictEqual((yield* Fiber.join(sending)).status, 408)
        assert.strictEqual(line.origin.accepted(), 2)
      })
    )
  )

  it.live("is believed where the body is being streamed: that cannot be sent twice", () =>
    onLine((line) =>
      Effect.gen(function* () {
        const body = Stream.make(Buffer.from("piece"))
        const { peer, sending } = yield* askedAgain(line, { method: "POST", body }, "piece")
        peer.send(timeout)
        assert.strictEqual((yield* Fiber.join(sending)).status, 408)
      })
    )
  )

  it.effect("is believed when it has had the request for a while: then it is about the request", () =>
    onLine((line) =>
      Effect.gen(function* () {
        const { peer, sending } = yield* askedAgain(line)
        yield* TestClock.adjust("1 second")
        peer.send(timeout)
        assert.strictEqual((yield* Fiber.join(sending)).status, 408)
        assert.strictEqual(line.origin.accepted(), 1)
      })
    )
  )

  for (const status of ["404 Not Found", "400 Bad Request", "429 Too Many Requests", "504 Gateway Timeout"]) {
    it.live(`is not meant by other answers: ${status}`, () =>
      onLine((line) =>
        Effect.gen(function* () {
          const { peer } = yield* asked(line, ok("first"))
          const { text } = yield* asked(line, ok("told").replace("200 OK", status), peer)
          assert.strictEqual(text, "told")
          assert.strictEqual(line.origin.accepted(), 1)
        })
      )
    )
  }
})

describe("a connection that has reached its age", () => {
  const aged = { backend: { maxConnectionAge: "5m" }, client: { keepAlive: "1h" } }

  it.effect("is used until then, and not again after it", () =>
    onLine(
      (line) =>
        Effect.gen(function* () {
          const { peer } = yield* asked(line, ok("1"))
          yield* TestClock.adjust("239 seconds")
          yield* asked(line, ok("2"), peer)
          assert.strictEqual(line.origin.accepted(), 1)
          yield* TestClock.adjust("61 seconds")
          const { peer: another, text } = yield* asked(line, ok("3"))
          assert.strictEqual(text, "3")
          assert.strictEqual(line.origin.accepted(), 2)
          yield* peer.closed
          // The new connection's age begins at zero.
          yield* TestClock.adjust("239 seconds")
          yield* asked(line, ok("4"), another)
          assert.strictEqual(line.origin.accepted(), 2)
        }),
      aged
    )
  )

  it.effect("is not cut: what is under way on it comes to its end", () =>
    onLine(
      (line) =>
        Effect.gen(function* () {
          const sending = yield* Effect.forkChild(line.send(), { startImmediately: true })
          const peer = yield* line.origin.next
          yield* peer.head
          peer.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfirst")
          const response = yield* Fiber.join(sending)
          yield* TestClock.adjust("1 hour")
          // Another request meanwhile has a connection of its own.
          const { peer: second } = yield* asked(line, ok("beside"))
          peer.send("after")
          assert.deepStrictEqual(yield* readAll(response), { text: "firstafter", failure: undefined })
          assert.notStrictEqual(second, peer)
          yield* nextTurn
          yield* nextTurn
          yield* asked(line, ok("later"))
          assert.strictEqual(line.origin.accepted(), 3)
          yield* peer.closed
        }),
      aged
    )
  )

  it.effect("is not cut where it was upgraded: it is not ours any more, and what comes on it is left as it is", () =>
    onLine(
      (line) =>
        Effect.gen(function* () {
          const sending = yield* Effect.forkChild(line.send({ upgrade: "websocket" }), { startImmediately: true })
          const peer = yield* line.origin.next
          yield* peer.head
          const interim = "HTTP/1.1 100 Continue\r\n\r\n"
          const switching = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
          peer.send(interim + switching)
          const response = yield* Fiber.join(sending)
          assert.strictEqual(response.status, 101)
          yield* TestClock.adjust("1 hour")
          const { peer: another } = yield* asked(line, ok("beside"))
          assert.notStrictEqual(another, peer)
          peer.send(interim)
          const { socket } = response
          assert.isDefined(socket)
          const read = yield* Effect.callback<string>((resume) => {
            socket.once("data", (data: Buffer) => resume(Effect.succeed(data.toString("latin1"))))
          })
          assert.strictEqual(read, interim)
          response.cancel()
        }),
      aged
    )
  )

  it.effect("goes earlier by chance, by a fifth at most: those that were made together do not go together", () =>
    onLine(
      (line) =>
        Effect.gen(function* () {
          const many = Array.from({ length: 40 }, (_, i) => i)
          const all = Effect.fnUntraced(function* (answering: Effect.Effect<void>) {
            const sending = yield* Effect.forkChild(
              Effect.forEach(many, () => Effect.flatMap(line.send(), readAll), { concurrency: "unbounded" }),
              { startImmediately: true }
            )
            yield* answering
            yield* Fiber.join(sending)
            yield* nextTurn
            yield* nextTurn
          })
          const answerNew = Effect.gen(function* () {
            const peer = yield* line.origin.next
            yield* peer.head
            peer.send(ok("x"))
            peer.socket.on("data", () => peer.send(ok("x")))
          })
          yield* all(Effect.asVoid(Effect.forEach(many, () => answerNew)))
          assert.strictEqual(line.origin.accepted(), 40)
          yield* TestClock.adjust("270 seconds")
          // Some of them are made anew in the middle of the time in which that happens, some are not yet.
          yield* all(Effect.asVoid(Effect.forkChild(Effect.forever(answerNew))))
          assert.isAbove(line.origin.accepted(), 45)
          assert.isBelow(line.origin.accepted(), 75)
        }),
      aged
    )
  )
})
