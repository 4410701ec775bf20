/**
 * Failures of one request of which it is not known yet whose fault they are. A backend that fails where another one
 * answers is at fault; a request on which several fail alike is at fault itself, and so may be one that only a single
 * backend could be asked for: then none of them counts (reliability: blame).
 */
import type { BackendState, Fault } from "../registry/Registry.ts"

/** One attempt that failed, and that is told later what its failure says of its backend. */
export interface Unresolved {
  readonly backend: BackendState
  /** Failures with equal text are alike: the status of an answer, or that the connection broke off. */
  readonly likeness: string
  /** To be called once. */
  readonly resolve: (fault: Fault) => void
}

/** Mutable by nature: one for each request. */
export class UnresolvedFailures {
  #pending: ReadonlyArray<Unresolved> = []
  /** A failure that counts in any case, and that the others are therefore not alike with. */
  #hasOther = false

  add(failure: Unresolved): void {
    this.#pending = [...this.#pending, failure]
  }

  /** A backend failed the request in another way, which counts at once. */
  addOther(): void {
    this.#hasOther = true
  }

  /** Another backend answered the same request well. */
  answeredElsewhere(): void {
    this.#resolve("backend")
  }

  /** A backend found the request at fault. */
  refused(): void {
    this.#resolve("request")
  }

  /** The request is over without an outcome: the failures say nothing. */
  drop(): void {
    this.#resolve("none")
  }

  /** All that were asked failed. `couldAskOther`: another backend was eligible, and attempts or budget were used up. */
  allFailed(couldAskOther: boolean): void {
    const likenesses = new Set(this.#pending.map(({ likeness }) => likeness))
    const backends = new Set(this.#pending.map(({ backend }) => backend))
    if (this.#hasOther || (backends.size > 1 && likenesses.size > 1)) return this.#resolve("several")
    if (backends.size > 1) return this.#resolve("request")
    this.#resolve(couldAskOther ? "unasked" : "none")
  }

  #resolve(fault: Fault): void {
    if (this.#pending.length === 0) return
    const all = this.#pending
    this.#pending = []
    for (const { resolve } of all) resolve(fault)
  }
}
