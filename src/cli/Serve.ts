import { Effect, Layer, Option } from "effect"
import { Command, Flag } from "effect/cli"
import { ConfigLoader, formatProblem } from "../config/ConfigLoader.ts"
import { layerGateway } from "../Gateway.ts"
import { layerTriggers, takeHangups } from "../reload/Triggers.ts"
import { fail } from "./Failure.ts"
import { config, port } from "./Options.ts"

/** `weir serve`: runs the gateway until it is told to stop. */
export const serve = Command.make(
  "serve",
  {
    config,
    host: Flag.String("host").pipe(Flag.withDescription("Address of the first listener"), Flag.optional),
    port: port.pipe(Flag.withDescription("Port of the first listener"), Flag.optional),
    workers: Flag.Int("workers").pipe(Flag.withDescription("Processes that share the port"), Flag.optional),
    debug: Flag.Boolean("debug").pipe(Flag.withDescription("Log everything"), Flag.withDefault(false))
  },
  Effect.fnUntraced(function* (options) {
    const hangups = yield* takeHangups
    const loader = yield* ConfigLoader
    const load = loader.load({
      ...(Option.isSome(options.config) && { file: options.config.value }),
      overrides: {
        ...(Option.isSome(options.host) && { host: options.host.value }),
        ...(Option.isSome(options.port) && { port: options.port.value }),
        ...(Option.isSome(options.workers) && { workers: options.workers.value }),
        ...(options.debug && { logLevel: "debug" })
      }
    })
    const loaded = yield* Effect.catch(load, ({ problems }) => fail(problems.map(formatProblem).join("\n")))
    const gateway = layerGateway(loaded, load, (address) => Effect.logInfo("listening", address))
    return yield* Layer.launch(Layer.provide(layerTriggers(hangups), gateway)).pipe(
      Effect.catchTag("CannotListen", ({ message }) => fail(message))
    )
  }, Effect.scoped)
).pipe(Command.withDescription("Run the gateway (what happens without a sub-command)"))
