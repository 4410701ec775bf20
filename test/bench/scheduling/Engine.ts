/**
 * An inference engine with continuous batching, as a model: slots, prefill in chunks and in proportion to the part of
 * the prompt that is not cached, decoding that slows with the batch, a prefix cache that forgets the least recently
 * used. Times are milliseconds; nothing in here looks at a real clock.
 */
import { PrefixCache } from "./PrefixCache.ts"

export interface Job {
  readonly id: number
  readonly arrivedAt: number
  /** Which conversation it belongs to; a number of its own where it belongs to none. */
  readonly session: number
  /** Chained hashes of the prompt's blocks of 64 tokens: equal hashes, equal prompts up to there. */
  readonly prompt: Int32Array
  /** The same for prompt and answer together, which is what is cached in the end. */
  readonly whole: Int32Array
  readonly outputTokens: number
}

/** What an engine of speed 1 is like: a mid-size model on a mid-size GPU. */
export const shape = {
  slots: 32,
  tokensPerBlock: 64,
  /** A decoding step: so long, and so much longer for each sequence in the batch. */
  stepMillis: 8,
  stepMillisPerSequence: 0.25,
  /** Prompt tokens that one step may compute beside decoding, and how long each of them takes. */
  chunkTokens: 512,
  prefillMillisPerToken: 0.1,
  cacheBlocks: 1500
}

interface Running {
  readonly job: Job
  prefillLeft: number
  cachedTokens: number
  decoded: number
}

export interface Finished {
  readonly job: Job
  readonly firstTokenAt: number
  readonly finishedAt: number
  readonly cachedTokens: number
}

export class Engine {
  readonly name: string
  speed: number
  alive = true
  readonly cache = new PrefixCache(shape.cacheBlocks)
  readonly waiting: Array<Job> = []
  running: Array<Running> = []
  /** When the step that is under way ends; `Infinity` when there is nothing to do. */
  stepEndsAt = Number.POSITIVE_INFINITY
  readonly #firstTokenAt = new Map<number, number>()

  constructor(name: string, speed: number) {
    this.name = name
    this.speed = speed
  }

  get load(): number {
    return this.waiting.length + this.running.length
  }

  /** Share of the room for blocks that running sequences take: common blocks once, and not what is only cached. */
  get kvCacheUsage(): number {
    const blocks = new Set<number>()
    let decodedTokens = 0
    for (const { decoded, job } of this.running) {
      for (const block of job.prompt) blocks.add(block)
      decodedTokens += decoded
    }
    return Math.min(1, (blocks.size + decodedTokens / shape.tokensPerBlock) / shape.cacheBlocks)
  }

  /** Prompt tokens that are still to be computed, by what the cache has now; for the baseline that knows everything. */
  backlogTokens(): number {
    let tokens = 0
    for (const { prefillLeft } of this.running) tokens += prefillLeft
    for (const job of this.waiting) tokens += this.uncachedTokens(job)
    return tokens
  }

  uncachedTokens(job: Job): number {
    return (job.prompt.length - this.cache.match(job.prompt)) * shape.tokensPerBlock
  }

  /** Decoding steps until a slot is free, and then another, …: the `n`-th of them from now, 0 where one is free. */
  stepsUntilSlot(n: number): number {
    const left = this.running.map(
      ({ decoded, job, prefillLeft }) => prefillLeft / shape.chunkTokens + job.outputTokens - decoded
    )
    const free = shape.slots - this.running.length
    return n < free ? 0 : (left.toSorted((a, b) => a - b)[n - free] ?? Math.max(0, ...left))
  }

  stepMillis(): number {
    return (shape.stepMillis + shape.stepMillisPerSequence * this.running.length) / this.speed
  }

  submit(job: Job, now: number): void {
    this.waiting.push(job)
    if (this.stepEndsAt === Number.POSITIVE_INFINITY) this.#begin(now)
  }

  /** The end of a step: which requests got a first token, and which are done. */
  step(): { readonly first: ReadonlyArray<Job>; readonly finished: ReadonlyArray<Finished> } {
    const now = this.stepEndsAt
    const first: Array<Job> = []
    const finished: Array<Finished> = []
    let budget = shape.chunkTokens
    for (const sequence of this.running) {
      if (sequence.prefillLeft > 0) {
        const part = Math.min(budget, sequence.prefillLeft)
        sequence.prefillLeft -= part
        budget -= part
        if (sequence.prefillLeft > 0) continue
        this.cache.touch(sequence.job.prompt)
      }
      sequence.decoded++
      if (sequence.decoded === 1) {
        first.push(sequence.job)
        this.#firstTokenAt.set(sequence.job.id, now)
      }
      if (sequence.decoded >= sequence.job.outputTokens) {
        const { cachedTokens, job } = sequence
        finished.push({ job, cachedTokens, finishedAt: now, firstTokenAt: this.#firstTokenAt.get(job.id) ?? now })
        this.#firstTokenAt.delete(job.id)
        this.cache.touch(job.whole)
      }
    }
    this.running = this.running.filter(({ decoded, job }) => decoded < job.outputTokens)
    this.#begin(now)
    return { first, finished }
  }

  /** It is there again, with an empty cache. */
  revive(): ReadonlyArray<Job> {
    this.alive = true
    return []
  }

  /** Everything that it had is gone, its cache too. */
  die(): ReadonlyArray<Job> {
    const lost = [...this.running.map(({ job }) => job), ...this.waiting]
    this.running = []
    this.waiting.length = 0
    this.alive = false
    this.stepEndsAt = Number.POSITIVE_INFINITY
    this.cache.clear()
    this.#firstTokenAt.clear()
    return lost
  }

  #begin(now: number): void {
    while (this.running.length < shape.slots) {
      const job = this.waiting.shift()
      if (job === undefined) break
      const cachedTokens = this.cache.match(job.prompt) * shape.tokensPerBlock
      const prefillLeft = Math.max(1, job.prompt.length * shape.tokensPerBlock - cachedTokens)
      this.cache.touch(job.prompt.subarray(0, cachedTokens / shape.tokensPerBlock))
      this.running.push({ job, prefillLeft, cachedTokens, decoded: 0 })
    }
    if (this.running.length === 0) {
      this.stepEndsAt = Number.POSITIVE_INFINITY
      return
    }
    let chunk = 0
    for (const { prefillLeft } of this.running) chunk += prefillLeft
    const prefill = (Math.min(chunk, shape.chunkTokens) * shape.prefillMillisPerToken) / this.speed
    this.stepEndsAt = now + this.stepMillis() + prefill
  }
}
