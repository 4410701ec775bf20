/** Many streams at once, each followed by the next on its connection, and what their events went through. */
import { quantile, Samples } from "../Statistics.ts"
import { Client } from "../wire/Client.ts"
import { EventReader, nowNanos } from "../wire/Events.ts"
import type { Figures, StreamsJob } from "./Job.ts"
import { streamRequest } from "./Requests.ts"
import { measure, sourceOf, type Window } from "./Window.ts"

/** A pause that a reader notices, in milliseconds. */
const stallMillis = 100

/** The share of the warm-up in which the streams begin. */
const beginning = 0.8

interface Tally {
  readonly window: Window
  readonly buffer: Buffer
  readonly firsts: Samples
  readonly delays: Samples
  /** Between an event and the next one, as the client sees them. */
  readonly gaps: Samples
  events: number
  /** Chunks of the body, as the subject sent them. */
  pieces: number
  stalls: number
  ended: number
  failed: number
  stopped: boolean
}

/** One connection's streams, the first of them cut to `firstChunks` so that not all begin and end together. */
const makeLane = (tally: Tally, job: StreamsJob, next: Buffer, firstChunks: number, index: number): Client => {
  const { window } = tally
  let isFirst = true
  let askedAt = 0
  /** Asked in the warm-up, when everything still connects: its first event says nothing. */
  let isWarming = true
  let lastAt = 0
  let now = 0
  let status = 0
  const reader = new EventReader({
    onEvent: (sentAt) => {
      if (window.isOpen) {
        tally.events++
        tally.delays.add((now - sentAt) / 1e6)
        if (lastAt > 0) {
          const gap = (now - lastAt) / 1e6
          tally.gaps.add(gap)
          if (gap > stallMillis) tally.stalls++
        } else if (!isWarming) tally.firsts.add((now - askedAt) / 1e6)
      }
      lastAt = now
    },
    onForeign: () => {
      if (window.isOpen) tally.failed++
    }
  })
  const ask = () => {
    const shape = { chunks: isFirst ? firstChunks : job.chunks, pace: job.pace }
    const request = isFirst ? streamRequest(shape, job.port, job.headers) : next
    isFirst = false
    lastAt = 0
    isWarming = !window.isOpen
    reader.reset()
    askedAt = nowNanos()
    client.send(request)
  }
  const client = new Client({ port: job.port, source: sourceOf(index) }, tally.buffer, {
    onOpen: ask,
    onStatus: (given) => {
      status = given
    },
    onData: (bytes, from, to) => {
      now = nowNanos()
      if (window.isOpen) tally.pieces++
      reader.push(bytes, from, to)
    },
    onEnd: () => {
      if (window.isOpen) {
        if (status === 200) tally.ended++
        else tally.failed++
      }
      if (!tally.stopped) ask()
    },
    onClose: () => {
      if (!tally.stopped) tally.failed++
    }
  })
  return client
}

export const runStreams = async (job: StreamsJob, buffer: Buffer): Promise<Figures> => {
  const tally: Tally = {
    window: { isOpen: false },
    buffer,
    firsts: new Samples(),
    delays: new Samples(),
    gaps: new Samples(),
    events: 0,
    pieces: 0,
    stalls: 0,
    ended: 0,
    failed: 0,
    stopped: false
  }
  const next = streamRequest({ chunks: job.chunks, pace: job.pace }, job.port, job.headers)
  const lanes: Array<Client> = []
  // Begun over most of the warm-up, so that neither the beginnings nor the events come in step.
  const starting = Array.from({ length: job.streams }, (_, index) =>
    setTimeout(
      () => {
        const firstChunks = 2 + Math.round(((job.chunks - 2) * (index + 1)) / job.streams)
        lanes.push(makeLane(tally, job, next, firstChunks, index))
      },
      job.warmup * beginning * (index / job.streams)
    )
  )
  const { cpuMillis, seconds, waited } = await measure(tally.window, job)
  tally.stopped = true
  for (const timer of starting) clearTimeout(timer)
  for (const lane of lanes) lane.destroy()
  const firsts = tally.firsts.sorted()
  const delays = tally.delays.sorted()
  const gaps = tally.gaps.sorted()
  return {
    eventsPerSecond: tally.events / seconds,
    firsts: firsts.length,
    stalls: tally.stalls,
    ended: tally.ended,
    failed: tally.failed,
    waited,
    ...(tally.events > 0 && {
      cpuMicros: (cpuMillis * 1000) / tally.events,
      eventsPerPiece: tally.events / Math.max(1, tally.pieces),
      delayP50: quantile(delays, 0.5),
      delayP99: quantile(delays, 0.99)
    }),
    ...(gaps.length > 0 && { gapP50: quantile(gaps, 0.5), gapP99: quantile(gaps, 0.99) }),
    ...(firsts.length > 0 && { ttftP50: quantile(firsts, 0.5), ttftP99: quantile(firsts, 0.99) }),
    ...(job.pace > 0 && { kept: tally.events / ((job.streams * 1000 * seconds) / job.pace) })
  }
}
