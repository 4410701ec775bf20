import { Console, Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import { ConfigLoader, formatProblem, printYaml, redactConfig } from "../config/ConfigLoader.ts"
import { Failure } from "./Failure.ts"
import { config } from "./Options.ts"

/** `weir check`: validates a configuration and prints it normalised, with every secret as `<redacted>`. */
export const check = Command.make(
  "check",
  {
    config,
    json: Flag.Boolean("json").pipe(Flag.withDescription("Print JSON, problems too"), Flag.withDefault(false))
  },
  Effect.fnUntraced(function* (options) {
    const loader = yield* ConfigLoader
    const loaded = yield* loader
      .load({ ...(Option.isSome(options.config) && { file: options.config.value }) })
      .pipe(
        Effect.catch(({ problems, source }) =>
          Effect.andThen(
            options.json
              ? Console.log(JSON.stringify({ valid: false, source, problems }, null, 2))
              : Console.error(problems.map(formatProblem).join("\n")),
            Effect.fail(new Failure({ message: "invalid configuration" }))
          )
        )
      )
    yield* options.json
      ? Console.log(JSON.stringify(redactConfig(loaded.config), null, 2))
      : Console.log(printYaml(loaded.config).trimEnd())
  })
).pipe(Command.withDescription("Validate a configuration and print it normalised"))
