/** All figures of a run: for each case and subject those of every round, in order. */
import { Context, Layer } from "effect"
import type { Figures } from "../load/Job.ts"
import { type Summary, summarize } from "../Statistics.ts"

export interface CaseNote {
  /** Such as `unary 2 KB x 32`; what the ambitions' results look it up by. */
  readonly id: string
  /** The section it is shown in. */
  readonly section: "unary" | "large" | "open" | "streams" | "flat" | "idle" | "startup" | "scale"
  readonly subjects: Readonly<Record<string, ReadonlyArray<Figures>>>
}

export class Book extends Context.Service<
  Book,
  {
    readonly add: (section: CaseNote["section"], id: string, subject: string, figures: Figures) => void
    readonly cases: () => ReadonlyArray<CaseNote>
    /** Remarks on what could not be measured or was cut down. */
    readonly remark: (text: string) => void
    readonly remarks: () => ReadonlyArray<string>
  }
>()("weir/bench/Book") {
  static readonly layer = Layer.sync(Book, () => {
    const cases = new Map<string, { section: CaseNote["section"]; subjects: Map<string, Array<Figures>> }>()
    const remarks: Array<string> = []
    return Book.of({
      add: (section, id, subject, figures) => {
        const found = cases.get(id) ?? { section, subjects: new Map<string, Array<Figures>>() }
        cases.set(id, found)
        found.subjects.set(subject, [...(found.subjects.get(subject) ?? []), figures])
      },
      cases: () =>
        [...cases].map(([id, { section, subjects }]) => ({ id, section, subjects: Object.fromEntries(subjects) })),
      remark: (text) => {
        if (!remarks.includes(text)) remarks.push(text)
      },
      remarks: () => remarks
    })
  })
}

/** The questions that a report asks of the figures. */
export const makeReader = (cases: ReadonlyArray<CaseNote>) => {
  const rounds = (id: string, subject: string, figure: string): ReadonlyArray<number | undefined> =>
    cases.find((one) => one.id === id)?.subjects[subject]?.map((figures) => figures[figure]) ?? []

  /** Round by round, since what the machine was doing in a round touched both alike. */
  const paired =
    (combine: (value: number, base: number) => number) =>
    (id: string, subject: string, base: string, figure: string, baseId = id): Summary | undefined => {
      const others = rounds(baseId, base, figure)
      return summarize(
        rounds(id, subject, figure).flatMap((value, round) => {
          const other = others[round]
          return value === undefined || other === undefined ? [] : [combine(value, other)]
        })
      )
    }

  return {
    figure: (id: string, subject: string, figure: string): Summary | undefined =>
      summarize(rounds(id, subject, figure).filter((value) => value !== undefined)),
    ratio: paired((value, base) => value / base),
    added: paired((value, base) => value - base)
  }
}
export type Reader = ReturnType<typeof makeReader>
