import { assert, describe, it } from "@effect/vitest"
import { RecentMap } from "../../src/resilience/RecentMap.ts"
import { fc } from "../registry/Properties.ts"

describe("a map that forgets", () => {
  it("never has more entries than its capacity", () => {
    const map = new RecentMap<number, number>(100)
    for (let i = 0; i < 1000; i++) {
      map.set(i, i)
      assert.isAtMost(map.size, 100)
    }
    assert.isUndefined(map.get(0))
    assert.strictEqual(map.get(999), 999)
  })

  it("keeps whatever is used on and on, and gives the newest value", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 20 }),
        fc.array(fc.record({ key: fc.nat({ max: 25 }), write: fc.boolean() }), { maxLength: 300, size: "max" }),
        (capacity, uses) => {
          const map = new RecentMap<number, number>(capacity)
          const newest = new Map<number, number>()
          let recent: Array<number> = []
          for (const [index, { key, write }] of uses.entries()) {
            const found = map.get(key)
            if (recent.includes(key)) assert.strictEqual(found, newest.get(key))
            else if (found !== undefined) assert.strictEqual(found, newest.get(key))
            if (write) {
              map.set(key, index)
              newest.set(key, index)
            } else if (found === undefined) continue
            recent = [key, ...recent.filter((other) => other !== key)].slice(0, Math.floor(capacity / 2))
            assert.isAtMost(map.size, capacity)
          }
        }
      )
    )
  })
})
