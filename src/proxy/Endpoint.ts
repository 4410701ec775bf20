/** The paths that are routed by model, and how each of them speaks. Everything else is passed through by path. */

/**
 * How a stream of this endpoint looks, and with it how its end is told from a cut. `ollama` is lines of JSON
 * (`application/x-ndjson`), all others are Server-Sent Events; of `none` nothing but that is known.
 */
export type Dialect = "chat" | "responses" | "messages" | "ollama" | "none"

export interface Endpoint {
  /** The path itself: a label for metrics. */
  readonly route: string
  readonly dialect: Dialect
}

const endpoint = (route: string, dialect: Dialect): readonly [string, Endpoint] => [route, { route, dialect }]

const endpoints: ReadonlyMap<string, Endpoint> = new Map([
  endpoint("/v1/chat/completions", "chat"),
  endpoint("/v1/completions", "chat"),
  endpoint("/v1/responses", "responses"),
  endpoint("/v1/messages", "messages"),
  endpoint("/v1/embeddings", "none"),
  endpoint("/v1/rerank", "none"),
  endpoint("/v1/score", "none"),
  endpoint("/tokenize", "none"),
  endpoint("/detokenize", "none")
])

/** The endpoint at a path (without its query); `undefined` for what is passed through. */
export const endpointAt = (path: string): Endpoint | undefined => endpoints.get(path)

/** All of them, for whoever answers what else is asked at their paths. */
export const endpointRoutes: ReadonlySet<string> = new Set(endpoints.keys())
