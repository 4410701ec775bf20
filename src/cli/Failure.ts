/** A sub-command that could not do its work: one clear message on stderr, and the exit status. */
import { Console, Effect, Runtime, Schema } from "effect"

export class Failure extends Schema.TaggedError<Failure>()("Failure", {
  message: Schema.String,
  status: Schema.Int.pipe(Schema.withConstructorDefault(Effect.succeed(1)))
}) {
  override readonly [Runtime.errorExitCode] = this.status
}

/** Says what went wrong, and fails with it. */
export const fail = (message: string) => Effect.andThen(Console.error(message), Effect.fail(new Failure({ message })))
