import { EventEmitter } from "node:events"
import { createServer, IncomingMessage } from "node:http"
import { Socket } from "node:net"
import { duplexPair } from "node:stream"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { MonotonicClock } from "../../../src/domain/MonotonicClock.ts"
import { hangUp, takeUpgrades, watchLeaving } from "../../../src/http/server/Upgrades.ts"
import { mayUpgrade, refuseWebSocket } from "../../../src/http/server/WebSocketHead.ts"
import { Timers } from "../../../src/resilience/Timers.ts"
import { layerTime } from "../../Time.ts"

const offer: Readonly<Record<string, string>> = {
  connection: "keep-alive, Upgrade",
  upgrade: "WebSocket",
  "sec-websocket-version": "13",
  "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="
}

const messageOf = (headers: Readonly<Record<string, string>>) =>
  Object.assign(new IncomingMessage(new Socket()), { method: "GET", httpVersion: "1.1", headers })

const turn = Effect.promise(() => new Promise<void>((done) => setImmediate(done)))

describe("a server", () => {
  it("hands over what is a clean request for a WebSocket, in whatever case it is written", () => {
    const server = createServer()
    takeUpgrades(server)
    assert.strictEqual(server.listenerCount("upgrade"), 1)
    assert.isTrue(mayUpgrade(messageOf(offer)))
    assert.isTrue(mayUpgrade(messageOf({ ...offer, connection: "upgrade", "content-length": "0" })))
    assert.isUndefined(refuseWebSocket(Object.assign(messageOf(offer), { upgrade: true })))
  })

  it.each(["h2c", "TLS/1.0", "h2c, foo/2", "websocketx"])("does not hand over %s, nor refuse it", (upgrade) => {
    const message = messageOf({ connection: "Upgrade", upgrade })
    assert.isFalse(mayUpgrade(message))
    assert.isUndefined(refuseWebSocket(message))
  })

  it("a server of a Node that would hand over every protocol hands over none, and says so in words", async () => {
    const server = new EventEmitter()
    takeUpgrades(server)
    server.on("upgrade", () => {})
    await Promise.resolve()
    assert.strictEqual(server.listenerCount("upgrade"), 0)
    assert.include(refuseWebSocket(messageOf(offer))?.message ?? "", "Node.js")
  })
})

describe("a connection that was handed over", () => {
  it.effect("is seen to be hung up while nothing is read of it", () =>
    Effect.gen(function* () {
      const [ours, theirs] = duplexPair()
      watchLeaving(ours)
      theirs.end()
      yield* turn
      yield* turn
      assert.isTrue(ours.destroyed)
    })
  )

  it.effect("keeps what comes too early for its reader", () =>
    Effect.gen(function* () {
      const [ours, theirs] = duplexPair()
      const stop = watchLeaving(ours)
      theirs.write("early")
      yield* turn
      stop()
      let text = ""
      ours.on("data", (piece: Buffer) => {
        text += piece.toString()
      })
      ours.resume()
      theirs.write(" and late")
      yield* turn
      yield* turn
      assert.strictEqual(text, "early and late")
    })
  )

  it.effect("is closed 2 s after its last byte, where its client does not close it", () =>
    Effect.gen(function* () {
      const services = { clock: yield* MonotonicClock, timers: yield* Timers }
      const [ours, theirs] = duplexPair()
      theirs.resume()
      hangUp(ours, services)
      yield* TestClock.adjust("10 seconds")
      assert.isFalse(ours.destroyed)
      ours.end("the last")
      yield* turn
      yield* TestClock.adjust("1900 millis")
      assert.isFalse(ours.destroyed)
      yield* TestClock.adjust("200 millis")
      assert.isTrue(ours.destroyed)
    }).pipe(Effect.provide(layerTime))
  )

  it.effect("is closed at once where its client closes it", () =>
    Effect.gen(function* () {
      const [ours, theirs] = duplexPair()
      hangUp(ours, { clock: yield* MonotonicClock, timers: yield* Timers })
      ours.end()
      theirs.resume()
      theirs.end("what nobody reads")
      yield* turn
      yield* turn
      assert.isTrue(ours.destroyed)
    }).pipe(Effect.provide(layerTime))
  )
})
