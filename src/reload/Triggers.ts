/** What makes the gateway read its configuration again by itself: SIGHUP, and a change of one of the files. */
import { Effect, Layer, Queue } from "effect"
import { type Pace, watchFiles } from "./FileWatch.ts"
import { Reloader } from "./Reloader.ts"

const pace: Pace = { every: "500 millis", calm: "100 millis", absent: "2 seconds" }

/**
 * Hangups from now on: taken before anything is loaded, since without a taker the signal would end the process. However
 * often it comes while one reload is at work, one more will do.
 */
export const takeHangups = Effect.gen(function* () {
  const queue = yield* Queue.sliding<void>(1)
  const onSignal = () => Queue.offerUnsafe(queue, undefined)
  yield* Effect.acquireRelease(
    Effect.sync(() => process.on("SIGHUP", onSignal)),
    () => Effect.sync(() => process.off("SIGHUP", onSignal))
  )
  return queue
})

/** Reloads one after the other; what goes wrong is the reloader's to tell, and ends nothing. */
export const layerTriggers = (hangups: Queue.Dequeue<void>) =>
  Layer.effectDiscard(
    Effect.gen(function* () {
      const { files, looks, reload } = yield* Reloader
      yield* Effect.forkScoped(Effect.forever(Effect.andThen(Queue.take(hangups), Effect.ignore(reload("signal")))))
      yield* Effect.forkScoped(watchFiles({ files, looks }, pace, Effect.ignore(reload("file"))))
    })
  )
