/** More connections than a listener may have: closed, counted, and no trouble for those that are there. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Scope } from "effect"
import { ask } from "../e2e/Ask.ts"
import { eventually, serve } from "../e2e/Program.ts"
import { connect, type Line, request } from "./Raw.ts"

const refusals = (admin: string) =>
  Effect.map(ask(`${admin}/metrics`), ({ text }) =>
    Number(/^weir_connections_refused_total\{listener="public"\} (\d+)$/m.exec(text)?.[1] ?? 0)
  )

const greet = (line: Line, answers: number) =>
  Effect.gen(function* () {
    line.write(request("GET", "/healthz"))
    yield* line.until(() => line.statuses().length === answers)
    assert.deepStrictEqual(new Set(line.statuses()), new Set([200]))
  })

describe("a listener with as many connections as it may have", () => {
  it.live("closes what comes beyond that unread, counts it, and takes the next one when one has gone", () =>
    Effect.gen(function* () {
      const gateway = yield* serve({ listeners: [{ name: "public", port: 0, maxConnections: 5 }], admin: { port: 0 } })
      const url = gateway.urlOf("public")
      const first = yield* Scope.make()
      const one = yield* connect(url).pipe(Effect.provideService(Scope.Scope, first))
      const others = yield* Effect.all(Array.from({ length: 4 }, () => connect(url)))
      for (const line of [one, ...others]) yield* greet(line, 1)

      for (let n = 0; n < 20; n++) {
        const refused = yield* connect(url)
        refused.write(request("GET", "/healthz"))
        yield* refused.until(refused.closed)
        assert.strictEqual(refused.received(), "")
      }
      assert.strictEqual(yield* refusals(gateway.urlOf("admin")), 20)
      for (const line of [one, ...others]) yield* greet(line, 2)

      yield* Scope.close(first, Exit.void)
      yield* eventually(
        Effect.scoped(
          Effect.gen(function* () {
            const next = yield* connect(url)
            next.write(request("GET", "/healthz"))
            yield* next.until(() => next.closed() || next.statuses().length > 0)
            return next.statuses()[0]
          })
        ),
        () => "a place for the next one"
      )
    })
  )
})
