/** The fault table of the design: the built gateway, an engine with the fault, and a healthy one beside it. */
import { afterAll, beforeAll, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { type Row, ScoreCard } from "./ScoreCard.ts"
import { answers } from "./table/BackPressure.ts"
import { beforeTheHead } from "./table/BeforeTheHead.ts"
import { dies, flaps } from "./table/ComingAndGoing.ts"
import { midStream } from "./table/MidStream.ts"

const rows: ReadonlyArray<Row> = [...answers, ...beforeTheHead, ...midStream, dies, flaps].toSorted((a, b) =>
  a.id.localeCompare(b.id)
)

const card = new ScoreCard()

/** The row that takes a minute runs beside the others. */
let minute: Fiber.Fiber<void> | undefined

beforeAll(() => {
  minute = Effect.runFork(card.check(flaps))
})

afterAll(async () => {
  // Where it was not waited for, its gateway must not stay behind.
  if (minute !== undefined) await Effect.runPromise(Fiber.interrupt(minute))
  process.stdout.write(`${card.print(rows)}\n`)
})

describe("the fault table", () => {
  for (const row of [...rows.filter((each) => each !== flaps), flaps]) {
    it.live(
      `an upstream that ${row.upstream} (${row.id}): ${row.expected}`,
      () => (row === flaps && minute !== undefined ? Fiber.join(minute) : card.check(row)),
      90_000
    )
  }
})
