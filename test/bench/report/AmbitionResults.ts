/** The promises of the project's fifth issue ("Must show") against what was measured: ratios of one run. */
import { caseId, type Plan, sizeName, usualConnections, usualPrompt } from "../cases/Plan.ts"
import { scaleSubject } from "../cases/Scale.ts"
import { ambitionStreams } from "../cases/Streams.ts"
import type { Summary } from "../Statistics.ts"
import type { Reader } from "./Book.ts"
import { spread } from "./Format.ts"

export interface AmbitionResult {
  readonly what: string
  readonly ambition: string
  readonly measured: string
  /** `undefined`: it was not measured, or there is no bound to check. */
  readonly met: boolean | undefined
}

interface Bounded {
  readonly name: string
  readonly summary: Summary | undefined
  /** The most that the median may be; without it the part is told for comparison only. */
  readonly most?: number
}

/** A row of several parts is met when all of its parts are. */
const row = (what: string, ambition: string, unit: string, parts: ReadonlyArray<Bounded>): AmbitionResult => {
  const texts = parts.flatMap(({ name, summary }) =>
    summary === undefined ? [] : [`${name}${name === "" ? "" : " "}${spread(summary)} ${unit}`]
  )
  const judged = parts.filter(({ most }) => most !== undefined)
  return {
    what,
    ambition,
    measured: texts.length === 0 ? "not measured" : texts.join("; "),
    met: judged.some(({ summary }) => summary === undefined)
      ? undefined
      : judged.every(({ most, summary }) => most !== undefined && summary !== undefined && summary.median <= most)
  }
}

const usual = caseId.unary(usualPrompt, usualConnections)
const paced = caseId.streams(ambitionStreams)

export const ambitionResults = ({ added, figure, ratio }: Reader, { scale }: Plan): ReadonlyArray<AmbitionResult> => {
  const scaled = (what: "backends" | "keys") => {
    const most = Math.max(...scale[what])
    const summary = ratio(caseId.scale, scaleSubject(most, what), scaleSubject(1, what), "cpuMicros")
    return row(`${most.toLocaleString("en")} ${what} against 1`, "<= 1.1 x", "x", [{ name: "", summary, most: 1.1 }])
  }
  return [
    row("unary 2 KB: CPU a request, against the bare proxy", "<= 1.5 x", "x", [
      { name: "", summary: ratio(usual, "weir", "bare", "cpuMicros"), most: 1.5 },
      { name: "at 2,000/s", summary: ratio(caseId.calm, "weir", "bare", "cpuMicros") }
    ]),
    row(
      "unary 2 KB, 32 connections, half of the bare proxy's maximum: added latency",
      "p50 <= 0.15, p99 <= 1 ms",
      "ms",
      [
        { name: "p50", summary: added(caseId.open, "weir", "bare", "p50"), most: 0.15 },
        { name: "p99", summary: added(caseId.open, "weir", "bare", "p99"), most: 1 }
      ]
    ),
    row("streams: CPU a chunk, against the bare proxy", "<= 1.3 x", "x", [
      { name: "flat out", summary: ratio(caseId.flatOut, "weir", "bare", "cpuMicros"), most: 1.3 },
      { name: `${ambitionStreams} paced`, summary: ratio(paced, "weir", "bare", "cpuMicros"), most: 1.3 }
    ]),
    row(`${ambitionStreams} paced streams: added time to the first token`, "p50 <= 0.3, p99 <= 2 ms", "ms", [
      { name: "p50", summary: added(paced, "weir", "bare", "ttftP50"), most: 0.3 },
      { name: "p99", summary: added(paced, "weir", "bare", "ttftP99"), most: 2 }
    ]),
    row("memory of an open idle stream, against the bare proxy's", "<= 2 x", "x", [
      { name: "", summary: ratio(caseId.idle, "weir", "bare", "perStreamKiB"), most: 2 }
    ]),
    row("memory after the idle streams have ended, against before", "<= 1.1 x", "x", [
      { name: "", summary: figure(caseId.idle, "weir", "afterRatio"), most: 1.1 },
      { name: "the bare proxy", summary: figure(caseId.idle, "bare", "afterRatio") }
    ]),
    row("memory after they have come and gone a second time, against the first", "<= 1.1 x", "x", [
      { name: "", summary: figure(caseId.idle, "weir", "againRatio"), most: 1.1 }
    ]),
    row("everything on, against default", "<= 1.25 x", "x", [
      { name: "a request", summary: ratio(usual, "weir-full", "weir", "cpuMicros"), most: 1.25 },
      { name: "a chunk", summary: ratio(caseId.flatOut, "weir-full", "weir", "cpuMicros"), most: 1.25 }
    ]),
    row("everything on and 10 % traced, against default", "<= 1.25 x", "x", [
      { name: "a request", summary: ratio(usual, "weir-traces-10", "weir", "cpuMicros"), most: 1.25 },
      { name: "a chunk", summary: ratio(caseId.flatOut, "weir-traces-10", "weir", "cpuMicros"), most: 1.25 }
    ]),
    scaled("backends"),
    scaled("keys"),
    row("an answer of 3 MB: CPU a MB, against the bare proxy", "<= 1.5 x", "x", [
      { name: "", summary: ratio(caseId.large, "weir", "bare", "cpuMicrosPerMegabyte"), most: 1.5 }
    ]),
    growth({ added, figure, ratio })
  ]
}

/** A prompt 16 times as long: what it adds is copying, which the bare proxy does as well. */
const growth = ({ ratio }: Reader): AmbitionResult => {
  const small = caseId.unary(16 * 1024, usualConnections)
  const large = caseId.unary(256 * 1024, usualConnections)
  const weir = ratio(large, "weir", "weir", "cpuMicros", small)
  const bare = ratio(large, "bare", "bare", "cpuMicros", small)
  const measured =
    weir === undefined || bare === undefined
      ? "not measured"
      : `${spread(weir)} x; the bare proxy ${spread(bare)} x; Weir over bare at ` +
        `${sizeName(16 * 1024)} ${spread(ratio(small, "weir", "bare", "cpuMicros"))} x, ` +
        `at ${sizeName(256 * 1024)} ${spread(ratio(large, "weir", "bare", "cpuMicros"))} x`
  return {
    what: "a prompt of 256 KB against one of 16 KB: CPU a request",
    ambition: "grows with the bytes copied",
    measured,
    met: weir === undefined || bare === undefined ? undefined : weir.median <= bare.median * growthSlack
  }
}

/** Beyond the bare proxy's own growth. */
const growthSlack = 1.25
