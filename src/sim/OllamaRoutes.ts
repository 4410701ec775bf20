/** What Ollama has beside OpenAI's API: its own lists of models. */
import { Effect } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import type { Instance } from "./Instance.ts"

/** None for a server that passes for another engine. */
export const ollamaRoutes = (instance: Instance) =>
  instance.settings.engine === "ollama"
    ? [
        HttpRouter.route("GET", "/", HttpServerResponse.text("Ollama is running")),
        HttpRouter.route("GET", "/api/version", HttpServerResponse.jsonUnsafe({ version: "0.0.0" })),
        HttpRouter.route(
          "GET",
          "/api/tags",
          Effect.sync(() => listed(instance.settings.models))
        ),
        // In memory is what a request has asked for.
        HttpRouter.route(
          "GET",
          "/api/ps",
          Effect.sync(() => {
            const used = new Set(instance.log.recent(Number.POSITIVE_INFINITY).map(({ model }) => model))
            return listed(instance.settings.models.filter((name) => used.has(name) || used.has(untagged(name))))
          })
        )
      ]
    : []

const listed = (names: ReadonlyArray<string>) =>
  HttpServerResponse.jsonUnsafe({
    models: names.map((name) => ({ name, model: name, size: 1_000_000_000, size_vram: 1_000_000_000 }))
  })

/** A tag may be left out where it is the latest. */
export const untagged = (name: string): string => name.replace(/:latest$/, "")
