/**
 * Which engine probably has what in its prefix cache: learnt from what was routed, forgotten as an engine forgets, the least
 * recently used first. One table for all holders, so that looking up a prompt does not cost more with more of them.
 */
import { LRUCache } from "lru-cache"
import type { PromptBlocks } from "./PromptBlocks.ts"

/** What can hold blocks: one whose generation has changed has restarted, and has nothing any more. */
export interface Holder {
  readonly generation: number
}

/** What the table may cost: blocks over all holders (some 230 bytes each), and over one of them. */
export interface PrefixBounds {
  readonly total: number
  readonly each: number
}

/** One holder is credited with about a million tokens, more than most engines have room for; all of them with 16. */
export const defaultBounds: PrefixBounds = { total: 250_000, each: 16_384 }

/** A large Map is now and then built anew as a whole, which no request should have to wait for: so there are many small ones. */
const shardCount = 256

interface Holding {
  readonly generation: number
  /** Each under itself. */
  readonly blocks: LRUCache<number, number>
}

/** Mutable by design: it is written with every choice. */
export class PrefixIndex<H extends Holder> {
  readonly #bounds: PrefixBounds
  /** Their use is to learn. Bounded by the blocks, since there is none without any. */
  readonly #holdings = new LRUCache<H, Holding>({ maxSize: Number.MAX_SAFE_INTEGER, sizeCalculation: () => 1 })
  /** Which holders have a block. */
  readonly #holders: ReadonlyArray<Map<number, Array<H>>> = Array.from({ length: shardCount }, () => new Map())
  #size = 0

  constructor(bounds: PrefixBounds = defaultBounds) {
    this.#bounds = bounds
  }

  /** Blocks over all holders. */
  get size(): number {
    return this.#size
  }

  /** How many blocks from the beginning of a prompt each holder has. */
  match(prompt: PromptBlocks): (holder: H) => number {
    const found = new Map<H, number>()
    for (let depth = prompt.length; depth > 0; depth--) {
      const block = prompt[depth - 1] ?? 0
      const holders = this.#shardOf(block)?.get(block)
      if (holders === undefined) continue
      for (const holder of holders) {
        if (found.has(holder)) continue
        found.set(holder, this.#holdings.peek(holder)?.generation === holder.generation ? depth : 0)
      }
      // What has this block has all before it: once all are found, the shorter prefixes add none.
      if (found.size === this.#holdings.size) break
    }
    return (holder) => found.get(holder) ?? 0
  }

  /** The prompt goes to this holder, which will have it. */
  learn(holder: H, prompt: PromptBlocks): void {
    if (prompt.length === 0) return
    const { blocks } = this.#holdingOf(holder)
    // From the end to the beginning: what many prompts have in common is the last to be forgotten.
    for (let depth = prompt.length; depth > 0; depth--) {
      const block = prompt[depth - 1] ?? 0
      if (blocks.get(block) !== undefined) continue
      this.#credit(holder, block)
      blocks.set(block, block)
    }
    while (this.#size > this.#bounds.total) {
      const { value: stalest } = this.#holdings.rkeys().next()
      const holding = stalest && this.#holdings.peek(stalest)
      if (stalest === undefined || holding === undefined) return
      this.#trim(stalest, holding.blocks, holding.blocks.size - (this.#size - this.#bounds.total))
    }
  }

  #holdingOf(holder: H): Holding {
    const known = this.#holdings.get(holder)
    if (known?.generation === holder.generation) return known
    if (known !== undefined) this.#trim(holder, known.blocks, 0)
    const blocks = new LRUCache<number, number>({
      maxSize: this.#bounds.each,
      sizeCalculation: () => 1,
      dispose: (block) => this.#discredit(holder, block)
    })
    const holding = { generation: holder.generation, blocks }
    this.#holdings.set(holder, holding)
    return holding
  }

  #credit(holder: H, block: number): void {
    this.#size++
    const shard = this.#shardOf(block)
    const holders = shard?.get(block)
    if (holders === undefined) shard?.set(block, [holder])
    else holders.push(holder)
  }

  #discredit(holder: H, block: number): void {
    this.#size--
    const shard = this.#shardOf(block)
    const holders = shard?.get(block)
    if (holders === undefined || holders.length === 1) shard?.delete(block)
    else holders.splice(holders.indexOf(holder), 1)
  }

  #shardOf(block: number): Map<number, Array<H>> | undefined {
    return this.#holders[block & (shardCount - 1)]
  }

  /** Takes from a holder what it used least recently; one that has nothing left is no holder any more. */
  #trim(holder: H, blocks: Holding["blocks"], limit: number): void {
    while (blocks.size > Math.max(0, limit)) blocks.pop()
    if (blocks.size === 0) this.#holdings.delete(holder)
  }
}
