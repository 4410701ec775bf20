/**
 * A request that has no fiber: what nearly every request does (a free place, a free backend, a success) waits for nothing
 * but the socket, and is done in its callbacks. Where something has to be waited for or goes wrong before anything is
 * committed, a fiber goes on from there, with what was done so far as its beginning.
 */
import { Effect, Result } from "effect"
import type { GatewayError } from "../domain/Errors.ts"
import { once } from "../domain/Once.ts"
import type { Cancel, ExchangeFailed, UpstreamResponse } from "../transport/UpstreamTransport.ts"
import { AnswerReading, isAnswer } from "./AnswerReading.ts"
import type { Attempt } from "./Attempt.ts"
import type { Attempting, Attempts } from "./Attempts.ts"
import type { ProxyResponse } from "./Relay.ts"
import type { RequestState } from "./RequestState.ts"
import type { UpstreamAnswer } from "./UpstreamAnswer.ts"

/** What a request without a fiber is told: that it began, then one of the others, and nothing after its release. */
export interface FastClient {
  /**
   * `release` gives back what the request holds: to be called when its answer was sent, or its client has left. Calling it
   * again is harmless.
   */
  readonly began: (release: () => void) => void
  /** What to send. */
  readonly answered: (answer: ProxyResponse) => void
  /** The rest is for a fiber, which gives back what the request holds in its end. */
  readonly continued: (rest: Continuation) => void
  /** What none of this expects was thrown, in a callback that nothing else watches. */
  readonly died: (defect: unknown) => void
}

/** The rest of a request; `use` sends the answer. */
export type Continuation = <A, E>(
  use: (answer: ProxyResponse) => Effect.Effect<A, E>
) => Effect.Effect<A, E | GatewayError>

/** What a fiber and a request without one do in common. */
export interface FastParts {
  readonly attempts: Attempts
  /** From what comes of the attempts to the answer, and what follows where another model is to be asked. */
  readonly answer: (
    state: RequestState,
    answered: Effect.Effect<UpstreamAnswer, GatewayError>
  ) => Effect.Effect<ProxyResponse, GatewayError>
  /** `undefined`: another model is to be asked. */
  readonly commit: (state: RequestState, answered: UpstreamAnswer) => ProxyResponse | undefined
  /** Runs a request to its end, and gives back what it holds. */
  readonly serve: (state: RequestState, answer: Effect.Effect<ProxyResponse, GatewayError>) => Continuation
}

/** Mutable by nature: written by the callbacks of its one request. */
export class FastRequest {
  readonly #parts: FastParts
  readonly #state: RequestState
  readonly #client: FastClient
  /** Until there is a head. */
  #cancel: Cancel | undefined
  #reading: AnswerReading | undefined
  /** It was told what it is told, or is not wanted any more. */
  #isOver = false

  constructor(parts: FastParts, state: RequestState, client: FastClient) {
    this.#parts = parts
    this.#state = state
    this.#client = client
  }

  start(): void {
    const { attempts } = this.#parts
    const state = this.#state
    const { model, trace } = state.plan
    const attempt = model === undefined || trace !== undefined ? undefined : attempts.tryFirst(state)
    if (attempt === undefined) return this.#continue(attempts.all(state))
    const cancel = attempts.direct.open(state, attempt, (head) => this.#guarded(() => this.#onHead(attempt, head)))
    if (cancel === undefined) this.#goOn(attempts.direct.send(state, attempt))
    else if (attempt.headAt === 0) this.#cancel = cancel
  }

  /** Everything is given back, and nothing more is told. Calling it again is harmless. */
  readonly release = (): void => {
    this.#isOver = true
    this.#cancel?.()
    this.#reading?.beginning.response.direct?.letGo()
    this.#state.release()
  }

  #onHead(attempt: Attempt, head: Result.Result<UpstreamResponse, ExchangeFailed>): void {
    this.#cancel = undefined
    if (this.#isOver) return
    const { direct } = this.#parts.attempts
    const state = this.#state
    if (Result.isFailure(head)) return this.#goOn(direct.failed(state, attempt, head.failure))
    const response = head.success
    attempt.arrive(response)
    if (!direct.isPlain(attempt, response)) return this.#goOn(direct.classified(state, attempt, response))
    this.#reading = new AnswerReading(state.plan, attempt, response)
    this.#read(this.#reading)
  }

  #read(reading: AnswerReading): void {
    const { attempt, response } = reading.beginning
    while (reading.result === undefined) {
      const read = response.direct?.take(this.#onMore)
      if (read === undefined) return
      reading.push(read)
    }
    const { direct } = this.#parts.attempts
    const state = this.#state
    if (!isAnswer(reading.result)) return this.#goOn(direct.worthless(state, attempt, reading.result))
    direct.recordAnswer(state, attempt)
    const answered = reading.result
    this.#reading = undefined
    const answer = this.#parts.commit(state, answered)
    if (answer === undefined) return this.#continue(Effect.succeed(answered))
    this.#isOver = true
    this.#client.answered(answer)
  }

  readonly #onMore = (): void => {
    const reading = this.#reading
    if (reading !== undefined && !this.#isOver) this.#guarded(() => this.#read(reading))
  }

  /** What came of the first attempt is for a fiber to judge, and to mend. */
  #goOn(first: Attempting): void {
    this.#continue(this.#parts.attempts.from(this.#state, first))
  }

  #continue(answered: Effect.Effect<UpstreamAnswer, GatewayError>): void {
    this.#isOver = true
    this.#reading = undefined
    const { answer, serve } = this.#parts
    this.#client.continued(serve(this.#state, once(answer(this.#state, answered))))
  }

  #guarded(run: () => void): void {
    try {
      run()
    } catch (defect) {
      this.#isOver = true
      this.#client.died(defect)
    }
  }
}
