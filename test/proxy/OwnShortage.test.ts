/** What the gateway itself lacks (descriptors, ports, memory) is no fault of a backend, and the client is told to wait. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { type Harness, type Question, withGateway } from "./Harness.ts"
import { answer, type Step } from "./ScriptedTransport.ts"

const lack = (detail = "EMFILE"): Step => ({ fails: "local", after: 0, detail })
const well = answer(200, '{"ok":true}')
const times = <A>(count: number, one: A): ReadonlyArray<A> => Array.from({ length: count }, () => one)

const blameless = (gateway: Harness, name: string) => {
  const { failures, health, outcomes } = gateway.state(name)
  assert.strictEqual(failures, 0)
  assert.strictEqual(outcomes.failureRate(gateway.now()), 0)
  assert.notStrictEqual(health.status, "unhealthy")
}

const ways: ReadonlyArray<readonly [string, Question]> = [
  ["by model", {}],
  ["a stream", { body: { stream: true } }],
  ["by path", { method: "GET", path: "/docs" }],
  ["by path, not repeatable", { method: "POST", path: "/custom" }]
]

describe("a gateway that lacks descriptors or ports", () => {
  for (const [way, question] of ways) {
    it.effect(`answers 503 with retry-after, and serves on with the same backend at once: ${way}`, () =>
      withGateway({ script: { a: [...times(200, lack()), well] }, pool: { retry: { attempts: 0 } } }, (gateway) =>
        Effect.gen(function* () {
          for (let i = 0; i < 200; i++) {
            const error = yield* gateway.refusal(question)
            assert.deepStrictEqual([error.status, error.code, error.retryAfter], [503, "queue_full", 1])
          }
          blameless(gateway, "a")
          assert.strictEqual((yield* gateway.ask(question)).status, 200)
        })
      )
    )
  }

  for (const code of ["EMFILE", "ENFILE", "EADDRNOTAVAIL", "ENOBUFS", "ENOMEM"]) {
    it.effect(`tells a client neither the code nor a backend: ${code}`, () =>
      withGateway({ script: { a: times(9, lack(code)) } }, (gateway) =>
        Effect.gen(function* () {
          const error = yield* gateway.refusal()
          assert.strictEqual(error.code, "queue_full")
          assert.notMatch(error.message, new RegExp(`${code}|a\\\\.test`))
        })
      )
    )
  }

  it.effect("tries again, on another backend too: one may have a connection left", () =>
    withGateway({ script: { a: [lack()], b: [well] } }, (gateway) =>
      Effect.gen(function* () {
        assert.strictEqual((yield* gateway.ask()).status, 200)
        blameless(gateway, "a")
        assert.strictEqual(gateway.transport.exchanges.length, 2)
      })
    )
  )
})
