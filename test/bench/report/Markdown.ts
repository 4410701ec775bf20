/** The figures of a run for a reader: the ambitions' results first, then every case. */
import { caseId, type Plan, usualConnections, usualPrompt } from "../cases/Plan.ts"
import type { Machine } from "../rig/Machine.ts"
import { type AmbitionResult, ambitionResults } from "./AmbitionResults.ts"
import type { CaseNote, Reader } from "./Book.ts"
import { makeReader } from "./Book.ts"
import { middle, spread, table } from "./Format.ts"
import { busyness, troubles } from "./Troubles.ts"

export interface Report {
  readonly at: string
  readonly seconds: number
  readonly quick: boolean
  readonly plan: Plan
  readonly machine: Machine
  readonly subjects: ReadonlyArray<{ readonly name: string; readonly what: string }>
  readonly cases: ReadonlyArray<CaseNote>
  readonly remarks: ReadonlyArray<string>
}

interface Column {
  readonly title: string
  /** What stands in the cell of a case and subject. */
  readonly cell: (reader: Reader, id: string, subject: string) => string
}

const median = (title: string, figure: string): Column => ({
  title,
  cell: (reader, id, subject) => middle(reader.figure(id, subject, figure))
})
const spreadOf = (title: string, figure: string): Column => ({
  title,
  cell: (reader, id, subject) => spread(reader.figure(id, subject, figure))
})
const timesBare = (title: string, figure: string, base = "bare"): Column => ({
  title,
  cell: (reader, id, subject) => (subject === base ? "1" : spread(reader.ratio(id, subject, base, figure)))
})
const addedTo = (title: string, figure: string): Column => ({
  title,
  cell: (reader, id, subject) => (subject === "bare" ? "0" : spread(reader.added(id, subject, "bare", figure)))
})

const sections: Readonly<
  Record<CaseNote["section"], { readonly title: string; readonly columns: ReadonlyArray<Column> }>
> = {
  unary: {
    title: "Requests and whole answers (closed loop)",
    columns: [
      spreadOf("requests/s", "requestsPerSecond"),
      spreadOf("CPU µs a request", "cpuMicros"),
      timesBare("x bare", "cpuMicros"),
      median("p50 ms", "p50"),
      median("p99 ms", "p99")
    ]
  },
  large: {
    title: "Large answers (closed loop)",
    columns: [
      spreadOf("answers/s", "requestsPerSecond"),
      spreadOf("CPU µs a MB", "cpuMicrosPerMegabyte"),
      timesBare("x bare", "cpuMicrosPerMegabyte"),
      median("p50 ms", "p50"),
      median("p99 ms", "p99")
    ]
  },
  open: {
    title: "Requests at a fixed rate, from when they were due: half of the bare proxy's maximum, and 2,000/s",
    columns: [
      median("requests/s", "requestsPerSecond"),
      spreadOf("CPU µs a request", "cpuMicros"),
      timesBare("x bare", "cpuMicros"),
      median("p50 ms", "p50"),
      median("p99 ms", "p99"),
      addedTo("added p50 ms", "p50"),
      addedTo("added p99 ms", "p99")
    ]
  },
  streams: {
    title: "Streams (64 events, 20 ms apart)",
    columns: [
      median("events/s", "eventsPerSecond"),
      spreadOf("CPU µs an event", "cpuMicros"),
      timesBare("x bare", "cpuMicros"),
      median("TTFT p50 ms", "ttftP50"),
      addedTo("added TTFT p50 ms", "ttftP50"),
      addedTo("added TTFT p99 ms", "ttftP99"),
      addedTo("added delay p50 ms", "delayP50"),
      addedTo("added delay p99 ms", "delayP99"),
      median("gap p50 ms", "gapP50"),
      median("gap p99 ms", "gapP99"),
      addedTo("added gap p50 ms", "gapP50"),
      addedTo("added gap p99 ms", "gapP99"),
      median("stalls", "stalls"),
      spreadOf("longest stop ms", "longestStop")
    ]
  },
  flat: {
    title: "Streams flat out (64 streams, no pauses; the upstream writes 32 events at a time)",
    columns: [
      spreadOf("events/s", "eventsPerSecond"),
      spreadOf("CPU µs an event", "cpuMicros"),
      timesBare("x bare", "cpuMicros"),
      median("events a chunk, as relayed", "eventsPerPiece")
    ]
  },
  idle: {
    title: "Open idle streams (resident memory after a collection of garbage, but for 1 s after the end)",
    columns: [
      median("streams", "open"),
      median("MiB before", "before"),
      median("MiB open", "during"),
      median("KiB a stream", "perStreamKiB"),
      timesBare("x bare", "perStreamKiB"),
      median("MiB 1 s after the end", "untouched"),
      median("MiB after", "after"),
      median("after / before", "afterRatio"),
      median("MiB after a second time", "again"),
      median("second / first", "againRatio")
    ]
  },
  startup: {
    title: "Start (to the first answer)",
    columns: [spreadOf("seconds", "startSeconds"), spreadOf("MiB at rest", "residentMiB")]
  },
  scale: {
    title: "Many backends, keys and rules (2 KB, 32 connections)",
    columns: [
      spreadOf("requests/s", "requestsPerSecond"),
      spreadOf("CPU µs a request", "cpuMicros"),
      timesBare("x one backend", "cpuMicros", "weir, 1 backend"),
      median("p50 ms", "p50"),
      median("p99 ms", "p99")
    ]
  }
}

