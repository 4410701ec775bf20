/** Which engine a simulated server passes for: the paths that it has, where it wants its key, what it cannot do without. */
import type { IncomingHttpHeaders } from "node:http"
import { Refusal } from "./Refusal.ts"

export const engineNames = ["vllm", "sglang", "llama-cpp", "ollama", "azure-openai", "anthropic"] as const
export type EngineName = (typeof engineNames)[number]

export interface EngineProfile {
  /** The path among this server's own that is meant; `undefined`: this engine has no such path. */
  readonly meant: (path: string, query: URLSearchParams) => string | undefined
  /** Which of these headers may hold the key; as `Bearer` in `authorization`, bare in the others. */
  readonly keyHeaders: ReadonlyArray<"authorization" | "api-key" | "x-api-key">
  /** What a request lacks that this engine insists on. */
  readonly lack: (headers: IncomingHttpHeaders) => Refusal | undefined
}

const nothing = () => undefined

const plain: EngineProfile = { meant: (path) => path, keyHeaders: ["authorization"], lack: nothing }

/** They have no such thing as the figures of a server under load. */
const without =
  (...hidden: ReadonlyArray<string>): EngineProfile["meant"] =>
  (path) =>
    hidden.includes(path) ? undefined : path

const azurePath: EngineProfile["meant"] = (path, query) => {
  const whole = /^\/openai(\/v1\/.+)$/.exec(path)?.[1]
  if (whole !== undefined) return whole
  if (!query.has("api-version")) return undefined
  if (path === "/openai/models") return "/v1/models"
  const inDeployment = /^\/openai\/deployments\/[^/]+(\/.+)$/.exec(path)?.[1]
  return inDeployment === undefined ? undefined : `/v1${inDeployment}`
}

const noVersion = new Refusal({
  status: 400,
  code: "invalid_request_error",
  message: "anthropic-version: header is required"
})

const profiles: Record<EngineName, EngineProfile> = {
  vllm: plain,
  sglang: { ...plain, meant: (path) => (path === "/health_generate" ? "/health" : path) },
  "llama-cpp": plain,
  ollama: { ...plain, meant: without("/health", "/metrics", "/llmhealth", "/slots") },
  "azure-openai": { ...plain, meant: azurePath, keyHeaders: ["api-key", "authorization"] },
  anthropic: {
    meant: without("/health", "/metrics", "/llmhealth", "/slots"),
    keyHeaders: ["x-api-key"],
    lack: (headers) => (headers["anthropic-version"] === undefined ? noVersion : undefined)
  }
}

export const profileOf = (engine: EngineName): EngineProfile => profiles[engine]
