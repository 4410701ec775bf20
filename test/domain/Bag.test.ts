import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { Bag, type Bagged } from "../../src/domain/Bag.ts"

interface One extends Bagged {
  readonly name: number
}

const namesIn = (bag: Bag<One>): ReadonlyArray<number> => {
  const names: Array<number> = []
  bag.each(({ name }) => names.push(name))
  return names.toSorted((a, b) => a - b)
}

describe("a bag", () => {
  it("holds what a set would hold, whatever is added and taken out", () => {
    const steps = fc.array(fc.record({ adds: fc.boolean(), name: fc.nat(9) }), { maxLength: 60 })
    fc.assert(
      fc.property(steps, (steps) => {
        const all = Array.from({ length: 10 }, (_, name): One => ({ name }))
        const bag = new Bag<One>()
        const model = new Set<number>()
        for (const { adds, name } of steps) {
          const one = all[name]
          if (one === undefined) continue
          if (adds) bag.add(one)
          else bag.delete(one)
          if (adds) model.add(name)
          else model.delete(name)
          assert.strictEqual(bag.size, model.size)
        }
        assert.deepStrictEqual(
          namesIn(bag),
          [...model].toSorted((a, b) => a - b)
        )
      })
    )
  })

  it("visits all that stay in it, each at least once, while its visitors add and take out", () => {
    const plans = fc.record({ size: fc.nat(12), takes: fc.array(fc.tuple(fc.nat(11), fc.nat(11)), { maxLength: 12 }) })
    fc.assert(
      fc.property(plans, ({ size, takes }) => {
        const all = Array.from({ length: size }, (_, name): One => ({ name }))
        const bag = new Bag<One>()
        for (const one of all) bag.add(one)
        const gone = new Set<number>()
        const visited = new Set<number>()
        let added = 100
        bag.each(({ name }) => {
          visited.add(name)
          for (const [at, taken] of takes) {
            const one = all[taken]
            if (at !== name || one === undefined) continue
            bag.delete(one)
            gone.add(taken)
            bag.add({ name: added++ })
          }
        })
        for (const { name } of all) assert.isTrue(visited.has(name) || gone.has(name), String(name))
      })
    )
  })
})
