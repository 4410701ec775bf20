/** Where a prompt's beginning probably is cached: its blocks, the index over them, and the strategy. */
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { PrefixIndex } from "../../src/scheduler/PrefixIndex.ts"
import { blockBytes, type PromptBlocks, promptBlocks } from "../../src/scheduler/PromptBlocks.ts"
import { holdsFor } from "../Property.ts"
import { type FleetLike, nameOf, seededRandom, withFleet } from "./Fleet.ts"

interface Message {
  readonly role: string
  readonly content: string
}

/** A body from its prompt on. */
const bodyOf = (messages: ReadonlyArray<Message>, more: object = {}): Uint8Array =>
  Buffer.from(JSON.stringify({ messages, stream: true, ...more }).slice('{"messages":'.length))

const text = (length: number, seed: number): string => {
  const roll = seededRandom(seed)
  return Array.from({ length }, () => String.fromCharCode(97 + roll(26))).join("")
}

const shared = (a: PromptBlocks, b: PromptBlocks): number => {
  let count = 0
  while (count < Math.min(a.length, b.length) && a[count] === b[count]) count++
  return count
}

describe("the blocks of a prompt", () => {
  const system = { role: "system", content: text(2000, 1) }
  const first = { role: "user", content: text(300, 2) }

  it("are those of the turn before, with more behind them, in a conversation that grows", () => {
    const before = promptBlocks(bodyOf([system, first]), 1)
    const after = promptBlocks(
      bodyOf([system, first, { role: "assistant", content: text(700, 3) }, { role: "user", content: text(300, 4) }]),
      1
    )
    // The last block of the turn before may hold what closed its body.
    assert.isAtLeast(shared(before, after), before.length - 1)
    assert.isAbove(after.length, before.length)
  })

  it("are shared as far as the prompts are", () => {
    const one = promptBlocks(bodyOf([system, { role: "user", content: text(600, 5) }]), 1)
    const other = promptBlocks(bodyOf([system, { role: "user", content: text(600, 6) }]), 1)
    // Up to where the second message's content begins.
    const common = JSON.stringify([system, { role: "user", content: "" }]).length - '"}]'.length
    assert.strictEqual(shared(one, other), Math.floor(common / blockBytes))
  })

  it("have nothing in common once something differs, even where the same follows", () => {
    const [one, other] = ["x", "y"].map((letter) => promptBlocks(bodyOf([{ role: letter, content: text(2000, 1) }]), 1))
    assert.isDefined(one)
    assert.isDefined(other)
    assert.isEmpty([...one].filter((block) => other.includes(block)))
  })

  it("are others for another model", () => {
    const body = bodyOf([system, first])
    assert.strictEqual(shared(promptBlocks(body, 1), promptBlocks(body, 2)), 0)
  })

  it("do not depend on where in memory the body lies", () => {
    const body = bodyOf([system, first])
    for (const offset of [1, 2, 3, 7]) {
      const whole = new Uint8Array(body.length + offset)
      whole.set(body, offset)
      assert.deepStrictEqual(promptBlocks(whole.subarray(offset), 1), promptBlocks(body, 1))
    }
  })

  it("are none for what is shorter than one, and bounded for what is long", () => {
    assert.strictEqual(promptBlocks(Buffer.from("{}"), 1).length, 0)
    assert.strictEqual(promptBlocks(new Uint8Array(0), 1).length, 0)
    assert.strictEqual(promptBlocks(bodyOf([{ role: "user", content: text(200_000, 1) }]), 1).length, 256)
  })
})

interface Life {
  readonly name: string
  generation: number
}

