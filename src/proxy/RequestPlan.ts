/** What is to be done for a request, as its plan has it. */
import type { Outgoing } from "../backend/BackendAdapter.ts"
import type { Dialect } from "../protocol/Endpoint.ts"
import type { Lease } from "../scheduler/Scheduler.ts"
import type { UpstreamFailed } from "../transport/UpstreamTransport.ts"
import type { RequestState } from "./RequestState.ts"

/** What is to be sent, and how often that may be done. */
export interface RequestPlan {
  readonly state: RequestState
  /** As the client sent it, without the query. */
  readonly path: string
  /** What goes to the backend of a lease. */
  readonly outgoing: (lease: Lease) => Outgoing
  /** What backends are asked for; `undefined` for what is passed through. */
  readonly model: string | undefined
  readonly dialect: Dialect
  readonly choices: number
  /** By path, to whatever is there: neither the request nor its answer is known to have any form. */
  readonly passedThrough: boolean
  /** Whether a WebSocket is asked for: nothing but a 101 will do. */
  readonly upgrades: boolean
  /** Whether it may be sent again after such a failure (`undefined`: after an answer), and its body is still there. */
  readonly repeatable: (failure: UpstreamFailed | undefined) => boolean
  /** Whether somebody has another model that may be asked instead. */
  readonly hasFallback: () => boolean
  /** What the request waits for: requests of one group can take each other's place. */
  readonly group: string
  /** Lower first. */
  readonly priority: number
}
