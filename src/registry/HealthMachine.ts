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

/** A change of what a backend is taken for, and why, in words for a person. */
export interface HealthChange {
  readonly from: HealthStatus
  readonly to: HealthStatus
  readonly reason: string
}

/** Milliseconds between two requests that try a credential which was refused. */
const credentialTrialMillis = 60_000

/** Models with which a credential was accepted that are remembered; their names may be a client's. */
const maxAcceptedModels = 256

/** Mutable by nature. Times are monotonic milliseconds. */
export class HealthMachine {
  /** The newest sign of life in traffic: a response head, or a piece of a body. */
  lastDelivery = Number.NEGATIVE_INFINITY
  lastGoodProbe = Number.NEGATIVE_INFINITY
  /** What probes and broken connections say. */
  #found: HealthStatus = "unknown"
  /** What it is taken for: misconfigured too where it refuses the credential of requests. */
  #status: HealthStatus = "unknown"
  #standing: Standing = "first"
  /** When the refused credential may be tried again; `Infinity` while it is not refused. */
  #credentialTrialAt = Number.POSITIVE_INFINITY
  /** Models that requests with the credential were answered for since it was last refused or changed. */
  readonly #acceptedFor = new Set<string>()
  #lastAcceptedFor: string | undefined
  #goodInARow = 0
  #badInARow = 0
  #brokenInARow = 0
  #onSuspicion: () => void = () => {}
  #onChange: (change: HealthChange) => void = () => {}

  get status(): HealthStatus {
    return this.#status
  }

  get standing(): Standing {
    return this.#standing
  }

  /** The same, but a refused credential may be tried by one request a minute. */
  standingAt(now: number): Standing {
    return now >= this.#credentialTrialAt && this.#status === "misconfigured" ? "first" : this.#standing
  }

  /** What is told of each change of the status. */
  onChange(listener: (change: HealthChange) => void): void {
    this.#onChange = listener
  }

  /** What wants to know at once that traffic has found something wrong: the prober, to look for itself. */
  onSuspicion(listener: () => void): void {
    this.#onSuspicion = listener
  }

  /** Traffic has found that what is known of the backend is not true any more. */
  lookAgain(): void {
    this.#onSuspicion()
  }

  /**
   * What a probe found; `unhealthy` where it was not answered. `grace`: how old a delivery may be to count as life.
   * `reason`: what the probe saw, for a person.
   */
  probed(found: HealthStatus, thresholds: Thresholds, grace: number, now: number, reason = "a probe"): void {
    if (found === "healthy" || found === "busy") return this.#good(found, thresholds, now, reason)
    this.#goodInARow = 0
    if (found !== "unhealthy") {
      this.#badInARow = 0
      return this.#become(found, reason)
    }
    this.#badInARow++
    // It has no time for probes, but it delivers: busy is not dead. One that is out comes back by good probes alone.
    if (this.#found !== "unhealthy" && now - this.lastDelivery <= grace) {
      return this.#become("busy", `${reason}, but it delivers`)
    }
    const neverSeen = this.#found === "unknown" && this.lastDelivery === Number.NEGATIVE_INFINITY
    if (neverSeen || this.#badInARow >= thresholds.unhealthyAfter) {
      this.#become("unhealthy", `${reason} (${this.#badInARow} in a row)`)
    }
  }

  /**
   * It refuses the credential that the gateway has for it, which no probe that it answers without one can disprove.
   * `false`: only for this model, as far as is known, since it has answered for others and never for this one.
   */
  refusedCredential(model: string, now: number): boolean {
    if (this.#acceptedFor.size > 0 && !this.#acceptedFor.has(model)) return false
    this.#forgetAccepted()
    this.#credentialTrialAt = now + credentialTrialMillis
    this.#show("it refuses the configured credential of a request (401)")
    return true
  }

  /** A request tries the credential again: the next one may in a minute. */
  credentialTried(now: number): void {
    if (now >= this.#credentialTrialAt) this.#credentialTrialAt = now + credentialTrialMillis
  }

  /** A request with the credential was answered. */
  acceptedCredential(model: string): void {
    if (model !== this.#lastAcceptedFor) this.#rememberAccepted(model)
    if (this.#credentialTrialAt === Number.POSITIVE_INFINITY) return
    this.#credentialTrialAt = Number.POSITIVE_INFINITY
    this.#show("it accepts the configured credential")
  }

  /** Its configuration has changed: the credential may be another one now. */
  reconfigured(): void {
    this.#forgetAccepted()
    if (this.#credentialTrialAt === Number.POSITIVE_INFINITY) return
    this.#credentialTrialAt = Number.POSITIVE_INFINITY
    this.#show("its configuration has changed")
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
    this.#become("unhealthy", `connections for requests break (${this.#brokenInARow} in a row)`)
    this.#onSuspicion()
  }

  #rememberAccepted(model: string): void {
    this.#lastAcceptedFor = model
    if (this.#acceptedFor.size < maxAcceptedModels) this.#acceptedFor.add(model)
  }

  #forgetAccepted(): void {
    this.#lastAcceptedFor = undefined
    this.#acceptedFor.clear()
  }

  /** Busy is not dead. */
  #good(found: "healthy" | "busy", { healthyAfter }: Thresholds, now: number, reason: string): void {
    this.lastGoodProbe = now
    this.#badInARow = 0
    this.#goodInARow++
    if (this.#found === "unhealthy" && this.#goodInARow < healthyAfter) return
    this.#brokenInARow = 0
    this.#become(found, reason)
  }

  #become(status: HealthStatus, reason: string): void {
    this.#found = status
    this.#show(reason)
  }

  /** A backend that is gone is unhealthy, whatever it said of a credential before. */
  #show(reason: string): void {
    const isRefused = this.#credentialTrialAt !== Number.POSITIVE_INFINITY && this.#found !== "unhealthy"
    const from = this.#status
    const to = isRefused ? "misconfigured" : this.#found
    if (from === to) return
    this.#status = to
    this.#standing = standingOf(to)
    this.#onChange({ from, to, reason })
  }
}