export const toMarkdown = (report: Report): string => {
  const reader = makeReader(report.cases)
  const remarks = [...report.remarks, ...troubles(report.cases)]
  const { cores, cpu, kernel, loadBefore, memoryGiB, node, pinned } = report.machine
  const written = Object.entries(sections).flatMap(([section, { columns, title }]) => {
    const cases = report.cases.filter((one) => one.section === section)
    if (cases.length === 0) return []
    const rows = cases.flatMap(({ id, subjects }) =>
      Object.keys(subjects).map((subject) => [id, subject, ...columns.map(({ cell }) => cell(reader, id, subject))])
    )
    return [`### ${title}`, table(["case", "subject", ...columns.map(({ title }) => title)], rows)]
  })
  return [
    `Measured ${report.at} in ${Math.round(report.seconds)} s${report.quick ? " with `--quick`" : ""}: ${cpu}, ` +
      `${cores} cores, ${memoryGiB} GiB, Linux ${kernel}, Node ${node}; processes ${pinned ? "" : "not "}bound to cores; ` +
      `load average before the run ${loadBefore.toFixed(2)}. Medians of interleaved rounds, with the lowest and the ` +
      "highest; ratios and additions are taken round by round." +
      ceilingOf(reader),
    ...busyness(report.cases),
    "### Must show",
    ambitionTable(ambitionResults(reader, report.plan)),
    ...written,
    "### Subjects",
    table(
      ["subject", "is"],
      report.subjects.map(({ name, what }) => [name, what])
    ),
    ...(remarks.length === 0 ? [] : ["### Remarks", remarks.map((text) => `- ${text}`).join("\n")])
  ].join("\n\n")
}

/** What upstream and load generator can do without anything between them. */
const ceilingOf = ({ figure }: Reader): string => {
  const requests = figure(caseId.unary(usualPrompt, usualConnections), "direct", "requestsPerSecond")
  const events = figure(caseId.flatOut, "direct", "eventsPerSecond")
  const known = [
    ...(requests === undefined ? [] : [`${spread(requests)} requests/s`]),
    ...(events === undefined ? [] : [`${spread(events)} events/s`])
  ]
  return known.length === 0 ? "" : ` The upstream's own ceiling: ${known.join(", ")}.`
}

const ambitionTable = (rows: ReadonlyArray<AmbitionResult>): string =>
  table(
    ["what", "ambition", "measured", ""],
    rows.map(({ ambition, measured, met, what }) => [
      what,
      ambition,
      measured,
      met === undefined ? "–" : met ? "met" : "**missed**"
    ])
  )
