/** The command line: one file a sub-command. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Cause, Effect, Exit, Layer, Runtime } from "effect"
import { CliError, Command } from "effect/cli"
import { ConfigLoader, HungFiles } from "../config/ConfigLoader.ts"
import { version } from "../domain/Version.ts"

/** Each is loaded when it is asked for: the simulator and the load harness are a tenth of all that there is to load. */
const loaders = {
  serve: async () => (await import("./Serve.ts")).serve,
  check: async () => (await import("./Check.ts")).check,
  schema: async () => (await import("./Schema.ts")).schema,
  sim: async () => (await import("./Sim.ts")).sim,
  demo: async () => (await import("./Demo.ts")).demo,
  bench: async () => (await import("./Bench.ts")).bench,
  "hash-key": async () => (await import("./HashKey.ts")).hashKey
}

const isCommand = (name: string | undefined): name is keyof typeof loaders =>
  name !== undefined && Object.hasOwn(loaders, name)

/** The sub-command that is named; all of them where none is, for help and for whoever mistypes. */
const subcommands = (name: string | undefined) =>
  Promise.all((isCommand(name) ? [loaders[name]] : Object.values(loaders)).map((load) => load()))

const weir = (name: string | undefined) =>
  Effect.map(
    Effect.promise(() => subcommands(name)),
    (commands) =>
      Command.make("weir").pipe(
        Command.withDescription("One OpenAI-compatible endpoint in front of many inference engines"),
        Command.withSubcommands(commands)
      )
  )

/** What the root itself understands; other options without a sub-command belong to `serve`. */
const rootOptions = new Set(["--help", "-h", "--version", "-v", "--completions", "--wizard"])

/** No sub-command means `serve`. */
const withCommand = (args: ReadonlyArray<string>): ReadonlyArray<string> => {
  const [first] = args
  return first === undefined || (first.startsWith("-") && !rootOptions.has(first)) ? ["serve", ...args] : args
}

/** Bad arguments end with 2, a graceful stop with 0, anything else that failed with 1. */
const exitStatus: Runtime.Teardown = (exit, onExit) => {
  if (Exit.isSuccess(exit) || Cause.hasInterruptsOnly(exit.cause)) return onExit(0)
  const error = Cause.squash(exit.cause)
  const isBadInvocation = CliError.isCliError(error) && error._tag === "ShowHelp" && error.errors.length > 0
  return isBadInvocation ? onExit(2) : Runtime.defaultTeardown(exit, onExit)
}

export const main = (given: ReadonlyArray<string>, environment: Readonly<Record<string, string | undefined>>): void => {
  const args = withCommand(given)
  Effect.flatMap(weir(args[0]), (command) => Command.runWith(command, { version })(args)).pipe(
    Effect.provide(
      ConfigLoader.layer(environment).pipe(Layer.provideMerge(HungFiles.layer), Layer.provideMerge(NodeServices.layer))
    ),
    NodeRuntime.runMain({ disableErrorReporting: true, teardown: exitStatus })
  )
}
