/** `weir bench`: how much an endpoint does, and how fast. */
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { Clock, Console, Duration, Effect, FileSystem, Layer, Option, Path, Result, Schema, SchemaGetter } from "effect"
import { Command, Flag } from "effect/cli"
import {
  barChart,
  type Load,
  LoadHarness,
  type Measurement,
  printRuns,
  type Runs,
  runsJson,
  type Shape,
  type Step,
  svgChart,
  sweepCsv,
  sweepJson,
  sweepTable,
  type Target,
  TargetUrl,
  withProgressBar
} from "../bench/LoadHarness.ts"
import { fail } from "./Failure.ts"
import { duration } from "./Options.ts"

const Count = Schema.Int.pipe(Schema.check(Schema.isBetween({ minimum: 1, maximum: 1_000_000 })))

const count = (name: string, text: string, otherwise: number) =>
  Flag.Int(name).pipe(
    Flag.withSchema(Count),
    Flag.withDescription(`${text} (default ${otherwise})`),
    Flag.withDefault(otherwise)
  )

const output = (name: string, text: string) => Flag.Path(name).pipe(Flag.withDescription(text), Flag.optional)

const stream = Flag.Boolean("stream").pipe(
  Flag.withDescription("Ask for streams: only they show the time to the first token")
)

const common = {
  url: Flag.String("url").pipe(
    Flag.withSchema(TargetUrl),
    Flag.withDescription("The endpoint, such as http://127.0.0.1:8000")
  ),
  model: Flag.String("model").pipe(Flag.withDescription("The model to ask for")),
  apiKey: Flag.Redacted("api-key").pipe(Flag.withDescription("The key to ask with"), Flag.optional),
  requests: count("requests", "Requests in a run", 60),
  promptTokens: count("prompt-tokens", "Length of the prompt, roughly", 120),
  maxTokens: count("max-tokens", "The longest answer", 200),
  timeout: duration("timeout").pipe(
    Flag.withDescription("How long one request may take (default 5m)"),
    Flag.withDefault(Duration.minutes(5))
  )
}

/** Numbers from 1, with commas between them. */
const Concurrencies = Schema.String.pipe(
  Schema.check(
    Schema.isPattern(/^[1-9]\d{0,5}(,[1-9]\d{0,5})*$/, {
      message: "expected whole numbers from 1 with commas between them, such as 1,2,4,8"
    })
  ),
  Schema.decodeTo(Schema.Array(Schema.Int), {
    decode: SchemaGetter.transform((text) => text.split(",").map(Number)),
    encode: SchemaGetter.transform((numbers) => numbers.join(","))
  })
)

const run = Command.make(
  "run",
  {
    ...common,
    mode: Flag.Literals("mode", ["sequential", "concurrent", "both"]).pipe(
      Flag.withDescription("One at a time, many at a time, or one after the other (default both)"),
      Flag.withDefault("both" as const)
    ),
    concurrency: count("concurrency", "Requests at a time", 12),
    stream: stream.pipe(Flag.withDefault(false)),
    logNode: Flag.Boolean("log-node").pipe(
      Flag.withDescription("Show which node answered how many"),
      Flag.withDefault(false)
    ),
    output: output("output", "Every figure, as JSON, to a file")
  },
  Effect.fnUntraced(function* (given) {
    yield* checkPlaces([given.output])
    const target = yield* reachable(given)
    const settings = { ...given, baseUrl: given.url.href.replace(/\/$/, "") }
    const measured = (title: string, concurrency: number) => measure(title, target, { ...given, concurrency })
    const runs: Runs = {
      ...(given.mode !== "concurrent" && { sequential: yield* measured("sequential", 1) }),
      ...(given.mode !== "sequential" && { concurrent: yield* measured("concurrent", given.concurrency) })
    }
    const timestamp = new Date(yield* Clock.currentTimeMillis).toISOString()
    yield* Console.log(printRuns(runs, settings, given.logNode))
    yield* write([[given.output, () => json(runsJson(runs, settings, timestamp))]])
    yield* insistOnAnswers([runs.sequential, runs.concurrent].filter((one) => one !== undefined))
  })
).pipe(Command.withDescription("Ask so often, and measure the answers"))

