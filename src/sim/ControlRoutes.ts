/** `/sim/*`: what tests and people steer and ask the simulator with. It knows no key and meets no fault. */
import { Deferred, Effect, Option, Schema } from "effect"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import type { Controls } from "./Controls.ts"
import { Exchange } from "./Exchange.ts"
import { field } from "./Json.ts"
import { codeOf, Refusal, refusalResponse } from "./Refusal.ts"
import { recentLimit } from "./RequestLog.ts"

export const controlRoutes = (controls: Controls) => [
  HttpRouter.route(
    "GET",
    "/sim/stats",
    Effect.map(controls.stats, (stats) => HttpServerResponse.jsonUnsafe(stats))
  ),
  HttpRouter.route("GET", "/sim/requests", recent(controls)),
  HttpRouter.route("POST", "/sim/reset", reset(controls)),
  HttpRouter.route("GET", "/sim/faults", listed(controls)),
  HttpRouter.route("POST", "/sim/faults", change(controls)),
  HttpRouter.route("DELETE", "/sim/faults", Effect.andThen(controls.clearFaults, listed(controls)))
]

const listed = (controls: Controls) =>
  Effect.map(controls.listFaults, (faults) => HttpServerResponse.jsonUnsafe(faults))

const query = Effect.map(
  HttpServerRequest.HttpServerRequest,
  ({ url }) => new URL(url, "http://sim.invalid").searchParams
)

const recent = (controls: Controls) =>
  Effect.gen(function* () {
    const limit = Number((yield* query).get("limit") ?? recentLimit)
    const requests = yield* controls.requests(Number.isInteger(limit) ? limit : recentLimit)
    return HttpServerResponse.jsonUnsafe(requests)
  })

const parseJson = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Unknown))

const jsonBody = Effect.gen(function* () {
  const { text } = yield* HttpServerRequest.HttpServerRequest
  return parseJson(yield* text)
})

const reset = (controls: Controls) =>
  Effect.gen(function* () {
    const body = Option.getOrUndefined(yield* jsonBody)
    yield* controls.reset({ cache: field(body, "cache") === true })
    return HttpServerResponse.jsonUnsafe(yield* controls.stats)
  })

const change = (controls: Controls) =>
  Effect.gen(function* () {
    const json = yield* jsonBody
    if (Option.isNone(json)) return badFault("fault", "the body is not valid JSON")
    const { outgoing } = yield* Exchange
    // A refusal destroys every connection, so the answer to this request has to be out before it begins.
    const answered = yield* Deferred.make<void>()
    outgoing.once("close", () => Deferred.doneUnsafe(answered, Effect.void))
    const adding = (yield* query).get("add") === "true"
    yield* controls.setFaults(json.value, { add: adding, refuseAfter: Deferred.await(answered) })
    return yield* listed(controls)
  }).pipe(Effect.catchTag("FaultInvalid", ({ message, path }) => Effect.succeed(badFault(path, message))))

const badFault = (param: string, message: string) =>
  refusalResponse(new Refusal({ status: 400, code: codeOf(400), message, param }), "/sim/faults")
