/** Whether the gateway holds at the end what it held on its plateau, and the figures that say so. */
import { median, type Sample } from "./Gauges.ts"
import type { Tally } from "./Traffic.ts"

export interface Soaked {
  readonly warm: ReadonlyArray<Sample>
  readonly samples: ReadonlyArray<Sample>
  /** At rest, when it had warmed up. */
  readonly before: Sample
  /** At rest, at the end. */
  readonly after: Sample
  readonly tally: Tally
  readonly underWay: number
  /** Lines that say why the circuit of the engine that is well was opened: by nothing but what its clients did wrong. */
  readonly opened: ReadonlyArray<string>
}

/** By how much the end may be above the plateau. */
const tolerance = 1.1

/** So many more are within the noise of a count that is small. */
const slack = 3

interface Row {
  readonly name: string
  readonly plateau: number
  readonly end: number
  readonly allowed: number
  readonly unit: string
}

const mebibytes = (bytes: number): number => Math.round((bytes / 2 ** 20) * 10) / 10

/** The part of the samples between two shares of the time. */
const part = (samples: ReadonlyArray<Sample>, from: number, to: number): ReadonlyArray<Sample> =>
  samples.slice(Math.floor(samples.length * from), Math.ceil(samples.length * to))

const rowsOf = ({ after, before, samples }: Soaked): ReadonlyArray<Row> => {
  const plateau = part(samples, 0.2, 0.6)
  const end = part(samples, 0.8, 1)
  const memory = (name: string, of: (sample: Sample) => number): Row => {
    const level = mebibytes(median(plateau.map(of)))
    return { name, plateau: level, end: mebibytes(median(end.map(of))), allowed: level * tolerance, unit: "MiB" }
  }
  const count = (name: string, of: (sample: Sample) => number): Row => ({
    name,
    plateau: of(before),
    end: of(after),
    allowed: Math.max(of(before) * tolerance, of(before) + slack),
    unit: ""
  })
  // Right after a collection, the heap is what is really held.
  const floor = (samples: ReadonlyArray<Sample>) => mebibytes(Math.min(...samples.map(({ heap }) => heap)))
  const held = floor(plateau)
  return [
    { name: "heap, at its lowest", plateau: held, end: floor(end), allowed: held * tolerance + 5, unit: "MiB" },
    memory("RSS under load", ({ rss }) => rss),
    count("handles at rest", ({ resources }) => resources),
    ...(before.files === undefined ? [] : [count("open files at rest", ({ files }) => files ?? 0)])
  ]
}

/** The figures as a table, and what must not be. */
export const report = (soaked: Soaked): { readonly text: string; readonly failures: ReadonlyArray<string> } => {
  const { opened, tally, underWay } = soaked
  const rows = rowsOf(soaked)
  const grown = rows.filter(({ allowed, end }) => !(end <= allowed))
  const failures = [
    ...grown.map(({ end, name, plateau, unit }) => `${name}: ${end} ${unit} at the end, ${plateau} ${unit} before`),
    ...opened.slice(0, 3).map((line) => `the circuit of the engine that is well was opened: ${line}`),
    ...(underWay === 0 ? [] : [`${underWay} requests still count as under way`]),
    ...tally.lies.slice(0, 3).map((text) => `an answer told neither its end nor its cut: …${JSON.stringify(text)}`)
  ]
  const figures = rows.map(
    ({ end, name, plateau, unit }) =>
      `${name.padEnd(22)} ${plateau} ${unit} before, ${end} ${unit} at the end (${percent(plateau, end)})`
  )
  const kinds = [...tally.counts].toSorted(([, one], [, other]) => other - one)
  const text = [
    `${tally.requests} requests: ${kinds.map(([kind, count]) => `${count} × ${kind}`).join(", ")}`,
    ...figures,
    failures.length === 0 ? "Nothing is held that was not held before." : `Failed: ${failures.join("; ")}`
  ]
  return { text: text.join("\n"), failures }
}

const percent = (before: number, after: number): string => {
  const change = ((after - before) / before) * 100
  return `${change >= 0 ? "+" : ""}${change.toFixed(1)} %`
}
