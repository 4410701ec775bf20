/**
 * The benchmark suite: `npm run bench -- [--quick] [--only unary,streams,idle,startup,scale] [--publish]`. Progress goes
 * to stderr, the report to stdout, and both forms of it to `results/`; `--publish` puts it into this folder's README too.
 */
import { mkdirSync, writeFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Console, Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import { quickPlan, wholePlan } from "./cases/Plan.ts"
import { measureParts, type Part, parts } from "./cases/Suite.ts"
import { ambitionResults } from "./report/AmbitionResults.ts"
import { makeReader } from "./report/Book.ts"
import { type Report, toMarkdown } from "./report/Markdown.ts"
import { writeBetweenMarks } from "./report/Marks.ts"
import { BenchFailed } from "./rig/Children.ts"
import { measureWith } from "./rig/Run.ts"

const flags = {
  quick: Flag.Boolean("quick").pipe(
    Flag.withDescription("Fewer cases and rounds, under a minute"),
    Flag.withDefault(false)
  ),
  only: Flag.String("only").pipe(Flag.withDescription(`Some of ${parts.join(",")}`), Flag.optional),
  publish: Flag.Boolean("publish").pipe(
    Flag.withDescription("Put the report into the README too"),
    Flag.withDefault(false)
  ),
  weir: Flag.String("weir").pipe(
    Flag.withDescription("The built program to measure"),
    Flag.withDefault(resolve(import.meta.dirname, "../../dist/main.js"))
  )
}

const isPart = (name: string): name is Part => parts.some((part) => part === name)

/** Of many subjects nothing can be said in a minute: none of them would have been warmed. */
const quickParts: ReadonlyArray<Part> = ["unary", "streams", "idle", "startup"]

const chosen = (only: Option.Option<string>, quick: boolean) =>
  Effect.gen(function* () {
    if (Option.isNone(only)) return quick ? quickParts : parts
    const names = only.value.split(",")
    const unknown = names.find((name) => !isPart(name))
    if (unknown !== undefined) return yield* new BenchFailed({ message: `${unknown} is none of ${parts.join(", ")}` })
    return names.filter(isPart)
  })

/** JSON with every figure of every round, and the Markdown for a reader. */
const keep = (report: Report, publish: boolean): string => {
  const text = toMarkdown(report)
  const folder = join(import.meta.dirname, "results")
  mkdirSync(folder, { recursive: true })
  const judged = { ...report, verdicts: ambitionResults(makeReader(report.cases), report.plan) }
  writeFileSync(join(folder, "latest.json"), `${JSON.stringify(judged, null, 2)}\n`)
  writeFileSync(join(folder, "latest.md"), `${text}\n`)
  if (publish) writeBetweenMarks(join(import.meta.dirname, "README.md"), text)
  return text
}

const command = Command.make(
  "bench",
  flags,
  Effect.fnUntraced(
    function* ({ only, publish, quick, weir }) {
      const plan = quick ? quickPlan : wholePlan
      const { result: subjects, ...run } = yield* measureWith(plan, weir, measureParts(yield* chosen(only, quick)))
      yield* Console.log(keep({ ...run, quick, plan, subjects }, publish))
    },
    Effect.tapError((error) => Console.error(`bench: ${error.message}`))
  )
)

Command.run(command, { version: "1" }).pipe(
  Effect.provide(NodeServices.layer),
  NodeRuntime.runMain({ disableErrorReporting: true })
)
