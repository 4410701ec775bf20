/** Requests and whole answers: as fast as they are answered, or at a fixed rate. */
import { once } from "node:events"
import { Worker } from "node:worker_threads"
import { quantile, Samples } from "../Statistics.ts"
import { Client } from "../wire/Client.ts"
import type { Figures, UnaryJob } from "./Job.ts"
import { unaryRequest } from "./Requests.ts"
import { measure, sourceOf, type Window } from "./Window.ts"

interface Tally {
  readonly window: Window
  readonly latencies: Samples
  readonly buffer: Buffer
  answered: number
  failed: number
  stopped: boolean
}

/** When a request counts from: its sending, or the moment at which it was due. */
interface Lane {
  /** Sends a request that counts from `since`; only while the lane is idle. */
  readonly ask: (since: number) => void
  readonly close: () => void
}

/** One connection, which reconnects when it is closed. `onIdle`: it can be asked. */
const makeLane = (tally: Tally, job: UnaryJob, request: Buffer, index: number, onIdle: (lane: Lane) => void): Lane => {
  let since = 0
  let status = 0
  let client: Client | undefined
  const lane: Lane = {
    ask: (from) => {
      since = from
      client?.send(request)
    },
    close: () => client?.destroy()
  }
  const open = () => {
    client = new Client({ port: job.port, source: sourceOf(index) }, tally.buffer, {
      onOpen: () => onIdle(lane),
      onStatus: (given) => {
        status = given
      },
      onData: () => {},
      onEnd: () => {
        if (tally.window.isOpen) {
          if (status === 200) {
            tally.answered++
            tally.latencies.add(performance.now() - since)
          } else tally.failed++
        }
        if (!tally.stopped) onIdle(lane)
      },
      onClose: (isWithin) => {
        if (tally.stopped) return
        if (isWithin && tally.window.isOpen) tally.failed++
        // Not at once: a subject that refuses connections is not to be asked in a tight loop.
        setTimeout(open, 10)
      }
    })
  }
  open()
  return lane
}

export const runUnary = async (job: UnaryJob, buffer: Buffer): Promise<Figures> => {
  const window: Window = { isOpen: false }
  const tally: Tally = { window, latencies: new Samples(), buffer, answered: 0, failed: 0, stopped: false }
  const request = unaryRequest(job.bodyBytes, job.port, job.headers, job.answerBytes)
  const dealer = job.rate === undefined ? asSoonAsAnswered : await dueAt(job.rate, job.warmup + job.window)
  const lanes = Array.from({ length: job.connections }, (_, index) =>
    makeLane(tally, job, request, index, dealer.onIdle)
  )
  const { cpuMillis, seconds, waited } = await measure(window, job)
  tally.stopped = true
  dealer.stop()
  for (const lane of lanes) lane.close()
  const sorted = tally.latencies.sorted()
  const cpuMicros = (cpuMillis * 1000) / tally.answered
  return {
    requestsPerSecond: tally.answered / seconds,
    failed: tally.failed,
    waited,
    ...(tally.answered > 0 && {
      cpuMicros,
      p50: quantile(sorted, 0.5),
      p99: quantile(sorted, 0.99)
    }),
    ...(job.answerBytes !== undefined &&
      tally.answered > 0 && { cpuMicrosPerMegabyte: cpuMicros / (job.answerBytes / 1e6) }),
    ...(job.rate !== undefined && { kept: tally.answered / (job.rate * seconds) })
  }
}

interface Dealer {
  readonly onIdle: (lane: Lane) => void
  readonly stop: () => void
}

const asSoonAsAnswered: Dealer = { onIdle: (lane) => lane.ask(performance.now()), stop: () => {} }

/** Requests that find no idle lane wait for one, and their time runs. Returns when the clock ticks. */
const dueAt = async (rate: number, millis: number): Promise<Dealer> => {
  const interval = 1000 / rate
  const idle: Array<Lane> = []
  const waiting: Array<number> = []
  const ticker = new Worker(new URL("./Ticker.ts", import.meta.url), { workerData: { interval, millis } })
  await once(ticker, "message")
  const startedAt = performance.now()
  let next = 0
  ticker.on("message", () => {
    for (let due = startedAt + next * interval; due <= performance.now(); due = startedAt + ++next * interval) {
      const lane = idle.pop()
      if (lane === undefined) waiting.push(due)
      else lane.ask(due)
    }
  })
  return {
    onIdle: (lane) => {
      const due = waiting.shift()
      if (due === undefined) idle.push(lane)
      else lane.ask(due)
    },
    stop: () => void ticker.terminate()
  }
}
