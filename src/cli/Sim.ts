import { Console, Effect, Layer, Option } from "effect"
import { Command, Flag } from "effect/cli"
import { cannotListen } from "../domain/CannotListen.ts"
import { engineNames, Simulator } from "../sim/Simulator.ts"
import { fail } from "./Failure.ts"
import { duration, port } from "./Options.ts"

const described = <A>(flag: Flag.Flag<A>, text: string) => flag.pipe(Flag.withDescription(text), Flag.optional)

const flags = {
  engine: described(Flag.Literals("engine", engineNames), "The engine it passes for (default vllm)"),
  port: described(port, "Port to listen on (default: any free one)"),
  host: described(Flag.String("host"), "Address to listen on (default 127.0.0.1)"),
  name: described(Flag.String("name"), "How it calls itself"),
  models: Flag.String("model").pipe(Flag.withDescription("A model it serves; may be given again"), Flag.atLeast(0)),
  ttft: described(duration("ttft"), "Time to the first token of a short prompt (default 50ms)"),
  itl: described(duration("itl"), "Time between two tokens (default 10ms)"),
  prefill: described(duration("prefill"), "Further time to the first token per 1,000 uncached prompt tokens"),
  tokens: described(Flag.Int("tokens"), "Tokens of an answer (default 32)"),
  slots: described(Flag.Int("slots"), "Requests that run at once (default 8)"),
  slowdown: described(
    Flag.Finite("slowdown"),
    "How much longer each further running request makes the time between tokens"
  ),
  cacheTokens: described(Flag.Int("cache-tokens"), "What the prefix cache holds, in tokens"),
  contextTokens: described(Flag.Int("context-tokens"), "The longest prompt, in tokens"),
  failRate: described(Flag.Finite("fail-rate"), "Share of requests answered with 500 (0 to 1)"),
  seed: described(Flag.Int("seed"), "What everything random follows from"),
  apiKey: described(Flag.Redacted("api-key"), "The key it asks for")
}

/** `weir sim`: a simulated inference server, for trying things out and for tests. */
export const sim = Command.make(
  "sim",
  flags,
  Effect.fnUntraced(function* (given) {
    const announce = Layer.effectDiscard(
      Effect.flatMap(Simulator, ({ url }) => Console.log(`simulated engine listening on ${url}`))
    )
    const simulator = Simulator.layer({
      engine: Option.getOrUndefined(given.engine),
      host: Option.getOrUndefined(given.host),
      port: Option.getOrUndefined(given.port),
      name: Option.getOrUndefined(given.name),
      models: given.models,
      ttft: Option.getOrUndefined(given.ttft),
      itl: Option.getOrUndefined(given.itl),
      prefill: Option.getOrUndefined(given.prefill),
      tokens: Option.getOrUndefined(given.tokens),
      slots: Option.getOrUndefined(given.slots),
      slowdown: Option.getOrUndefined(given.slowdown),
      cacheTokens: Option.getOrUndefined(given.cacheTokens),
      contextTokens: Option.getOrUndefined(given.contextTokens),
      failRate: Option.getOrUndefined(given.failRate),
      seed: Option.getOrUndefined(given.seed),
      apiKey: Option.getOrUndefined(given.apiKey)
    })
    return yield* Layer.launch(announce.pipe(Layer.provide(simulator))).pipe(
      Effect.catchTag("ServeError", (error) => fail(cannotListen(error.cause)))
    )
  })
).pipe(Command.withDescription("Run a simulated inference server"))
