/** A backend's state as people see it: what is configured, asked for and counted, over what its health machine says. */
import type { HealthStatus } from "../domain/Health.ts"
import type { Capacity } from "./Capacity.ts"
import type { BackendEntry } from "./Snapshot.ts"

export const statusOf = (backend: BackendEntry, capacity: Capacity["Service"], now: number): HealthStatus => {
  const { config, state } = backend
  if (!config.enabled) return "disabled"
  const { status } = state.health
  if (status !== "healthy") return status
  if (now < state.retryAfterUntil) return "rate_limited"
  if (state.circuit.phase !== "closed") return "degraded"
  return capacity.hasRoom(backend) ? "healthy" : "busy"
}
