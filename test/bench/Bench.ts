/**
 * The benchmark suite: `node test/bench/Bench.ts [--quick] [--only unary,streams,idle,startup,scale] [--json FILE]
 * [--markdown FILE] [--weir FILE]`. Progress goes to stderr, the report to stdout, and to the files that are named.
 * In the Markdown file, what stands between the two marks is replaced; a file without them is written anew.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Console, Effect, Layer, Option } from "effect"
import { Command, Flag } from "effect/cli"
import { CurrentPlan, quickPlan, wholePlan } from "./cases/Plan.ts"
import { progressEnd } from "./cases/Progress.ts"
import { measureParts, type Part, parts } from "./cases/Suite.ts"
import { Book, makeReader } from "./report/Book.ts"
import { type Report, toMarkdown } from "./report/Markdown.ts"
import { writeBetweenMarks } from "./report/Marks.ts"
import { verdicts } from "./report/Verdicts.ts"
import { BenchFailed, Rig } from "./rig/Children.ts"
import { Generator } from "./rig/Generator.ts"
import { describeMachine } from "./rig/Machine.ts"

const described = <A>(flag: Flag.Flag<A>, text: string) => flag.pipe(Flag.withDescription(text), Flag.optional)

const flags = {
  quick: Flag.Boolean("quick").pipe(
    Flag.withDescription("Fewer cases and rounds, under a minute"),
    Flag.withDefault(false)
  ),
  only: described(Flag.String("only"), `Some of ${parts.join(",")}`),
  json: described(Flag.String("json"), "Every figure of every round, to a file"),
  markdown: described(Flag.String("markdown"), "The report, to a file"),
  weir: Flag.String("weir").pipe(
    Flag.withDescription("The built program to measure"),
    Flag.withDefault(resolve(import.meta.dirname, "../../dist/main.js"))
  )
}

const isPart = (name: string): name is Part => parts.some((part) => part === name)

const chosen = (only: Option.Option<string>) =>
  Effect.gen(function* () {
    if (Option.isNone(only)) return parts
    const names = only.value.split(",")
    const unknown = names.find((name) => !isPart(name))
    if (unknown !== undefined) return yield* new BenchFailed({ message: `${unknown} is none of ${parts.join(", ")}` })
    return names.filter(isPart)
  })

/** A folder for what the subjects read and write, gone with the scope. */
const temporaryFolder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "weir-bench-"))),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
)

const layerRig = (weir: string) =>
  Layer.effect(
    Rig,
    Effect.map(temporaryFolder, (folder) => Rig.of({ folder, weir: resolve(weir), machine: describeMachine() }))
  )

const command = Command.make(
  "bench",
  flags,
  Effect.fnUntraced(
    function* (options) {
      const startedAt = performance.now()
      const measured = yield* chosen(options.only)
      const report = yield* Effect.gen(function* () {
        const book = yield* Book
        const { machine } = yield* Rig
        const subjects = yield* Effect.scoped(measureParts(measured))
        const report: Report = {
          at: new Date().toISOString(),
          seconds: (performance.now() - startedAt) / 1000,
          quick: options.quick,
          machine,
          subjects,
          cases: book.cases(),
          remarks: book.remarks()
        }
        return report
      }).pipe(
        Effect.provideService(CurrentPlan, options.quick ? quickPlan : wholePlan),
        Effect.provide(Layer.merge(Generator.layer, Book.layer).pipe(Layer.provideMerge(layerRig(options.weir))))
      )
      yield* progressEnd
      const text = toMarkdown(report)
      if (Option.isSome(options.json)) {
        const json = { ...report, verdicts: verdicts(makeReader(report.cases)) }
        writeFileSync(options.json.value, `${JSON.stringify(json, null, 2)}\n`)
      }
      if (Option.isSome(options.markdown)) writeBetweenMarks(options.markdown.value, text)
      yield* Console.log(text)
    },
    Effect.tapError((error) => Console.error(`bench: ${error.message}`))
  )
)

Command.run(command, { version: "1" }).pipe(
  Effect.provide(NodeServices.layer),
  NodeRuntime.runMain({ disableErrorReporting: true })
)
