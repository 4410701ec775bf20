/** What watches an engine asks it for: health, load, metrics, models. */
import { Effect, Option } from "effect"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { loadWindowSeconds } from "./Engine.ts"
import type { Instance } from "./Instance.ts"
import { metricsText } from "./MetricsText.ts"
import { Refusal, refusalResponse } from "./Refusal.ts"

export const watchRoutes = (instance: Instance) => {
  const { engine, settings } = instance
  const modelName = settings.models[0] ?? settings.name
  return [
    HttpRouter.route("GET", "/health", Effect.succeed(settings.engine === "llama-cpp" ? fine : alive)),
    HttpRouter.route(
      "GET",
      "/metrics",
      Effect.sync(() =>
        HttpServerResponse.text(metricsText(settings.engine, modelName, engine.load(), engine.totals()), {
          contentType: "text/plain; version=0.0.4; charset=utf-8"
        })
      )
    ),
    HttpRouter.route(
      "GET",
      "/llmhealth",
      Effect.sync(() => {
        const { peakPercent, running } = engine.load()
        return HttpServerResponse.jsonUnsafe({
          status: running * 2 >= settings.slots ? "busy" : "idle",
          gpu_util_max5s: peakPercent,
          window_seconds: loadWindowSeconds
        })
      })
    ),
    HttpRouter.route("GET", "/slots", slots(instance)),
    // With the wildcard the router answers /v1/models itself too; ids may have slashes in them.
    HttpRouter.route("GET", "/v1/models/*", models(instance))
  ]
}

/** As vLLM says that it is well: with nothing. */
const alive = HttpServerResponse.empty({ status: 200, headers: { "content-length": "0" } })

/** As llama.cpp says it. */
const fine = HttpServerResponse.jsonUnsafe({ status: "ok" })

/** As llama.cpp tells it; `?fail_on_no_slot=1` asks for 503 where none is free. */
const slots = ({ engine, settings }: Instance) =>
  Effect.map(HttpServerRequest.HttpServerRequest, ({ url }) => {
    const { running } = engine.load()
    if (running >= settings.slots && url.includes("fail_on_no_slot=1")) {
      return refusalResponse(
        new Refusal({ status: 503, code: "unavailable_error", message: "no slot available" }),
        "/slots"
      )
    }
    const list = Array.from({ length: settings.slots }, (_, id) => ({
      id,
      n_ctx: settings.contextTokens,
      is_processing: id < running
    }))
    return HttpServerResponse.jsonUnsafe(list)
  })

const models = ({ settings }: Instance) =>
  Effect.map(HttpServerRequest.HttpServerRequest, ({ url }) => {
    const path = url.split("?")[0] ?? ""
    const entries = settings.models.map((id) => ({
      id,
      object: "model",
      created: 1_700_000_000,
      owned_by: "weir-sim",
      root: id,
      parent: null,
      max_model_len: settings.contextTokens
    }))
    const wanted = decodePath(path.replace(/^\/v1\/models\/?/, ""))
    if (wanted === "" && settings.engine === "anthropic") return anthropicModels(settings.models, url)
    if (wanted === "") return HttpServerResponse.jsonUnsafe({ object: "list", data: entries })
    const found = entries.find(({ id }) => id === wanted)
    if (found !== undefined) return HttpServerResponse.jsonUnsafe(found)
    const message = `The model \`${wanted}\` does not exist.`
    return refusalResponse(new Refusal({ status: 404, code: "model_not_found", message, param: "model" }), path)
  })

/** Twenty of them, where no more are asked for. */
const anthropicModels = (models: ReadonlyArray<string>, url: string) => {
  const asked = Number(new URL(url, "http://sim.invalid").searchParams.get("limit") ?? 20)
  const data = models
    .slice(0, asked)
    .map((id) => ({ type: "model", id, display_name: id, created_at: "2023-11-14T22:13:20Z" }))
  const hasMore = models.length > data.length
  return HttpServerResponse.jsonUnsafe({ data, has_more: hasMore, first_id: data[0]?.id, last_id: data.at(-1)?.id })
}

const decodeUri = Option.liftThrowable(decodeURIComponent)

const decodePath = (text: string): string => Option.getOrElse(decodeUri(text), () => text)
