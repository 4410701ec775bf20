/**
 * Continuous batching as a plain state machine: what waits, what runs, and when the next token of each is due. It knows
 * no clock; the {@link Engine} tells it the time.
 */
import type { Settings } from "./Options.ts"
import { makePrefixCache } from "./PrefixCache.ts"
import type { Prompt } from "./Tokens.ts"

/** Why a generation ends, as the metrics name it. */
export type FinishReason = "stop" | "length" | "tool_calls"

/** What is asked of the engine. */
export interface Job {
  readonly prompt: Prompt
  /** 0 for work that ends with its prefill, such as an embedding. */
  readonly outputTokens: number
  readonly reason: FinishReason
  /** A disturbance: after so many tokens nothing comes for so many milliseconds (`Infinity`: for ever). */
  readonly pause?: { readonly after: number; readonly millis: number } | undefined
}

/** A job on its way, and what to tell. */
export interface Sequence {
  readonly job: Job
  readonly onStart: (cachedTokens: number) => void
  readonly onToken: () => void
  readonly onFinish: () => void
  cached: number
  emitted: number
  /** When its next token is due; `undefined`: with the next step of the batch. */
  dueAt: number | undefined
  /** Whether the job's pause is behind it. */
  paused: boolean
}

/** What the engine has done since the last reset. */
export interface Totals {
  promptTokens: number
  cachedTokens: number
  generatedTokens: number
  maxRunning: number
  readonly finished: Record<FinishReason, number>
}

export interface Batch {
  readonly join: (sequence: Sequence, now: number) => void
  /** Frees the place at once, in whatever phase; a sequence that is through is left alone. */
  readonly leave: (sequence: Sequence, now: number) => void
  /** Hands out all tokens that are due. */
  readonly advance: (now: number) => void
  /** When {@link advance} has something to do next. */
  readonly nextAt: () => number | undefined
  readonly running: () => number
  readonly waiting: () => number
  /** Tokens that running sequences hold. */
  readonly heldTokens: () => number
  readonly totals: () => Readonly<Totals>
  readonly reset: (cacheToo: boolean) => void
}

export type BatchSettings = Pick<Settings, "ttft" | "itl" | "prefill" | "slowdown" | "slots" | "cacheTokens">

export const makeBatch = (settings: BatchSettings): Batch => {
  const cache = makePrefixCache(settings.cacheTokens)
  const queue: Array<Sequence> = []
  const active = new Set<Sequence>()
  let totals = noTotals(0)
  let stepAt: number | undefined

  const admit = (now: number): void => {
    while (active.size < settings.slots) {
      const next = queue.shift()
      if (next === undefined) return
      const { pause, prompt } = next.job
      next.cached = cache.match(prompt)
      const compute = settings.ttft + (settings.prefill * (prompt.tokens - next.cached)) / 1000
      next.paused = pause?.after === 0
      next.dueAt = now + compute + (pause?.after === 0 ? pause.millis : 0)
      active.add(next)
      totals.promptTokens += prompt.tokens
      totals.cachedTokens += next.cached
      totals.maxRunning = Math.max(totals.maxRunning, active.size)
    }
  }

  const finish = (sequence: Sequence): void => {
    active.delete(sequence)
    totals.finished[sequence.job.reason]++
    sequence.onFinish()
  }

  const emit = (sequence: Sequence, now: number): void => {
    if (sequence.emitted === 0) {
      cache.store(sequence.job.prompt)
      sequence.onStart(sequence.cached)
    }
    if (sequence.emitted < sequence.job.outputTokens) {
      sequence.emitted++
      totals.generatedTokens++
      sequence.onToken()
    }
    const { outputTokens, pause } = sequence.job
    if (pause !== undefined && !sequence.paused && pause.after <= sequence.emitted) {
      sequence.paused = true
      sequence.dueAt = now + pause.millis
      return
    }
    sequence.dueAt = undefined
    if (sequence.emitted >= outputTokens) finish(sequence)
  }

  const interval = (): number => settings.itl * (1 + settings.slowdown * Math.max(0, active.size - 1))
  const stepping = (): ReadonlyArray<Sequence> => [...active].filter(({ dueAt }) => dueAt === undefined)

  const advance = (now: number): void => {
    const inStep = stepAt !== undefined && stepAt <= now ? stepping() : []
    const due = [...active].filter(({ dueAt }) => dueAt !== undefined && dueAt <= now)
    for (const sequence of [...inStep, ...due]) emit(sequence, now)
    admit(now)
    if (stepping().length === 0) stepAt = undefined
    else if (stepAt === undefined) stepAt = now + interval()
    else if (stepAt <= now) stepAt = Math.max(stepAt + interval(), now)
  }

  const nextAt = (): number | undefined => {
    const times = [...active].flatMap(({ dueAt }) => (dueAt !== undefined && Number.isFinite(dueAt) ? [dueAt] : []))
    if (stepAt !== undefined) times.push(stepAt)
    return times.length === 0 ? undefined : Math.min(...times)
  }

  return {
    join: (sequence, now) => {
      queue.push(sequence)
      admit(now)
    },
    leave: (sequence, now) => {
      const place = queue.indexOf(sequence)
      if (place !== -1) queue.splice(place, 1)
      if (active.delete(sequence)) admit(now)
    },
    advance,
    nextAt,
    running: () => active.size,
    waiting: () => queue.length,
    heldTokens: () => [...active].reduce((sum, { emitted, job }) => sum + job.prompt.tokens + emitted, 0),
    totals: () => totals,
    reset: (cacheToo) => {
      totals = noTotals(active.size)
      if (cacheToo) cache.clear()
    }
  }
}

const noTotals = (running: number): Totals => ({
  promptTokens: 0,
  cachedTokens: 0,
  generatedTokens: 0,
  maxRunning: running,
  finished: { stop: 0, length: 0, tool_calls: 0 }
})