/** What an engine would have, block by block: the least recently used forgotten first, ends before beginnings. */
class Remembered {
  #blocks: ReadonlyArray<number> = []
  readonly #room: number
  constructor(room: number) {
    this.#room = room
  }
  learn(prompt: PromptBlocks): void {
    const own = new Set(prompt)
    this.#blocks = [...this.#blocks.filter((block) => !own.has(block)), ...[...prompt].toReversed()].slice(-this.#room)
  }
  match(prompt: PromptBlocks): number {
    return prompt.findLastIndex((block) => this.#blocks.includes(block)) + 1
  }
}

/** Prompts as chains: some share their beginning with others. */
const chain = (path: ReadonlyArray<number>): PromptBlocks => {
  let hash = 7
  return Int32Array.from(path, (step) => (hash = Math.imul(hash ^ step, 0x01000193) ^ (hash >>> 13)))
}

const paths = fc.array(fc.integer({ min: 0, max: 2 }), { minLength: 1, maxLength: 8 })

describe("the index of prefixes", () => {
  it("knows the longest prefix that each holder has, as the holder itself would", () => {
    const steps = fc.array(fc.record({ holder: fc.nat({ max: 2 }), path: paths }), { maxLength: 60 })
    holdsFor(fc.record({ steps, asked: fc.array(paths, { minLength: 1, maxLength: 8 }) }), ({ asked, steps }) => {
      const index = new PrefixIndex<Life>({ total: 1000, each: 12 })
      const holders = ["a", "b", "c"].map((name) => ({ life: { name, generation: 0 }, has: new Remembered(12) }))
      for (const { holder, path } of steps) {
        const to = holders[holder]
        if (to === undefined) continue
        index.learn(to.life, chain(path))
        to.has.learn(chain(path))
      }
      for (const path of asked) {
        const held = index.match(chain(path))
        for (const { has, life } of holders) assert.strictEqual(held(life), has.match(chain(path)), life.name)
      }
    })
  })

  it("never holds more blocks than it may, over all holders and over one", () => {
    holdsFor(fc.array(fc.record({ holder: fc.nat({ max: 5 }), path: paths }), { maxLength: 80 }), (steps) => {
      const bounds = { total: 30, each: 10 }
      const index = new PrefixIndex<Life>(bounds)
      const lives = Array.from({ length: 6 }, (_, holder): Life => ({ name: `${holder}`, generation: 0 }))
      for (const { holder, path } of steps) {
        const life = lives[holder]
        if (life !== undefined) index.learn(life, chain(path))
        assert.isAtMost(index.size, bounds.total)
      }
    })
    const index = new PrefixIndex<Life>({ total: 1000, each: 10 })
    const life = { name: "a", generation: 0 }
    for (let n = 0; n < 50; n++) index.learn(life, chain([n, 1, 2]))
    assert.strictEqual(index.size, 10)
  })

  it("forgets what was not used for the longest, and of a prompt its end before its beginning", () => {
    const index = new PrefixIndex<Life>({ total: 1000, each: 6 })
    const life = { name: "a", generation: 0 }
    index.learn(life, chain([1, 1, 1]))
    index.learn(life, chain([2, 2, 2]))
    index.learn(life, chain([1, 1, 1]))
    index.learn(life, chain([3, 3]))
    assert.deepStrictEqual(
      [
        [1, 1, 1],
        [2, 2, 2],
        [3, 3]
      ].map((path) => index.match(chain(path))(life)),
      [3, 1, 2]
    )
  })

  it("knows nothing of a holder that was started anew, and learns again", () => {
    const index = new PrefixIndex<Life>()
    const life = { name: "a", generation: 0 }
    index.learn(life, chain([1, 2, 3]))
    life.generation++
    assert.strictEqual(index.match(chain([1, 2, 3]))(life), 0)
    index.learn(life, chain([1, 2]))
    assert.strictEqual(index.match(chain([1, 2, 3]))(life), 2)
    assert.strictEqual(index.size, 2)
  })
})

describe("prefix_aware", () => {
  const fleet = (...names: ReadonlyArray<string>): FleetLike => ({
    backends: names.map((name) => ({ name })),
    pool: { strategy: "prefix_aware" }
  })
  const promptOf = (system: number, user: number) =>
    promptBlocks(
      bodyOf([
        { role: "system", content: text(3000, system) },
        { role: "user", content: text(600, user) }
      ]),
      1
    )

  it.effect("sends a conversation to where it was before", () =>
    withFleet(fleet("a", "b", "c", "d"), (on) => {
      const homes = [1, 2, 3, 4, 5, 6].map((system) => on.choice({ prompt: promptOf(system, 1) }))
      for (let round = 0; round < 5; round++) {
        const found = [1, 2, 3, 4, 5, 6].map((system) => on.choice({ prompt: promptOf(system, 2 + round) }))
        assert.deepStrictEqual(found, homes)
      }
    })
  )

  it.effect("does not send all of them to the holders of a hot beginning: a few more each than the others have", () =>
    withFleet(fleet("a", "b", "c", "d", "e", "f", "g", "h"), (on) => {
      const names = [...on.snapshot.backends.keys()]
      for (let n = 1; n <= 400; n++) {
        on.lease({ prompt: promptOf(1, n) })
        const counts = names.map((name) => on.state(name).inflight)
        assert.isAtMost(Math.max(...counts) - Math.min(...counts), 20)
      }
    })
  )

  it.effect("knows what a session brought to its backend, though the strategy did not choose it", () =>
    withFleet(fleet("a", "b", "c"), (on) => {
      const home = on.choice({ session: "s", prompt: promptOf(1, 1) })
      assert.strictEqual(on.choice({ session: "s", prompt: promptOf(2, 1) }), home)
      // A request without a session has the same prompt.
      assert.strictEqual(on.choice({ prompt: promptOf(2, 2) }), home)
    })
  )

  it.effect("forgets a backend that was started anew", () =>
    withFleet(fleet("a", "b"), (on) => {
      const home = on.choice({ prompt: promptOf(1, 1) })
      const other = home === "a" ? "b" : "a"
      // A little busier: a cache is worth that, an empty cache is not.
      on.with(home, { inflight: 1 })
      assert.strictEqual(on.choice({ prompt: promptOf(1, 2) }), home)
      on.state(home).reported({ running: 1, waiting: 0, kvCacheUsage: 0, startedAt: 1 }, on.now)
      on.state(home).reported({ running: 1, waiting: 0, kvCacheUsage: 0, startedAt: 2 }, on.now)
      assert.strictEqual(on.choice({ prompt: promptOf(1, 3) }), other)
    })
  )

  it.effect("goes by load alone for prompts that no backend has, and for requests without one", () =>
    withFleet(fleet("a", "b", "c"), (on) => {
      on.with("a", { inflight: 4 })
      on.with("b", { inflight: 2 })
      assert.strictEqual(on.choice({ prompt: promptOf(9, 9) }), "c")
      assert.deepStrictEqual([nameOf(on.lease()), nameOf(on.lease())], ["c", "c"])
    })
  )
})
