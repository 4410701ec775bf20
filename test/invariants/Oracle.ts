/**
 * Watches a gateway while it works, and works out by itself what it may do: which backends are eligible, were asked,
 * and are to blame.
 */

import { Result } from "effect"
import type { Backend } from "../../src/domain/Backend.ts"
import type { BackendState, Member } from "../../src/registry/Registry.ts"
import type { Candidates } from "../../src/routing/Router.ts"
import { Lease } from "../../src/scheduler/Scheduler.ts"
import type { Harness } from "../proxy/Harness.ts"
import type { Exchange } from "../proxy/ScriptedTransport.ts"

/** The model of all requests of a run where they are to wait in one line. */
export const sharedModel = "m"

/** What the oracle holds of one request. */
export class Trail {
  candidates: Candidates | undefined
  /** The backends that were chosen for it, in order. */
  readonly chosen: Array<string> = []
  readonly exchanges: Array<Exchange> = []
  /** What the backend had said when the client got something of its answer; `undefined`: it has got nothing. */
  saidAtCommit: string | undefined
  /** Retries that were allowed when it came. */
  retries = 0
}

export class Oracle {
  /** The promises that were broken. */
  readonly broken: Array<string> = []
  readonly #gateway: Harness
  readonly #trails = new Map<string, Trail>()
  /** The request that is arriving now. */
  #arriving = new Trail()
  /** Only of requests that share their model, and so their candidates, with no other. */
  readonly #byCandidates = new WeakMap<Candidates, Trail>()
  readonly #states = new Set<BackendState>()
  readonly #rests = new Map<BackendState, number>()
  /** A configuration that is changed may know another backend by the same name. */
  readonly #stateOf = new WeakMap<Backend, BackendState>()
  readonly #trials = new Map<BackendState, number>()
  #begun = 0
  #ended = 0
  /** Words that count against a backend. */
  readonly blamed = new Map<string, number>()
  /** Words that count for it. */
  readonly praised = new Map<string, number>()
  readonly brokenOff = new Map<string, number>()

  readonly #hedges: boolean

  /** `hedges`: a second attempt may run beside the first, and a choice for it may be given back unused. */
  constructor(gateway: Harness, hedges: boolean) {
    this.#gateway = gateway
    this.#hedges = hedges
    this.#watchChoices()
    this.#watchWords()
  }

