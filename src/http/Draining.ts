/**
 * How the gateway stops. From the first moment `/readyz` says so; what is under way goes on to its end, for as long as
 * the grace lasts; connections are told to close after their answer, and what comes on new ones is refused.
 */

import type { Socket } from "node:net"
import type { Duration } from "effect"
import { Clock, Context, Effect, Layer, Schedule } from "effect"
import { monotonicMillis } from "../domain/Time.ts"

export class Draining extends Context.Service<
  Draining,
  {
    readonly isDraining: () => boolean
    /** Whether this connection was opened after the end had begun. */
    readonly isLate: (socket: Socket) => boolean
    readonly opened: (socket: Socket) => void
    /** A request is under way; the answer ends it. */
    readonly begin: () => () => void
    readonly active: () => number
    /** Begins the end, and returns when nothing is under way any more, or after `grace`. */
    readonly drain: (grace: Duration.Duration) => Effect.Effect<void>
  }
>()("weir/http/Draining") {
  static readonly layer = Layer.effect(
    Draining,
    Effect.gen(function* () {
      const clock = yield* Clock.Clock
      const openedAt = new WeakMap<Socket, number>()
      let drainingSince = Number.POSITIVE_INFINITY
      let active = 0

      const idle = Effect.sync(() => active === 0).pipe(
        Effect.repeat({ schedule: Schedule.spaced("20 millis"), until: (done) => done })
      )
      return Draining.of({
        isDraining: () => drainingSince !== Number.POSITIVE_INFINITY,
        isLate: (socket) => (openedAt.get(socket) ?? 0) > drainingSince,
        opened: (socket) => {
          openedAt.set(socket, monotonicMillis(clock))
        },
        begin: () => {
          active++
          let under = true
          return () => {
            if (under) active--
            under = false
          }
        },
        active: () => active,
        drain: (grace) =>
          Effect.sync(() => {
            drainingSince = monotonicMillis(clock)
          }).pipe(
            Effect.andThen(Effect.logInfo("stopping", { requestsUnderWay: active })),
            Effect.andThen(Effect.timeoutOption(idle, grace)),
            Effect.asVoid
          )
      })
    })
  )
}
