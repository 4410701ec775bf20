/**
 * Whether a backend can be given work: one state machine, fed by the probes and by the traffic. A missed probe alone
 * does not kill a backend that is delivering; an unhealthy one comes back by itself at the first good probes.
 */
import { type HealthStatus, type Standing, standingOf } from "../domain/Health.ts"

export interface Thresholds {
  /** Failures in a row, of probes or of traffic, after which a backend is unhealthy. */
  readonly unhealthyAfter: number
  /** Good probes in a row after which it is healthy again. */
  readonly healthyAfter: number
}

/** Mutable by nature. Times are monotonic milliseconds. */
export class HealthMachine {
  /** The newest sign of life in traffic: a response head, or a piece of a body. */
  lastDelivery = Number.NEGATIVE_INFINITY
  lastGoodProbe = Number.NEGATIVE_INFINITY
  #status: HealthStatus = "unknown"
  #standing: Standing = "first"
  #goodInARow = 0
  #badInARow = 0
  #brokenInARow = 0
  #onSuspicion: () => void = () => {}

  get status(): HealthStatus {
    return this.#status
  }

  get standing(): Standing {
    return this.#standing
  }

  /** Who wants to know at once that traffic has made the backend unhealthy: the prober, to look for itself. */
  onSuspicion(listener: () => void): void {
    this.#onSuspicion = listener
  }

  /** What a probe found; `unhealthy` where it was not answered. `grace`: how old a delivery may be to count as life. */
  probed(found: HealthStatus, thresholds: Thresholds, grace: number, now: number): void {
    if (found === "healthy" || found === "busy") return this.#good(found, thresholds, now)
    this.#goodInARow = 0
    if (found !== "unhealthy") {
      this.#badInARow = 0
      return this.#become(found)
    }
    this.#badInARow++
    // It has no time for probes, but it delivers: busy is not dead.
    if (now - this.lastDelivery <= grace) return this.#become("busy")
    const neverSeen = this.#status === "unknown" && this.lastDelivery === Number.NEGATIVE_INFINITY
    if (neverSeen || this.#badInARow >= thresholds.unhealthyAfter) this.#become("unhealthy")
  }

  /** Traffic got something from the backend. */
  delivered(now: number): void {
    this.lastDelivery = now
    this.#brokenInARow = 0
  }

  /** The transport failed under traffic: nothing was there, or the connection broke. */
  broke({ unhealthyAfter }: Thresholds): void {
    this.#brokenInARow++
    if (this.#brokenInARow < unhealthyAfter || this.#standing === "out") return
    this.#goodInARow = 0
    this.lastDelivery = Number.NEGATIVE_INFINITY
    this.#become("unhealthy")
    this.#onSuspicion()
  }

  /** Busy is not dead. */
  #good(found: "healthy" | "busy", { healthyAfter }: Thresholds, now: number): void {
    this.lastGoodProbe = now
    this.#badInARow = 0
    this.#goodInARow++
    if (this.#status === "unhealthy" && this.#goodInARow < healthyAfter) return
    this.#brokenInARow = 0
    this.#become(found)
  }

  #become(status: HealthStatus): void {
    this.#status = status
    this.#standing = standingOf(status)
  }
}
