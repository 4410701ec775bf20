import { Console, Effect, Option, Stdio, Stream } from "effect"
import { Argument, Command } from "effect/cli"
import { digestOfSecret } from "../domain/ApiKey.ts"
import { fail } from "./Failure.ts"

/** `weir hash-key`: the form in which a key can stand in a configuration without being one. */
export const hashKey = Command.make(
  "hash-key",
  {
    key: Argument.String("key").pipe(
      Argument.withDescription("The key; without it, one line of stdin"),
      Argument.optional
    )
  },
  Effect.fnUntraced(function* ({ key }) {
    const secret = Option.isSome(key) ? key.value : yield* firstLine
    if (secret === "") return yield* fail("there is no key to hash")
    yield* Console.log(digestOfSecret(secret))
  })
).pipe(Command.withDescription("Print the SHA-256 form of an API key"))

/** Read from stdin, a key does not end up in the shell's history. */
const firstLine = Effect.gen(function* () {
  const { stdin } = yield* Stdio.Stdio
  const text = yield* Stream.mkString(Stream.decodeText(stdin))
  return text.split("\n")[0]?.trim() ?? ""
})
