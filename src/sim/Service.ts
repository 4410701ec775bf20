/** The way of every request through one server: the books, the key, the faults of the head, then its route. */
import { Effect, Layer, Option, Redacted } from "effect"
import { HttpRouter, HttpServerRequest, type HttpServerResponse } from "effect/http"
import { delayOf, sendWhole } from "./BodyFaults.ts"
import { controlRoutes } from "./ControlRoutes.ts"
import type { Controls } from "./Controls.ts"
import { echoRoutes } from "./EchoRoutes.ts"
import { type EngineProfile, profileOf } from "./EngineProfile.ts"
import { Exchange, openExchange } from "./Exchange.ts"
import { generationRoutes } from "./GenerationRoutes.ts"
import type { Instance } from "./Instance.ts"
import { ollamaRoutes } from "./OllamaRoutes.ts"
import { Refusal, refusalResponse } from "./Refusal.ts"
import { makeRequestLog } from "./RequestLog.ts"
import { tokenRoutes } from "./TokenRoutes.ts"
import { vectorRoutes } from "./VectorRoutes.ts"
import { watchRoutes } from "./WatchRoutes.ts"
import { insteadOfAnswer } from "./WireFaults.ts"

/** The whole HTTP surface of one instance. */
export const makeService = Effect.fnUntraced(function* (instance: Instance, controls: Controls) {
  const router = yield* HttpRouter.toHttpEffect(
    Layer.mergeAll(
      HttpRouter.addAll(generationRoutes(instance)),
      HttpRouter.addAll(vectorRoutes(instance)),
      HttpRouter.addAll(tokenRoutes(instance)),
      HttpRouter.addAll(watchRoutes(instance)),
      HttpRouter.addAll(ollamaRoutes(instance)),
      HttpRouter.addAll(echoRoutes),
      HttpRouter.addAll(controlRoutes(controls))
    )
  )
  // Steering is not part of what is steered.
  const unbooked = makeRequestLog()

  const profile = profileOf(instance.settings.engine)

  const serve = Effect.gen(function* () {
    const request = yield* HttpServerRequest.HttpServerRequest
    const [asked = "", query] = request.url.split("?", 2)
    const control = asked.startsWith("/sim/")
    const meant = control ? asked : profile.meant(asked, new URLSearchParams(query))
    const path = meant ?? asked
    const exchange = yield* openExchange(request, path, control ? unbooked : instance.log)
    const url = query === undefined ? path : `${path}?${query}`
    const routed = router.pipe(
      Effect.provideService(HttpServerRequest.HttpServerRequest, path === asked ? request : request.modify({ url })),
      Effect.provideService(Exchange, exchange),
      Effect.catchTag("HttpServerError", ({ reason }) =>
        Effect.succeed(refusalResponse(reason._tag === "RouteNotFound" ? unknownRoute(exchange) : unreadable, path))
      )
    )
    if (control) return yield* routed
    if (!isAllowed(instance, profile, exchange)) return refusalResponse(wrongKey, path)
    if (meant === undefined) return refusalResponse(unknownRoute(exchange), path)
    const lack = profile.lack(exchange.incoming.headers)
    if (lack !== undefined) return refusalResponse(lack, path)
    return yield* withFaultOfHead(instance, exchange, routed)
  })
  return { serve: Effect.interruptible(serve) }
})

/** On inference endpoints few faults are decided this early; everywhere else all are. */
const withFaultOfHead = Effect.fnUntraced(function* <E, R>(
  instance: Instance,
  exchange: Exchange["Service"],
  routed: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>
) {
  const fault = yield* instance.faults.pick({ path: exchange.path, phase: "head", stream: false })
  if (fault !== undefined) exchange.entry.meet(fault.kind)
  const instead = insteadOfAnswer(instance, exchange, fault)
  if (instead !== undefined) return yield* instead
  const delay = delayOf(fault)
  if (Option.isSome(delay)) yield* Effect.sleep(delay.value)
  return sendWhole(instance, exchange, yield* routed, fault, 1)
})

/** Anthropic's clients send their key in a header of its own, whatever answers them. */
const isAllowed = (
  { settings }: Instance,
  profile: EngineProfile,
  { incoming, path }: Exchange["Service"]
): boolean => {
  if (settings.apiKey === undefined || path === "/health") return true
  const key = Redacted.value(settings.apiKey)
  const names = path === "/v1/messages" ? [...profile.keyHeaders, "x-api-key" as const] : profile.keyHeaders
  return names.some((name) => incoming.headers[name] === (name === "authorization" ? `Bearer ${key}` : key))
}

const wrongKey = new Refusal({ status: 401, code: "invalid_api_key", message: "Incorrect API key provided." })

const unreadable = new Refusal({ status: 400, code: "invalid_request", message: "the request could not be read" })

const unknownRoute = ({ incoming, path }: Exchange["Service"]): Refusal =>
  new Refusal({ status: 404, code: "not_found", message: `Unknown request URL: ${incoming.method ?? "GET"} ${path}` })
