/** A backend's name that means another address after a while, as a load-balanced or a moved one does. */
import type { LookupAddress } from "node:dns"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { vi } from "vitest"
import { putInForce } from "../registry/Fixtures.ts"
import { configFor, type Line, nextTurn, ok, onLine, readAll } from "./Line.ts"
import type { Peer } from "./Origin.ts"

/** What every name means, and how often that was asked. */
const names = vi.hoisted(() => ({ address: "127.0.0.1", asked: 0 }))

vi.mock("node:dns", async (original) => ({
  ...(await original<object>()),
  lookup: (
    _name: string,
    _options: object,
    callback: (error: null, addresses: ReadonlyArray<LookupAddress>) => void
  ) => {
    names.asked++
    callback(null, [{ address: names.address, family: 4 }])
  }
}))

/** A request to the engine by its name, answered on a connection that is there or on a new one. */
const asked = Effect.fnUntraced(function* ({ origin, send }: Line, peer?: Peer) {
  const before = peer?.received().length ?? 0
  const sending = yield* Effect.forkChild(send(), { startImmediately: true })
  const on = peer ?? (yield* origin.next)
  yield* on.until((received) => received.slice(before).includes("\r\n\r\n"))
  on.send(ok("fine"))
  const { text } = yield* readAll(yield* Fiber.join(sending))
  assert.strictEqual(text, "fine")
  yield* nextTurn
  yield* nextTurn
  return on
})

const named = <A, E>(backend: object, use: (line: Line) => Effect.Effect<A, E>) =>
  onLine((line) =>
    Effect.gen(function* () {
      Object.assign(names, { address: "127.0.0.1", asked: 0 })
      const client = { keepAlive: "10h" }
      yield* putInForce(line.registry, yield* configFor(`http://engine.test:${line.origin.port}`, { backend, client }))
      yield* use(line)
    })
  )

describe("a backend whose name has come to mean another address", () => {
  for (const [setting, backend, before, after] of [
    ["five minutes, if nothing is said", {}, "239 seconds", "61 seconds"],
    ["as configured", { maxConnectionAge: "10s" }, "7 seconds", "3 seconds"],
    ["as configured, longer", { maxConnectionAge: "2h" }, "95 minutes", "25 minutes"],
    ["at once", { maxConnectionAge: "0s" }, undefined, "0 seconds"]
  ] as const) {
    it.effect(`is followed when its connections have reached their age: ${setting}`, () =>
      named(backend, (line) =>
        Effect.gen(function* () {
          const peer = yield* asked(line)
          assert.strictEqual(names.asked, 1)
          // An address that is always refused: that it is shows that the name was looked up again and checked.
          names.address = "169.254.169.254"
          if (before !== undefined) {
            yield* TestClock.adjust(before)
            yield* asked(line, peer)
            assert.strictEqual(names.asked, 1)
          }
          yield* TestClock.adjust(after)
          assert.strictEqual((yield* Effect.flip(line.send())).kind, "refused")
          assert.strictEqual(names.asked, 2)
          yield* peer.closed
          names.address = "127.0.0.1"
          yield* asked(line)
        })
      )
    )
  }

  it.effect("is followed at once when the setting changes: older connections end with what they are busy with", () =>
    named({ maxConnectionAge: "10h" }, (line) =>
      Effect.gen(function* () {
        const sending = yield* Effect.forkChild(line.send(), { startImmediately: true })
        const peer = yield* line.origin.next
        yield* peer.head
        const url = `http://engine.test:${line.origin.port}`
        yield* putInForce(line.registry, yield* configFor(url, { backend: { maxConnectionAge: "1m" } }))
        yield* asked(line)
        assert.strictEqual(names.asked, 2)
        peer.send(ok("whole"))
        assert.deepStrictEqual(yield* readAll(yield* Fiber.join(sending)), { text: "whole", failure: undefined })
        yield* peer.closed
      })
    )
  )
})
