/** What clients ask for: independent prompts, or conversations and agents that come back with more of the same. */
import { type Job, shape } from "./Engine.ts"
import { Random } from "./Random.ts"

/** Jobs in order of arrival; the same seed gives the same jobs at every rate, only closer together. */
export interface Workload {
  readonly name: string
  readonly speeds: ReadonlyArray<number>
  readonly jobs: (ratePerSecond: number, count: number, seed: number) => ReadonlyArray<Job>
}

const equal = Array.from({ length: 8 }, () => 1)
const unequal = [1, 1, 1, 1, 2, 2, 4, 4]

const blocksOf = (tokens: number) => Math.max(1, Math.round(tokens / shape.tokensPerBlock))

/** Blocks that no other prompt has, chained behind `before`. */
const extend = (before: Int32Array, blocks: number, random: Random): Int32Array => {
  const whole = new Int32Array(before.length + blocks)
  whole.set(before)
  for (let index = before.length; index < whole.length; index++) whole[index] = random.below(0x7fffffff)
  return whole
}

const nothing = new Int32Array(0)

const independent: Workload["jobs"] = (ratePerSecond, count, seed) => {
  const random = new Random(seed)
  let at = 0
  return Array.from({ length: count }, (_, id) => {
    at += random.exponential(1000 / ratePerSecond)
    const prompt = extend(nothing, blocksOf(Math.min(8000, random.lognormal(600, 0.9))), random)
    const outputTokens = Math.ceil(Math.min(1500, random.lognormal(120, 0.7)))
    const whole = extend(prompt, blocksOf(outputTokens), random)
    return { id, arrivedAt: at, session: id, prompt, whole, outputTokens }
  })
}

interface Conversation {
  readonly session: number
  context: Int32Array
  turnsLeft: number
}

/** How many are under way at once, and what they begin with. */
const conversations = { active: 200, systems: 12, systemTokens: 1500, turns: 8, wordsTokens: 120 }

/**
 * Chats and agents: each begins with one of a few system prompts (a few of them far more common than the others), and
 * each turn is the whole of what was said before with a little more. Whose turn is next is up to chance.
 */
const conversing: Workload["jobs"] = (ratePerSecond, count, seed) => {
  const random = new Random(seed)
  const systems = Array.from({ length: conversations.systems }, () =>
    extend(nothing, blocksOf(conversations.systemTokens * (0.5 + random.next())), random)
  )
  let session = 0
  const begin = (): Conversation => ({
    session: session++,
    context: systems[Math.floor(conversations.systems * random.next() ** 2)] ?? nothing,
    turnsLeft: 1 + random.below(2 * conversations.turns)
  })
  const active = Array.from({ length: conversations.active }, begin)
  let at = 0
  return Array.from({ length: count }, (_, id) => {
    at += random.exponential(1000 / ratePerSecond)
    const index = random.below(active.length)
    const conversation = active[index] ?? begin()
    const prompt = extend(conversation.context, blocksOf(random.lognormal(conversations.wordsTokens, 0.6)), random)
    const outputTokens = Math.ceil(Math.min(800, random.lognormal(100, 0.6)))
    const whole = extend(prompt, blocksOf(outputTokens), random)
    conversation.context = whole
    conversation.turnsLeft--
    if (conversation.turnsLeft <= 0) active[index] = begin()
    return { id, arrivedAt: at, session: conversation.session, prompt, whole, outputTokens }
  })
}

/** One application: all of its requests begin with the same long instructions, and no conversation goes on. */
const instructed: Workload["jobs"] = (ratePerSecond, count, seed) => {
  const random = new Random(seed)
  const instructions = extend(nothing, blocksOf(conversations.systemTokens), random)
  let at = 0
  return Array.from({ length: count }, (_, id) => {
    at += random.exponential(1000 / ratePerSecond)
    const prompt = extend(instructions, blocksOf(Math.min(4000, random.lognormal(250, 0.8))), random)
    const outputTokens = Math.ceil(Math.min(1500, random.lognormal(120, 0.7)))
    const whole = extend(prompt, blocksOf(outputTokens), random)
    return { id, arrivedAt: at, session: id, prompt, whole, outputTokens }
  })
}

export const workloads = {
  equal: { name: "a: 8 equal engines", speeds: equal, jobs: independent },
  unequal: { name: "b: 8 engines of speeds 1 1 1 1 2 2 4 4", speeds: unequal, jobs: independent },
  conversing: { name: "c: chats and agents with shared system prompts", speeds: equal, jobs: conversing },
  instructed: { name: "f: one application with one long system prompt", speeds: equal, jobs: instructed },
  slowing: { name: "d: one engine turns ten times slower half-way", speeds: equal, jobs: independent },
  dying: { name: "e: one engine dies and comes back", speeds: equal, jobs: independent }
} as const satisfies Record<string, Workload>

export type WorkloadName = keyof typeof workloads
