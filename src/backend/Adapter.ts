/** What a kind of engine has of its own. One file in `adapters` for each; everything here has a default. */
import type { HealthStatus, LoadReading, ModelInfo } from "../domain/Health.ts"

/** What an answer means for the request and for the backend (reliability: blame). */
export type Verdict =
  | "answered"
  /** 4xx: passed on, never retried, never counted. */
  | "request_fault"
  /** 429 and 503: another backend is tried, this one rests, its circuit does not move. */
  | "back_pressure"
  /** Other 5xx: another backend is tried, and it counts. */
  | "backend_fault"

export interface ProbeAnswer {
  readonly status: number
  /** Parsed where it is JSON, else text. */
  readonly body: unknown
}

export interface Adapter {
  /** Where `GET` shows whether the engine lives: below its root, or `models`: its list of models shows it. */
  readonly healthPath: string
  /** What such an answer says. */
  readonly health: (answer: ProbeAnswer) => HealthStatus
  /** Where its models are listed, below the path that `/v1` is mapped to; `undefined`: it lists none. */
  readonly modelsPath: string | undefined
  /** `undefined` where the answer is no list of models. */
  readonly models: (answer: ProbeAnswer) => ReadonlyArray<ModelInfo> | undefined
  /** Where it tells its load, below its root; `undefined`: it does not. */
  readonly loadPath: string | undefined
  readonly load: (answer: ProbeAnswer) => LoadReading | undefined
  readonly classify: (status: number) => Verdict
}

/** The list of models itself is asked for, and shows whether the engine lives. */
export const modelsAreHealth = "models"

/** An OpenAI-compatible server of which nothing more is known. */
export const genericAdapter: Adapter = {
  healthPath: modelsAreHealth,
  health: ({ status }) => healthFromStatus(status),
  modelsPath: "/models",
  models: ({ body }) => parseModelList(body),
  loadPath: undefined,
  load: () => undefined,
  classify: (status) => {
    if (status < 400) return "answered"
    if (status === 429 || status === 503) return "back_pressure"
    return status < 500 ? "request_fault" : "backend_fault"
  }
}

/**
 * What a status says to a probe. A refusal of our credentials is a fault of the configuration; a path that is not
 * there is no fault at all: the engine answered.
 */
export const healthFromStatus = (status: number): HealthStatus => {
  if (status === 401 || status === 403) return "misconfigured"
  if (status === 429) return "rate_limited"
  return status < 500 ? "healthy" : "unhealthy"
}

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null

/** `{ data: [{ id } | { name } | "id"] }` or a bare list. */
export const parseModelList = (body: unknown): ReadonlyArray<ModelInfo> | undefined => {
  const list = isRecord(body) && !Array.isArray(body) ? (body["data"] ?? body["models"]) : body
  if (!Array.isArray(list)) return undefined
  return list.flatMap((item: unknown): ReadonlyArray<ModelInfo> => {
    const entry = typeof item === "string" ? { id: item } : item
    if (!isRecord(entry)) return []
    const id = entry["id"] ?? entry["name"] ?? entry["model"]
    if (typeof id !== "string" || id === "") return []
    const maxModelLen = entry["max_model_len"]
    return [
      {
        id,
        created: typeof entry["created"] === "number" ? entry["created"] : 0,
        ownedBy: typeof entry["owned_by"] === "string" ? entry["owned_by"] : "unknown",
        ...(typeof maxModelLen === "number" && { maxModelLen })
      }
    ]
  })
}

/** What follows a name: labels, which may hold anything within their quotes, then the value. */
const labelsAndValue = /^(?:\{(?:[^"}]|"(?:[^"\\]|\\.)*")*\})?[ \t]+([^\s#]+)/

/** The value of a name in Prometheus text, summed over its series. */
export const readPrometheus = (text: string, name: string): number | undefined => {
  let total: number | undefined
  for (const line of text.split("\n")) {
    if (!line.startsWith(name)) continue
    const value = Number(labelsAndValue.exec(line.slice(name.length))?.[1] ?? Number.NaN)
    if (Number.isFinite(value)) total = (total ?? 0) + value
  }
  return total
}

/** An engine's load from three of its metrics; `undefined` where none of them is there. */
export const loadFromPrometheus =
  (names: { readonly running: string; readonly waiting: string; readonly kvCacheUsage: string }): Adapter["load"] =>
  ({ body, status }) => {
    if (status !== 200 || typeof body !== "string") return undefined
    const running = readPrometheus(body, names.running)
    const waiting = readPrometheus(body, names.waiting)
    const kvCacheUsage = readPrometheus(body, names.kvCacheUsage)
    if (running === undefined && waiting === undefined) return undefined
    return { running: running ?? 0, waiting: waiting ?? 0, kvCacheUsage: Math.min(1, kvCacheUsage ?? 0) }
  }