  get #now(): number {
    return this.#gateway.now()
  }

  /** To be called right before a request comes. */
  arriving(id: string): Trail {
    this.#arriving = new Trail()
    this.#trails.set(id, this.#arriving)
    return this.#arriving
  }

  expect(isTrue: boolean, otherwise: () => string): void {
    if (!isTrue) this.broken.push(`at ${this.#now.toFixed(2)} ms: ${otherwise()}`)
  }

  /** Whether a request could be given to a member at this moment; worked out from the state alone. */
  #eligible({ backend: { capacity, config, state } }: Member): boolean {
    const { circuit, health, inflight, retryAfterUntil } = state
    const isOut = health.standingAt(this.#now) === "out"
    const tryable = circuit.phase === "closed" || (this.#now >= circuit.openUntil && !circuit.trialRunning)
    return config.enabled && !isOut && this.#now >= retryAfterUntil && tryable && inflight < capacity
  }

  eligible(candidates: Candidates): ReadonlyArray<string> {
    return candidates.all.filter((member) => this.#eligible(member)).map(({ backend }) => backend.name)
  }

  #watchChoices(): void {
    const { router, scheduler } = this.#gateway.services
    const { pick, pickLastResort } = scheduler
    const { route } = router
    spy(scheduler, "pickLastResort", (request, now) => {
      const lease = pickLastResort(request, now)
      if (lease === undefined) return undefined
      const { config, name, state } = lease.member.backend
      this.#stateOf.set(config, state)
      this.#states.add(state)
      this.expect(state.lastResorts <= 3, () => `${name} has ${state.lastResorts} requests of last resort at once`)
      this.expect(state.inflight <= lease.member.backend.capacity, () => `${name} has more than it can take`)
      this.#byCandidates.get(request.candidates)?.chosen.push(name)
      return lease
    })
    spy(router, "route", (request) => {
      const routed = route(request)
      if (Result.isSuccess(routed)) {
        const { candidates, pool } = routed.success
        const trail = this.#arriving
        trail.candidates = candidates
        trail.retries = pool.config.retry.attempts
        if (request.model !== sharedModel && request.model !== undefined) this.#byCandidates.set(candidates, trail)
      }
      return routed
    })
    spy(scheduler, "pick", (request, now) => {
      const eligible = this.eligible(request.candidates)
      const picked = pick(request, now)
      if (!(picked instanceof Lease)) {
        const left = request.candidates.all.filter(({ backend }) => !request.tried.includes(backend.state))
        const free = left.filter(({ backend }) => eligible.includes(backend.name))
        this.expect(free.length === 0, () => `nobody was chosen though ${free[0]?.backend.name} could be`)
        return picked
      }
      const { config, name, state } = picked.member.backend
      this.#stateOf.set(config, state)
      this.#states.add(state)
      const rest = (this.#rests.get(state) ?? 0) - now
      this.expect(rest <= 0, () => `${name} was chosen ${rest} ms before it wanted to be`)
      this.expect(eligible.includes(name), () => `${name} was chosen though it must not be`)
      this.expect(state.inflight <= picked.member.backend.capacity, () => `${name} has more than it can take`)
      this.#noteChoice(this.#byCandidates.get(request.candidates), name, eligible)
      return picked
    })
  }

  #noteChoice(trail: Trail | undefined, name: string, eligible: ReadonlyArray<string>): void {
    if (trail === undefined || this.#hedges) return
    const { chosen } = trail
    if (chosen.includes(name)) {
      const fresh = eligible.filter((each) => !chosen.includes(each))
      this.expect(fresh.length === 0, () => `${name} was asked again though ${fresh.join()} had not been asked`)
      const others = eligible.filter((each) => each !== name)
      const again = chosen.at(-1) === name && others.length > 0
      this.expect(!again, () => `${name} was asked twice in a row though ${others.join()} was there`)
    }
    chosen.push(name)
  }

  /** Each call of a backend gets exactly one word on how it was; a half-open circuit has one trial at a time. */
  #watchWords(): void {
    const { breaker } = this.#gateway.services
    const { begin, brokeOff, end } = breaker
    spy(breaker, "begin", (backend, isLastResort) => {
      const role = begin(backend, isLastResort)
      this.#begun++
      if (role === "trial") {
        const trials = (this.#trials.get(backend.state) ?? 0) + 1
        this.#trials.set(backend.state, trials)
        this.expect(trials === 1, () => `${backend.name} has ${trials} trials at once`)
      }
      return role
    })
    spy(breaker, "end", (backend, role, result) => {
      this.#ended++
      if (role === "trial") this.#trials.set(backend.state, (this.#trials.get(backend.state) ?? 0) - 1)
      if (result === "failure" || result === "broken") count(this.blamed, backend.name)
      if (result === "success") count(this.praised, backend.name)
      end(backend, role, result)
    })
    spy(breaker, "brokeOff", (backend) => {
      count(this.brokenOff, backend.name)
      brokeOff(backend)
    })
  }

  /** To be called when a backend asks to be left alone for so many milliseconds. */
  rests({ request }: Exchange, millis: number): void {
    const state = this.#stateOf.get(request.backend)
    if (state !== undefined) this.#rests.set(state, Math.max(this.#now + millis, this.#rests.get(state) ?? 0))
  }

  /** To be called for every exchange as it begins. */
  sent(exchange: Exchange): void {
    const id = exchange.header("x-request-id") ?? ""
    const trail = this.#trails.get(id)
    if (trail === undefined) return this.expect(false, () => `nobody asked for ${id}`)
    const open = trail.exchanges.some(({ state }) => state === "open")
    this.expect(!open || this.#hedges, () => `${id} was sent again while its last exchange was open`)
    trail.exchanges.push(exchange)
    this.expect(trail.saidAtCommit === undefined, () => `${id} was sent again though its answer had begun`)
  }

  /** Everything that was taken was given back. */
  atRest(): void {
    const { admission, registry, transport, watched } = this.#gateway
    for (const { state } of registry.current().backends.values()) this.#states.add(state)
    for (const { circuit, inflight, lastResorts, name, unresolved } of this.#states) {
      this.expect(unresolved === 0, () => `${name} still has ${unresolved} failures that are not resolved`)
      this.expect(lastResorts === 0, () => `${name} still has ${lastResorts} requests of last resort`)
      this.expect(inflight === 0, () => `${name} still has ${inflight} in flight`)
      this.expect(!circuit.trialRunning, () => `${name} is still on trial`)
    }
    this.expect(admission.active("default") === 0, () => `${admission.active("default")} permits are still held`)
    this.expect(admission.depth("default") === 0, () => `${admission.depth("default")} still wait`)
    this.expect(watched.size === 0, () => `${watched.size} timers are still watched`)
    this.expect(this.#begun === this.#ended, () => `${this.#begun} calls, but ${this.#ended} words on them`)
    const open = transport.exchanges.filter(({ state }) => state === "open").length
    this.expect(open === 0, () => `${open} exchanges are still open`)
  }
}

/** Puts a method in the place of a service's own. Vitest's spies keep all that they ever saw. */
const spy = <A extends object, K extends keyof A>(service: A, name: K, method: A[K]): void => {
  Object.assign(service, { [name]: method })
}

const count = (counts: Map<string, number>, name: string): void => {
  counts.set(name, (counts.get(name) ?? 0) + 1)
}
