/**
 * The endpoints of inference: the paths to which clients send prompts, with what each of them is called, how it speaks and
 * where it names its model. Every other path is known by nothing but its name.
 */
import { Option } from "effect"

/**
 * How a stream of an endpoint looks, and with it how its end is told from a cut. `ollama` is lines of JSON
 * (`application/x-ndjson`), all others are Server-Sent Events; of `none` nothing but that is known.
 */
export type Dialect = "chat" | "responses" | "messages" | "ollama" | "none"

export interface Endpoint {
  /** A label for metrics and traces: of a bounded set, without anything that a client chose. */
  readonly route: string
  readonly dialect: Dialect
  /** What is done there, in the words of OpenTelemetry's GenAI conventions. */
  readonly operation: string
  /**
   * A request that names no model gets the default model, and without one 400. Where this is false the model is optional:
   * engines with one model do not ask for it, so what names none goes by path.
   */
  readonly requiresModel: boolean
  /** Other methods than POST are refused; elsewhere they go by path. */
  readonly postOnly: boolean
  /** The members of the body that can name the model; they must agree. */
  readonly modelMembers: readonly ["model"] | readonly ["model", "name"]
  /** Whether an answer is a stream where the request does not say. */
  readonly streamsUnasked: boolean
}

const optional = (route: string, dialect: Dialect, operation: string): Endpoint => ({
  route,
  dialect,
  operation,
  requiresModel: false,
  postOnly: false,
  modelMembers: ["model"],
  streamsUnasked: false
})

const named = (...row: Parameters<typeof optional>): Endpoint => ({ ...optional(...row), requiresModel: true })

const main = (...row: Parameters<typeof optional>): Endpoint => ({ ...named(...row), postOnly: true })

/** The one table of all endpoints at fixed paths. */
const table: ReadonlyArray<Endpoint> = [
  main("/v1/chat/completions", "chat", "chat"),
  main("/v1/completions", "chat", "text_completion"),
  main("/v1/responses", "responses", "chat"),
  main("/v1/messages", "messages", "chat"),
  main("/v1/embeddings", "none", "embeddings"),
  main("/v1/rerank", "none", "rerank"),
  main("/v1/score", "none", "score"),
  main("/tokenize", "none", "tokenize"),
  main("/detokenize", "none", "detokenize"),

  // OpenAI
  optional("/v1/chat/completions/input_tokens", "none", "count_tokens"),
  optional("/v1/responses/input_tokens", "none", "count_tokens"),
  optional("/v1/responses/compact", "none", "compact"),
  optional("/v1/moderations", "none", "moderations"),
  optional("/v1/images/generations", "none", "generate_content"),
  optional("/v1/images/edits", "none", "generate_content"),
  optional("/v1/images/variations", "none", "generate_content"),
  { ...optional("/v1/audio/speech", "none", "generate_content"), streamsUnasked: true },
  optional("/v1/audio/transcriptions", "none", "transcribe"),
  optional("/v1/audio/translations", "none", "transcribe"),
  // A WebSocket, whose upgrade names the model.
  optional("/v1/realtime", "none", "chat"),

  // Anthropic
  named("/v1/messages/count_tokens", "none", "count_tokens"),

  // Ollama. Its first version had `name` in the place of `model`.
  { ...named("/api/chat", "ollama", "chat"), streamsUnasked: true },
  { ...named("/api/generate", "ollama", "text_completion"), streamsUnasked: true },
  named("/api/embed", "ollama", "embeddings"),
  named("/api/embeddings", "ollama", "embeddings"),
  { ...named("/api/show", "ollama", "show"), modelMembers: ["model", "name"] },

  // Cohere and Jina, as vLLM, SGLang, llama.cpp and text-embeddings-inference have them
  optional("/rerank", "none", "rerank"),
  optional("/v2/rerank", "none", "rerank"),
  optional("/reranking", "none", "rerank"),
  optional("/v1/reranking", "none", "rerank"),
  optional("/v2/embed", "none", "embeddings"),
  optional("/pooling", "none", "embeddings"),
  optional("/v1/pooling", "none", "embeddings"),
  optional("/classify", "none", "classify"),
  optional("/v1/classify", "none", "classify"),
  optional("/score", "none", "score"),

  // llama.cpp. Its /completions is its own /completion and not OpenAI's.
  optional("/completion", "none", "text_completion"),
  optional("/completions", "none", "text_completion"),
  optional("/infill", "none", "text_completion"),
  optional("/chat/completions", "chat", "chat"),
  optional("/chat/completions/input_tokens", "none", "count_tokens"),
  optional("/responses", "responses", "chat"),
  optional("/responses/input_tokens", "none", "count_tokens"),
  optional("/embedding", "none", "embeddings"),
  optional("/embeddings", "none", "embeddings"),
  optional("/apply-template", "none", "apply_template"),
  optional("/audio/transcriptions", "none", "transcribe"),

  // vLLM, SGLang and text-generation-inference
  optional("/v1/tokenize", "none", "tokenize"),
  optional("/v1/detokenize", "none", "detokenize"),
  optional("/generate", "none", "text_completion"),
  optional("/generate_stream", "none", "text_completion"),
  optional("/inference/v1/generate", "none", "text_completion"),
  optional("/encode", "none", "embeddings"),
  optional("/embed", "none", "embeddings"),
  optional("/invocations", "none", "chat")
]

const byPath: ReadonlyMap<string, Endpoint> = new Map(table.map((endpoint) => [endpoint.route, endpoint]))

/** The paths of the table. */
export const endpointPaths: ReadonlyArray<string> = table.map(({ route }) => route)

const ollamaLists = new Set(["/api/tags", "/api/ps"])

/** Whether errors are Ollama's at a path: where it is asked for inference, and where its models are listed. */
export const speaksOllama = (path: string): boolean => ollamaLists.has(path) || byPath.get(path)?.dialect === "ollama"

export { canonicalPath } from "../domain/PathSpelling.ts"

const deployments = "/openai/deployments/"

/** Azure's endpoints for one deployment, which is the model: by what follows the deployment's name. */
const ofDeployments: ReadonlyMap<string, Endpoint> = new Map(
  table
    .filter(({ route }) => route.startsWith("/v1/"))
    .map((endpoint) => {
      const rest = endpoint.route.slice("/v1".length)
      return [rest, { ...endpoint, route: `${deployments}{model}${rest}`, postOnly: false }]
    })
)

/** The endpoint at a path, which has no query and is canonical; `undefined` where there is none. */
export const endpointAt = (path: string): Endpoint | undefined => {
  const found = byPath.get(path)
  if (found !== undefined || !path.startsWith(deployments)) return found
  return ofDeployments.get(restOf(path))
}

const restOf = (path: string): string => {
  const end = path.indexOf("/", deployments.length)
  return end < 0 ? "" : path.slice(end)
}

/** The deployment that a path of Azure's API names, decoded; `undefined` where it names none. */
export const deploymentIn = (path: string): string | undefined => {
  if (!path.startsWith(deployments)) return undefined
  const segment = path.slice(deployments.length, path.length - restOf(path).length)
  return segment === "" || restOf(path) === "" ? undefined : Option.getOrUndefined(decodeSegment(segment))
}

/** The same path for another deployment. */
export const withDeployment = (path: string, model: string): string =>
  deployments + encodeURIComponent(model) + restOf(path)

/** What is no valid UTF-8 names no model. */
const decodeSegment = Option.liftThrowable(decodeURIComponent)
