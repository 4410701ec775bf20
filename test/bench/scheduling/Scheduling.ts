/**
 * The scheduling benchmark: `node test/bench/scheduling/Scheduling.ts [--seed 1] [--json FILE] [--markdown FILE]`. Every
 * strategy on every kind of work, on a virtual clock; then what a decision costs, on the real one. Tables go to stdout,
 * every figure as JSON to a file. In the Markdown file, what stands between the two marks is replaced.
 */
import { mkdirSync, writeFileSync } from "node:fs"
import { dirname, resolve } from "node:path"
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Console, Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import { writeBetweenMarks } from "../report/Marks.ts"
import { allAmbitions } from "./Ambitions.ts"
import { decisionCosts } from "./Deciding.ts"
import { loads, makeMeasured, subjects } from "./Measure.ts"
import { type Row, type SchedulingReport, toText } from "./Report.ts"
import type { WorkloadName } from "./Workloads.ts"

const kinds: ReadonlyArray<WorkloadName> = ["equal", "unequal", "conversing", "slowing", "dying", "instructed"]

const flags = {
  seed: Flag.Int("seed").pipe(
    Flag.withDescription("Other arrivals, other prompts; the same seed, the same figures"),
    Flag.withDefault(1)
  ),
  json: Flag.String("json").pipe(
    Flag.withDescription("Where every figure goes"),
    Flag.withDefault(resolve(import.meta.dirname, "../results/scheduling.json"))
  ),
  markdown: Flag.String("markdown").pipe(Flag.withDescription("The report for a page, to a file"), Flag.optional)
}

const measureAll = Effect.fnUntraced(function* (seed: number) {
  const measured = makeMeasured(seed)
  const rows: Array<Row> = []
  for (const workload of kinds) {
    for (const load of loads) {
      for (const subject of subjects) {
        rows.push({ workload, load, subject, figures: yield* measured(subject, workload, load) })
      }
    }
    yield* Console.error(`measured ${workload}`)
  }
  const report: SchedulingReport = {
    seed,
    rows,
    ambitionResults: yield* allAmbitions(measured),
    costs: yield* decisionCosts
  }
  return report
})

const command = Command.make(
  "scheduling",
  flags,
  Effect.fnUntraced(function* ({ json, markdown, seed }) {
    const report = yield* measureAll(seed)
    mkdirSync(dirname(json), { recursive: true })
    writeFileSync(json, `${JSON.stringify(report, null, 2)}\n`)
    if (Option.isSome(markdown)) writeBetweenMarks(markdown.value, toText(report, [0.85]))
    yield* Console.log(toText(report, loads))
  })
)

Command.run(command, { version: "1" }).pipe(Effect.provide(NodeServices.layer), NodeRuntime.runMain())
