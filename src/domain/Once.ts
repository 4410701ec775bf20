import { Effect } from "effect"

/**
 * The same effect, to be run once. Whatever keeps what is returned, a frame of its fiber among it, keeps nothing of the
 * effect from its beginning on: neither a request's body nor what was read of an answer.
 */
export const once = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> => {
  let kept: Effect.Effect<A, E, R> | undefined = effect
  return Effect.suspend(() => {
    const begun = kept ?? Effect.die(new Error("an effect that runs once was run again"))
    kept = undefined
    return begun
  })
}
