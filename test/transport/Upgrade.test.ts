/** What the transport makes of an upgrade: a connection to use, an ordinary answer, or a failure. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber } from "effect"
import { type Abort, UpstreamFailed } from "../../src/transport/UpstreamTransport.ts"
import { putInForce } from "../registry/Fixtures.ts"
import { configFor, onLine, readAll } from "./Line.ts"
import { eventually } from "./Origin.ts"

const upgrade = { upgrade: "websocket", path: "/v1/realtime", headers: ["sec-websocket-version", "13"] } as const

const accepted = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nx-a: b\r\n\r\n"

describe("an upgrade", () => {
  it.live("an upgrade that is accepted gives the connection, with what came right behind the head", () =>
    onLine(({ origin, send }) =>
      Effect.gen(function* () {
        const sending = yield* Effect.forkChild(send(upgrade), { startImmediately: true })
        const peer = yield* origin.next
        const head = yield* peer.head
        assert.match(head, /^GET \/v1\/realtime HTTP\/1\.1\r\n/)
        assert.match(head, /\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n/)
        peer.send(`${accepted}early`)
        const { headers, socket, status } = yield* Fiber.join(sending)
        assert.strictEqual(status, 101)
        assert.strictEqual(headers["x-a"], "b")
        assert.isDefined(socket)
        let text = ""
        socket.on("data", (piece: Buffer) => {
          text += piece.toString()
        })
        socket.resume()
        peer.send(" and late")
        yield* eventually("both pieces", () => text === "early and late")
        socket.write("up")
        yield* peer.until((received) => received.endsWith("up"))
        socket.destroy()
        yield* peer.closed
      })
    )
  )

  it.live.each(["cancel", "abort"] as const)("an accepted upgrade is over with its %s, for both sides", (how) =>
    onLine(({ origin, send }) =>
      Effect.gen(function* () {
        let abort: Abort = () => {}
        const sending = yield* Effect.forkChild(
          send(upgrade, (given) => {
            abort = given
          }),
          { startImmediately: true }
        )
        const peer = yield* origin.next
        yield* peer.head
        peer.send(accepted)
        const { cancel, socket } = yield* Fiber.join(sending)
        if (how === "cancel") cancel()
        else abort(new UpstreamFailed({ kind: "timeout", detail: "idle" }))
        yield* peer.closed
        assert.isTrue(socket?.destroyed)
      })
    )
  )

  it.live.each([200, 302, 403, 426, 500])("an upgrade answered with a %i is an answer like all others", (status) =>
    onLine(({ origin, send }) =>
      Effect.gen(function* () {
        const sending = yield* Effect.forkChild(send(upgrade), { startImmediately: true })
        const peer = yield* origin.next
        yield* peer.head
        peer.send(`HTTP/1.1 ${status} Said\r\ncontent-length: 2\r\n\r\nno`)
        const response = yield* Fiber.join(sending)
        assert.strictEqual(response.status, status)
        assert.isUndefined(response.socket)
        assert.deepStrictEqual(yield* readAll(response), { text: "no", failure: undefined })
      })
    )
  )

  it.live("an upgrade that is no longer waited for is taken back", () =>
    onLine(({ origin, send }) =>
      Effect.gen(function* () {
        const sending = yield* Effect.forkChild(send(upgrade), { startImmediately: true })
        const peer = yield* origin.next
        yield* peer.head
        yield* Fiber.interrupt(sending)
        yield* peer.closed
      })
    )
  )

  it.live("an upgrade that breaks off is a failure, and so is a switch that was not asked for", () =>
    onLine(({ origin, send }) =>
      Effect.gen(function* () {
        for (const [request, say] of [
          [upgrade, ""],
          [upgrade, accepted.slice(0, 20)],
          [{}, accepted]
        ] as const) {
          const sending = yield* Effect.forkChild(Effect.exit(send(request)), { startImmediately: true })
          const peer = yield* origin.next
          yield* peer.head
          peer.send(say)
          peer.end()
          assert.isTrue(Exit.isFailure(yield* Fiber.join(sending)), say)
        }
      })
    )
  )

  it.live("an upgrade that was accepted outlives its backend's place in the configuration", () =>
    onLine(({ origin, registry, send }) =>
      Effect.gen(function* () {
        const sending = yield* Effect.forkChild(send(upgrade), { startImmediately: true })
        const peer = yield* origin.next
        yield* peer.head
        peer.send(accepted)
        const { socket } = yield* Fiber.join(sending)
        yield* putInForce(registry, yield* configFor("http://127.0.0.1:9", {}))
        socket?.write("still here")
        yield* peer.until((received) => received.endsWith("still here"))
        socket?.destroy()
      })
    )
  )
})
