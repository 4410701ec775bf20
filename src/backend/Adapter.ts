/** What a kind of engine has of its own. One file in `adapters` for each; everything here has a default. */
import type { Backend } from "../domain/Backend.ts"
import type { HealthStatus, LoadReading, ModelInfo } from "../domain/Health.ts"

/** What an answer means for the request and for the backend (reliability: blame). */
export type Classification =
  | "answered"
  /** Most 4xx, 501 and 505: passed on, never retried, never counted. */
  | "request_fault"
  /** 401: about the gateway's own credential. Another backend is tried, this one is misconfigured. */
  | "refused_credential"
  /** 402, 403, 404, 408, 421, 425: may be this backend's own; another one that was not tried is asked. */
  | "refused"
  /** 429 and 503: another backend is tried, this one rests, its circuit does not move. */
  | "back_pressure"
  /** Other 5xx: another backend is tried, and it may count. */
  | "backend_fault"

export interface ProbeAnswer {
  readonly status: number
  /** Parsed where it is JSON, else text. */
  readonly body: unknown
}

export interface Adapter {
  /** Where `/v1` is at an address whose path (without its last slashes) is this, if no `pathPrefix` says otherwise. */
  readonly apiPath: (path: string) => string
  /** Where everything else is at such an address. */
  readonly rootPath: (path: string) => string
  /** What it needs in every request and the request may not have; header operations come after them. */
  readonly headers: ReadonlyArray<readonly [name: string, value: string]>
  /** The header in which it wants the token of `auth: bearer`, bare; `undefined`: `Authorization: Bearer`. */
  readonly keyHeader: string | undefined
  /** What `GET` shows whether the engine lives; a path as a client would ask for it. */
  readonly healthPath: string
  /** What such an answer says. */
  readonly health: (answer: ProbeAnswer) => HealthStatus
  /** Where its models are listed, as a client would ask for it; `undefined`: it lists none. */
  readonly modelsPath: string | undefined
  /** `undefined` where the answer is no list of models. */
  readonly models: (answer: ProbeAnswer) => ReadonlyArray<ModelInfo> | undefined
  /** Where it tells its load; `undefined`: it does not. */
  readonly loadPath: string | undefined
  readonly load: (answer: ProbeAnswer) => LoadReading | undefined
  readonly classify: (status: number) => Classification
}

/** How a kind is spoken to may depend on how one backend of it is configured. */
export type AdapterOf = (backend: Backend) => Adapter

/** An OpenAI-compatible server of which nothing more is known: its list of models shows that it lives. */
export const genericAdapter: Adapter = {
  apiPath: (path) => (path === "" ? "/v1" : path),
  rootPath: (path) => path.replace(/\/v1$/, ""),
  headers: [],
  keyHeader: undefined,
  healthPath: "/v1/models",
  health: ({ status }) => healthFromStatus(status),
  modelsPath: "/v1/models",
  models: ({ body }) => parseModelList(body),
  loadPath: undefined,
  load: () => undefined,
  classify: (status) => {
    if (status < 400) return "answered"
    if (status === 401) return "refused_credential"
    if (status === 429 || status === 503) return "back_pressure"
    if (refusals.has(status)) return "refused"
    return status < 500 || status === 501 || status === 505 ? "request_fault" : "backend_fault"
  }
}

/** Payment, permission, a model that is not there, and what another connection or another moment may mend. */
const refusals = new Set([402, 403, 404, 408, 421, 425])

/**
 * What a status says to a probe. A refusal of our credentials is a fault of the configuration; a path that is not
 * there is no fault at all: the engine answered.
 */
export const healthFromStatus = (status: number): HealthStatus => {
  if (status === 401 || status === 403) return "misconfigured"
  if (status === 429) return "rate_limited"
  return status < 500 ? "healthy" : "unhealthy"
}

export const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** `{ data: [{ id } | { name } | "id"] }` or a bare list. */
export const parseModelList = (body: unknown): ReadonlyArray<ModelInfo> | undefined => {
  const list = isRecord(body) ? (body["data"] ?? body["models"]) : body
  return Array.isArray(list) ? list.flatMap(parseModel) : undefined
}

const parseModel = (item: unknown): ReadonlyArray<ModelInfo> => {
  const entry = typeof item === "string" ? { id: item } : item
  if (!isRecord(entry)) return []
  const id = entry["id"] ?? entry["name"] ?? entry["model"]
  if (typeof id !== "string" || id === "") return []
  const maxModelLen = entry["max_model_len"]
  return [
    {
      id,
      created: createdOf(entry),
      ownedBy: typeof entry["owned_by"] === "string" ? entry["owned_by"] : "unknown",
      ...(typeof maxModelLen === "number" && { maxModelLen })
    }
  ]
}

/** Seconds since 1970: a number under OpenAI's name, a date under Anthropic's. */
const createdOf = ({ created, created_at: createdAt }: Record<string, unknown>): number => {
  if (typeof created === "number") return created
  const millis = typeof createdAt === "string" ? Date.parse(createdAt) : Number.NaN
  return Number.isFinite(millis) ? Math.floor(millis / 1000) : 0
}
