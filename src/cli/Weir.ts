/** The command line: one file a sub-command. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Cause, Effect, Exit, Layer, Runtime } from "effect"
import { CliError, Command } from "effect/cli"
import { ConfigLoader, HungFiles } from "../config/ConfigLoader.ts"
import { version } from "../domain/Version.ts"
import { bench } from "./Bench.ts"
import { check } from "./Check.ts"
import { demo } from "./Demo.ts"
import { hashKey } from "./HashKey.ts"
import { schema } from "./Schema.ts"
import { serve } from "./Serve.ts"
import { sim } from "./Sim.ts"

const weir = Command.make("weir").pipe(
  Command.withDescription("One OpenAI-compatible endpoint in front of many inference engines"),
  Command.withSubcommands([serve, check, schema, sim, demo, bench, hashKey])
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

export const main = (args: ReadonlyArray<string>, environment: Readonly<Record<string, string | undefined>>): void =>
  Command.runWith(weir, { version })(withCommand(args)).pipe(
    Effect.provide(
      ConfigLoader.layer(environment).pipe(Layer.provideMerge(HungFiles.layer), Layer.provideMerge(NodeServices.layer))
    ),
    NodeRuntime.runMain({ disableErrorReporting: true, teardown: exitStatus })
  )
