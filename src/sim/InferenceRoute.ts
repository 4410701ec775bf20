/** What every inference endpoint does before and around its own work: read, play faults, refuse. */
import { Effect } from "effect"
import type { HttpServerRequest, HttpServerResponse } from "effect/http"
import { HttpRouter } from "effect/http"
import { Exchange } from "./Exchange.ts"
import type { RequestFault } from "./Faults.ts"
import type { Instance } from "./Instance.ts"
import { Refusal, refusalResponse } from "./Refusal.ts"
import { type Received, receive } from "./RequestBody.ts"
import { insteadOfAnswer } from "./WireFaults.ts"

/** An endpoint's own work; a fault that is not played instead of it, it plays itself. */
export type Work<R> = (
  received: Received,
  fault: RequestFault | undefined,
  exchange: Exchange["Service"]
) => Effect.Effect<HttpServerResponse.HttpServerResponse, Refusal, R>

/** A route that answers `POST path`. */
export const attended = <R>(instance: Instance, path: `/${string}`, work: Work<R>) =>
  HttpRouter.route("POST", path, handle(instance, work))

const handle = <R>(
  instance: Instance,
  work: Work<R>
): Effect.Effect<HttpServerResponse.HttpServerResponse, never, R | Exchange | HttpServerRequest.HttpServerRequest> =>
  Effect.gen(function* () {
    const exchange = yield* Exchange
    const answer = Effect.gen(function* () {
      const received = yield* receive(exchange)
      const fault = yield* instance.faults.pick({ path: exchange.path, phase: "body", stream: received.stream })
      if (fault !== undefined) exchange.entry.meet(fault.kind)
      const instead = insteadOfAnswer(instance, exchange, fault)
      if (instead !== undefined) return yield* instead
      if (instance.settings.failRate > 0 && instance.random() < instance.settings.failRate) return yield* randomFailure
      return yield* work(received, fault, exchange)
    })
    return yield* Effect.catchTag(answer, "Refusal", (refusal) =>
      Effect.succeed(refusalResponse(refusal, exchange.path))
    )
  })

const randomFailure = new Refusal({ status: 500, code: "internal_error", message: "simulated failure (failRate)" })