const sweep = Command.make(
  "sweep",
  {
    ...common,
    concurrencies: Flag.String("concurrencies").pipe(
      Flag.withSchema(Concurrencies),
      Flag.withDescription("Requests at a time, one run for each (default 1,2,4,8,12,16)"),
      Flag.withDefault([1, 2, 4, 8, 12, 16])
    ),
    stream: stream.pipe(Flag.withDefault(true)),
    outputJson: output("output-json", "Every figure, as JSON, to a file"),
    outputCsv: output("output-csv", "The figures of each run, as CSV, to a file"),
    outputSvg: output("output-svg", "The chart, as SVG, to a file")
  },
  Effect.fnUntraced(function* (given) {
    yield* checkPlaces([given.outputJson, given.outputCsv, given.outputSvg])
    const target = yield* reachable(given)
    const steps: ReadonlyArray<Step> = yield* Effect.forEach(given.concurrencies, (concurrency) =>
      Effect.map(measure(`${concurrency} at a time`, target, { ...given, concurrency }), (run) => ({
        concurrency,
        run
      }))
    )
    yield* Console.log(`${sweepTable(steps)}\n\n${barChart(steps)}`)
    yield* write([
      [given.outputJson, () => json(sweepJson(steps))],
      [given.outputCsv, () => sweepCsv(steps)],
      [given.outputSvg, () => svgChart(steps, `${given.model} at ${given.url.host}`)]
    ])
    yield* insistOnAnswers(steps.map(({ run }) => run))
  })
).pipe(Command.withDescription("Run with more and more requests at a time, and chart what that brings"))

const reachable = Effect.fnUntraced(function* (given: {
  readonly url: URL
  readonly model: string
  readonly apiKey: Option.Option<NonNullable<Target["apiKey"]>>
}) {
  const harness = yield* LoadHarness
  const target: Target = { url: given.url, model: given.model, apiKey: Option.getOrUndefined(given.apiKey) }
  yield* harness.reach(target).pipe(Effect.catch(({ message }) => fail(message)))
  return target
})

const measure = Effect.fnUntraced(function* (
  title: string,
  target: Target,
  { concurrency, requests, timeout, ...shape }: Omit<Load, "shape" | "onSample"> & Shape
) {
  const harness = yield* LoadHarness
  return yield* withProgressBar(title, requests, (tell) =>
    harness.run(target, {
      shape,
      requests,
      concurrency,
      timeout,
      onSample: ({ _tag }) => tell(_tag === "Answered")
    })
  )
})

const json = (value: object): string => `${JSON.stringify(value, null, 2)}\n`

/** Before anything is measured: it may take minutes. */
const checkPlaces = Effect.fnUntraced(function* (files: ReadonlyArray<Option.Option<string>>) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  for (const file of files.flatMap(Option.toArray)) {
    const exists = yield* fs.exists(path.dirname(file)).pipe(Effect.orElseSucceed(() => false))
    if (!exists) return yield* fail(`cannot write ${file}: there is no such folder`)
  }
})

/** What was measured is shown already; and where one file cannot be written, the others are. */
const write = Effect.fnUntraced(function* (
  files: ReadonlyArray<readonly [file: Option.Option<string>, content: () => string]>
) {
  const fs = yield* FileSystem.FileSystem
  const problems: Array<string> = []
  for (const [file, content] of files) {
    if (Option.isNone(file)) continue
    const written = yield* Effect.result(fs.writeFileString(file.value, content()))
    if (Result.isFailure(written)) problems.push(`cannot write ${file.value}: ${written.failure.message}`)
  }
  if (problems.length > 0) return yield* fail(problems.join("\n"))
})

/** A benchmark in which nothing was answered has measured nothing. */
const insistOnAnswers = (runs: ReadonlyArray<Measurement>) =>
  runs.some(({ succeeded }) => succeeded > 0) ? Effect.void : fail("no request was answered")

const layer = LoadHarness.layer.pipe(Layer.provide(NodeHttpClient.layerUndici))

export const bench = Command.make("bench").pipe(
  Command.withDescription("Measure an endpoint"),
  Command.withSubcommands([run, sweep]),
  Command.provide(layer)
)
