import { Effect } from "effect"
import { Command, Flag } from "effect/cli"
import { runDemo } from "../demo/Demo.ts"
import { fail } from "./Failure.ts"
import { port } from "./Options.ts"

/** `weir demo`: the whole thing on one machine, in one command. */
export const demo = Command.make(
  "demo",
  { port: port.pipe(Flag.withDescription("Port of the gateway (default 8000)"), Flag.withDefault(8000)) },
  ({ port }) => Effect.catchTag(runDemo(port), "CannotListen", ({ message }) => fail(message))
).pipe(Command.withDescription("Start three simulated engines and the gateway, and show a first answer"))
