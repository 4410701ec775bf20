import { Console, Effect } from "effect"
import { Command } from "effect/cli"
import { configJsonSchema } from "../config/ConfigLoader.ts"

/** `weir schema`: what a configuration may say, for editors. */
export const schema = Command.make("schema", {}, () =>
  Effect.suspend(() => Console.log(JSON.stringify(configJsonSchema(), null, 2)))
).pipe(
  Command.withDescription("Print the JSON Schema of the configuration, for editors"),
  Command.withExamples([
    {
      command: "weir schema > weir.schema.json",
      description: "Then let the configuration begin with: # yaml-language-server: $schema=./weir.schema.json"
    }
  ])
)
