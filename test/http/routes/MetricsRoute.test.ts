import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { metricsRoute } from "../../../src/http/routes/MetricsRoute.ts"
import { answerOf } from "../Requests.ts"

describe("the metrics", () => {
  const exposition = { text: Effect.succeed("weir_retries_total 1\n") }

  it.effect("are served in the form that Prometheus reads", () =>
    Effect.gen(function* () {
      const response = yield* answerOf(
        metricsRoute(exposition, () => true),
        { path: "/metrics" }
      )
      assert.strictEqual(response.headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8")
      assert.strictEqual(yield* Effect.promise(() => response.text()), "weir_retries_total 1\n")
    })
  )

  it("are for everybody or for the admin token, as the configuration of the moment says", () => {
    let isPublic = true
    const route = metricsRoute(exposition, () => isPublic)
    assert.strictEqual(route.access, "public")
    isPublic = false
    assert.strictEqual(route.access, "admin")
  })
})
