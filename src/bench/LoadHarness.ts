/** The load harness behind `weir bench`: asks an endpoint so often, so many at a time, and measures what comes back. */
import { Clock, Context, Duration, Effect, Layer, Result, Schema, Stream } from "effect"
import { HttpClient, type HttpClientError, type HttpClientResponse } from "effect/http"
import { errorCode, readCompletion, StreamReader, type Tokens } from "./AnswerReader.ts"
import { type Measurement, summarize } from "./Measurement.ts"
import { knock, question, type Shape, type Target } from "./Question.ts"
import { plain, type Sample, unknownNode } from "./Sample.ts"

export { barChart, svgChart } from "./Chart.ts"
export { type Measurement, tokensPerSecond } from "./Measurement.ts"
export { withProgressBar } from "./ProgressBar.ts"
export { type Shape, type Target, TargetUrl } from "./Question.ts"
export { printRuns, type RunMode, type Runs, type RunsSettings, runsJson } from "./RunReport.ts"
export { type Step, sweepCsv, sweepJson, sweepTable } from "./SweepReport.ts"

/** Nothing answers where the harness was pointed at. */
export class Unreachable extends Schema.TaggedError<Unreachable>()("Unreachable", { message: Schema.String }) {}

export interface Load {
  readonly shape: Shape
  readonly requests: number
  /** So many are under way at any time. */
  readonly concurrency: number
  /** How long one may take; longer is a failure. */
  readonly timeout: Duration.Duration
  /** Told after each request. */
  readonly onSample?: (sample: Sample) => void
}

export class LoadHarness extends Context.Service<
  LoadHarness,
  {
    /** Whether anything answers there, whatever the answer is. */
    readonly reach: (target: Target) => Effect.Effect<void, Unreachable>
    /** A request that fails is counted; none is sent again. */
    readonly run: (target: Target, load: Load) => Effect.Effect<Measurement>
  }
>()("weir/bench/LoadHarness") {
  static readonly layer = Layer.effect(
    LoadHarness,
    Effect.map(HttpClient.HttpClient, (client) =>
      LoadHarness.of({
        reach: (target) => untraced(reach(client, target)),
        run: Effect.fnUntraced(function* (target, load) {
          const request = untraced(ask(client, target, load))
          const startedAt = yield* millis
          const samples = yield* Effect.forEach(
            Array.from({ length: load.requests }),
            () => Effect.tap(request, (sample) => Effect.sync(() => load.onSample?.(sample))),
            { concurrency: load.concurrency }
          )
          return summarize(samples, ((yield* millis) - startedAt) / 1000)
        })
      })
    )
  )
}

const millis = Effect.map(Clock.currentTimeNanos, (nanos) => Number(nanos) / 1e6)

/** The endpoint's own sampling is part of what is measured: nothing is sent that would decide it. */
const untraced = Effect.provideService(HttpClient.TracerDisabledWhen, () => true)

const reachTimeout = "10 seconds"

const reach = (client: HttpClient.HttpClient, target: Target): Effect.Effect<void, Unreachable> =>
  client.execute(knock(target)).pipe(
    Effect.flatMap(({ stream }) => Stream.runDrain(stream)),
    Effect.timeoutOrElse({
      duration: reachTimeout,
      orElse: () => new Unreachable({ message: `${target.url.origin} does not answer within ${reachTimeout}` })
    }),
    Effect.catchTag(
      "HttpClientError",
      (error) => new Unreachable({ message: `cannot reach ${target.url.origin}: ${transportReason(error)}` })
    )
  )

/** One request, as often as it is run; it never fails. */
const ask = (client: HttpClient.HttpClient, target: Target, { shape, timeout }: Load): Effect.Effect<Sample> => {
  const request = question(target, shape)
  return Effect.gen(function* () {
    const startedAt = yield* millis
    const response = yield* client.execute(request)
    const node = plain(response.headers["x-routed-node"] ?? unknownNode)
    return yield* Effect.map(read(response, shape, startedAt), (outcome): Sample => {
      if (Result.isFailure(outcome)) return { _tag: "Failed", node, reason: outcome.failure }
      return { _tag: "Answered", node, ...outcome.success }
    }).pipe(Effect.catchTag("HttpClientError", (error) => Effect.succeed(failed(node, transportReason(error)))))
  }).pipe(
    Effect.catchTag("HttpClientError", (error) => Effect.succeed(failed(unknownNode, transportReason(error)))),
    Effect.timeoutOrElse({
      duration: timeout,
      orElse: () => Effect.succeed(failed(unknownNode, `no answer within ${Duration.format(timeout)}`))
    })
  )
}

const failed = (node: string, reason: string): Sample => ({ _tag: "Failed", node, reason })

const read = Effect.fnUntraced(function* (
  response: HttpClientResponse.HttpClientResponse,
  { stream }: Shape,
  startedAt: number
) {
  if (response.status !== 200) {
    const code = errorCode(yield* response.text)
    return Result.fail(`HTTP ${response.status} ${code ?? ""}`.trimEnd())
  }
  if (!stream) {
    const body = yield* response.text
    const latency = (yield* millis) - startedAt
    return Result.map(readCompletion(body), (tokens) => timed(tokens, { latency, firstToken: undefined, gaps: [] }))
  }
  const reader = new StreamReader()
  yield* Stream.runForEach(response.stream, (bytes) => Effect.map(millis, (now) => reader.feed(bytes, now)))
  const latency = (yield* millis) - startedAt
  return Result.map(reader.end(), ({ firstAt, gaps, tokens }) =>
    timed(tokens, { latency, firstToken: firstAt === undefined ? undefined : firstAt - startedAt, gaps })
  )
})

const timed = <A>({ completion, counted, prompt }: Tokens, times: A) => ({
  ...times,
  promptTokens: prompt,
  completionTokens: completion,
  counted
})

const reasons: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connection refused",
  ECONNRESET: "connection reset",
  ENOTFOUND: "unknown host",
  EAI_AGAIN: "the host's name cannot be resolved",
  EHOSTUNREACH: "no route to the host",
  ENETUNREACH: "no route to the network",
  ETIMEDOUT: "connection timed out",
  UND_ERR_CONNECT_TIMEOUT: "connection timed out",
  UND_ERR_SOCKET: "the connection was closed"
}

/** Node's and undici's codes in words; the cause may be wrapped. */
const transportReason = ({ reason }: HttpClientError.HttpClientError): string => {
  for (let cause: unknown = reason.cause; cause instanceof Error; cause = cause.cause) {
    const code = "code" in cause ? String(cause.code) : ""
    if (code !== "") return reasons[code] ?? plain(code)
  }
  return "the connection failed"
}
