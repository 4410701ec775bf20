/** The endpoints that generate text: chat, completions, responses and messages. */
import { Cause, Clock, Effect, Stream } from "effect"
import { HttpServerResponse } from "effect/http"
import { sendEvents, sendWhole } from "./BodyFaults.ts"
import { chat } from "./dialects/Chat.ts"
import { completions } from "./dialects/Completions.ts"
import type { Dialect, Reply, Usage, Work } from "./dialects/Dialect.ts"
import { messages } from "./dialects/Messages.ts"
import { responses } from "./dialects/Responses.ts"
import type { FinishReason, Generation } from "./Engine.ts"
import type { Exchange } from "./Exchange.ts"
import type { RequestFault } from "./Faults.ts"
import { attended } from "./InferenceRoute.ts"
import type { Instance } from "./Instance.ts"
import { fingerprintText } from "./Random.ts"
import { checkContext, checkModel, jsonOf } from "./RequestBody.ts"
import { pauseOf, type Step, scriptOf } from "./Script.ts"
import { promptOf } from "./Tokens.ts"
import { cutIntoTokens, writeTokens } from "./TokenText.ts"
import { breakOff } from "./WireFaults.ts"

export const generationRoutes = (instance: Instance) =>
  [chat, completions, responses, messages].map((dialect) =>
    attended(
      instance,
      dialect.path,
      Effect.fnUntraced(function* (received, fault, exchange) {
        const work = yield* Effect.flatMap(jsonOf(received), dialect.read)
        yield* checkModel(instance.settings, work.model)
        const prompt = promptOf(work.prompt)
        yield* checkContext(instance.settings, prompt.tokens)
        const reply = yield* compose(instance, dialect, work, prompt.tokens)
        const total = reply.choices[0]?.length ?? 0
        const pause = pauseOf(fault, total, work.stream)
        const generation = yield* instance.engine.submit({ prompt, outputTokens: total, reason: reply.finish, pause })
        const usage = (cached: number): Usage => ({
          prompt: prompt.tokens,
          cached,
          completion: total * reply.choices.length
        })
        if (work.stream) {
          const script = (cached: number) => scriptOf(dialect.events(reply, usage(cached)), total, fault)
          const started = beforeFirstEvent(exchange, generation, fault, pause?.after)
          return sendEvents(perform(instance, exchange, generation, Effect.map(started, script)), fault)
        }
        const cached = yield* generation.started
        yield* generation.finished
        const whole = HttpServerResponse.jsonUnsafe(dialect.whole(reply, usage(cached)))
        return sendWhole(instance, exchange, whole, fault, total)
      })
    )
  )

/** What the model is going to say follows from the seed and the request alone. */
const compose = Effect.fnUntraced(function* (
  { nextId, settings }: Instance,
  dialect: Dialect,
  work: Work,
  promptTokens: number
) {
  const now = yield* Clock.currentTimeMillis
  const length = Math.min(settings.tokens, work.maxTokens ?? settings.tokens, settings.contextTokens - promptTokens)
  const textSeed = fingerprintText(work.prompt, settings.seed)
  const finish: FinishReason = work.tool !== undefined ? "tool_calls" : length < settings.tokens ? "length" : "stop"
  const { tool } = work
  const reply: Reply = {
    id: `${dialect.idPrefix}${settings.name}-${nextId()}`,
    created: Math.floor(now / 1000),
    model: work.model,
    fingerprint: `fp_${settings.name}`,
    choices: Array.from({ length: work.choices }, (_, index) =>
      tool === undefined ? writeTokens(textSeed + index, length) : cutIntoTokens(tool.arguments)
    ),
    tool,
    finish,
    includeUsage: work.includeUsage
  }
  return reply
})

/** Plays a script: each event is one chunk on the wire, written when the engine has its token. */
const perform = (
  instance: Instance,
  exchange: Exchange["Service"],
  generation: Generation,
  script: Effect.Effect<Iterator<Step, void>>
): Stream.Stream<Uint8Array> => {
  const pulling = Effect.map(script, (steps) => {
    const pull: Effect.Effect<readonly [Uint8Array], Cause.Done> = Effect.suspend(() => {
      const { done, value: step } = steps.next()
      if (done === true) return Cause.done()
      switch (step._tag) {
        case "AwaitToken":
          return Effect.andThen(generation.token, pull)
        case "Write":
          return Effect.succeed([Buffer.from(step.text)] as const)
        case "Break":
          return breakOff(instance, exchange, step.all)
      }
    })
    return pull
  })
  return Stream.fromPull(pulling)
}

/** Waits for the prefill, as an engine does before it says anything; tells how much of the prompt was remembered. */
const beforeFirstEvent = (
  { outgoing }: Exchange["Service"],
  generation: Generation,
  fault: RequestFault | undefined,
  pauseAfter: number | undefined
): Effect.Effect<number> => {
  // A stall before the first token still lets the opening out.
  if (fault?.kind === "stall" && pauseAfter === 0) return Effect.succeed(0)
  if (fault?.kind !== "slow_first_token" || fault.headFirst !== true) return generation.started
  return Effect.andThen(
    Effect.sync(() => outgoing.flushHeaders()),
    generation.started
  )
}
