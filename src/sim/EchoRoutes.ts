/** A mirror for pass-through tests: it tells what arrived. */
import { createHash } from "node:crypto"
import { Effect, Stream } from "effect"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { Exchange } from "./Exchange.ts"

/** Any method on `/v1/echo` and on `/echo/…`. The body is hashed as it comes and never held. */
const mirror = Effect.gen(function* () {
  const { entry } = yield* Exchange
  const request = yield* HttpServerRequest.HttpServerRequest
  const hash = createHash("sha256")
  let bytes = 0
  yield* Stream.runForEach(request.stream, (chunk) =>
    Effect.sync(() => {
      hash.update(chunk)
      bytes += chunk.length
    })
  )
  const body = { bytes, sha256: hash.digest("hex") }
  entry.record.body = body
  const { headers, method, url } = entry.record
  return HttpServerResponse.jsonUnsafe({ method, url, headers, body })
})

export const echoRoutes = [HttpRouter.route("*", "/v1/echo", mirror), HttpRouter.route("*", "/echo/*", mirror)]
