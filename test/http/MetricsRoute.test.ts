import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { HttpServerResponse } from "effect/http"
import { metricsRoute } from "../../src/http/MetricsRoute.ts"
import { answerOwn } from "../../src/http/OwnRoutes.ts"
import { incoming, listener, snapshot } from "./Requests.ts"

describe("the figures", () => {
  const exposition = { text: Effect.succeed("weir_retries_total 1\n") }
  const request = {
    incoming: incoming({ path: "/metrics" }),
    snapshot: snapshot(),
    listener: listener(),
    key: undefined
  }

  it.effect("are served in the form that Prometheus reads", () =>
    Effect.gen(function* () {
      const answer = yield* answerOwn(
        metricsRoute(exposition, () => true),
        request
      )
      const response = HttpServerResponse.toWeb(answer)
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
