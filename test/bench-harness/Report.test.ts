/** The pages that the measurements write. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, assert, beforeEach, describe, it } from "@effect/vitest"
import { caseId, quickPlan } from "../bench/cases/Plan.ts"
import { scaleSubject } from "../bench/cases/Scale.ts"
import { ambitionResults } from "../bench/report/AmbitionResults.ts"
import { type CaseNote, makeReader } from "../bench/report/Book.ts"
import { writeBetweenMarks } from "../bench/report/Marks.ts"
import { busyness, troubles } from "../bench/report/Troubles.ts"

type Rounds = CaseNote["subjects"]

const note = (id: string, section: CaseNote["section"], subjects: Rounds): CaseNote => ({ id, section, subjects })

const check = (cases: ReadonlyArray<CaseNote>, what: string) =>
  ambitionResults(makeReader(cases), quickPlan).find((row) => row.what.startsWith(what)) ??
  assert.fail(`no row ${what}`)

const unary = (weir: number, bare: number) =>
  note(caseId.unary(2048, 32), "unary", { weir: [{ cpuMicros: weir }], bare: [{ cpuMicros: bare }] })

describe("an ambition", () => {
  it("is met up to its bound and missed beyond it", () => {
    assert.isTrue(check([unary(75, 50)], "unary 2 KB: CPU").met)
    assert.isFalse(check([unary(76, 50)], "unary 2 KB: CPU").met)
  })

  it("is neither where it was not measured, or only a part of it", () => {
    assert.isUndefined(check([], "unary 2 KB: CPU").met)
    assert.strictEqual(check([], "unary 2 KB: CPU").measured, "not measured")
    const flat = note(caseId.flatOut, "flat", { weir: [{ cpuMicros: 1 }], bare: [{ cpuMicros: 1 }] })
    assert.isUndefined(check([flat], "streams: CPU").met)
  })

  it("is not missed because of what is told for comparison only", () => {
    const calm = note(caseId.calm, "open", { weir: [{ cpuMicros: 500 }], bare: [{ cpuMicros: 50 }] })
    const { measured, met } = check([unary(60, 50), calm], "unary 2 KB: CPU")
    assert.isTrue(met)
    assert.strictEqual(measured, "1.20 x; at 2,000/s 10.0 x")
  })

  it("about many backends or keys is judged by the most that the plan has", () => {
    const scaled = note(caseId.scale, "scale", {
      [scaleSubject(1, "keys")]: [{ cpuMicros: 100 }],
      [scaleSubject(10_000, "keys")]: [{ cpuMicros: 120 }]
    })
    assert.deepInclude(check([scaled], "10,000 keys against 1"), { measured: "1.20 x", met: false })
  })
})

describe("what a reader must know", () => {
  it("is that requests failed, that a subject was saturated, and that the machine was busy", () => {
    const rounds = [{ failed: 2, kept: 0.5, waited: 0.6 }]
    const cases = [note("case", "open", { weir: rounds })]
    assert.deepStrictEqual(troubles(cases), [
      "case, weir: 2 requests or streams failed",
      "case, weir: saturated, it did 50 % of what was due"
    ])
    assert.include(busyness(cases)[0], "The machine was busy")
  })

  it("is nothing where all went well", () => {
    const cases = [note("case", "open", { weir: [{ failed: 0, kept: 1, waited: 0.05 }] })]
    assert.deepStrictEqual([...troubles(cases), ...busyness(cases), ...busyness([])], [])
  })
})

describe("the page of the figures", () => {
  let folder = ""
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "weir-page-"))
  })
  afterEach(() => rmSync(folder, { recursive: true, force: true }))

  it("keeps what a person wrote, however often the figures are replaced", () => {
    const file = join(folder, "README.md")
    writeFileSync(file, "# Mine\n\n<!-- figures: begin -->\nold\n<!-- figures: end -->\n\nMine too.\n")
    for (const figures of ["first", "second"]) writeBetweenMarks(file, figures)
    assert.strictEqual(
      readFileSync(file, "utf8"),
      "# Mine\n\n<!-- figures: begin -->\n\nsecond\n\n<!-- figures: end -->\n\nMine too.\n"
    )
  })
})
