/**
 * All that is decided for a request before anything is taken for it: one immutable value, which a fallback replaces as a
 * whole. It lives as long as the request, so nothing in it keeps the request's body: that is the payload's, until it is
 * let go.
 */
import type { Dialect, Endpoint } from "../protocol/Endpoint.ts"
import type { PoolEntry } from "../registry/Registry.ts"
import type { Candidates, Route } from "../routing/Router.ts"
import type { SelectionHints } from "../scheduler/Scheduler.ts"
import type { UpstreamFailed } from "../transport/UpstreamTransport.ts"
import type { ProxyRequest } from "./ProxyRequest.ts"
import type { RequestTrace } from "./RequestTrace.ts"

export interface RequestPlan extends SelectionHints {
  readonly request: ProxyRequest
  readonly route: Route
  readonly pool: PoolEntry
  readonly candidates: Candidates
  /** As the client named it; `undefined` where it named none. */
  readonly namedModel: string | undefined
  /**
   * What backends are asked for. `undefined` for what goes by path, and for an upgrade or a path of unknown meaning:
   * what an engine says to these says nothing of how it serves a model.
   */
  readonly model: string | undefined
  /** `undefined` where the path is not known for what it does. */
  readonly endpoint: Endpoint | undefined
  readonly dialect: Dialect
  /** By path, to whatever is there: neither the request nor its answer is known to have any form. */
  readonly passedThrough: boolean
  readonly session: string | undefined
  readonly streaming: boolean
  /** How many choices were asked for. */
  readonly choices: number
  /** What the request will use of a token limit, roughly. */
  readonly tokenEstimate: number
  /** Monotonic milliseconds; `Infinity` without. */
  readonly deadline: number
  /** Where the request is traced. */
  readonly trace: RequestTrace | undefined
}

const idempotent = new Set(["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"])

/**
 * Whether it may be sent again after such a failure (`undefined`: after an answer). Inference may be asked for twice:
 * nothing but the answer comes of it. What is passed through by path may be more than that; then it is sent again only if
 * it never left, and never if its body is being streamed.
 */
export const isRepeatable = (
  { endpoint, request: { method, payload } }: RequestPlan,
  failure: UpstreamFailed | undefined
): boolean => {
  const { body } = payload
  if (body !== undefined && !(body instanceof Uint8Array)) return false
  return endpoint !== undefined || idempotent.has(method) || failure?.kind === "connect"
}
