import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { RecencyMap } from "../../src/domain/RecencyMap.ts"
import { collectUntil } from "../Garbage.ts"
import { holdsFor } from "../Property.ts"

/** The same, by looking at everybody: entries from the oldest use to the newest. */
class Plain {
  entries: ReadonlyArray<readonly [key: number, value: number]> = []
  peek(key: number): number | undefined {
    return this.entries.find(([each]) => each === key)?.[1]
  }
  get(key: number): number | undefined {
    const value = this.peek(key)
    if (value !== undefined) this.set(key, value)
    return value
  }
  set(key: number, value: number): void {
    this.delete(key)
    this.entries = [...this.entries, [key, value]]
  }
  delete(key: number): boolean {
    const isThere = this.peek(key) !== undefined
    this.entries = this.entries.filter(([each]) => each !== key)
    return isThere
  }
}

describe("a map in the order of use", () => {
  const key = fc.nat({ max: 40 })
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.record({ what: fc.constant("set" as const), key, value: fc.nat() }) },
    { weight: 2, arbitrary: fc.record({ what: fc.constantFrom("get" as const, "peek" as const), key }) },
    { weight: 2, arbitrary: fc.record({ what: fc.constantFrom("delete" as const), key }) },
    { weight: 1, arbitrary: fc.record({ what: fc.constant("drop" as const) }) }
  )

  it("knows every value, and whose use is the longest ago, whatever was used, written and taken out", () => {
    holdsFor(fc.array(step, { maxLength: 300, size: "max" }), (steps) => {
      const map = new RecencyMap<number, number>()
      const plain = new Plain()
      for (const each of steps) {
        if (each.what === "set") {
          map.set(each.key, each.value)
          plain.set(each.key, each.value)
        } else if (each.what === "drop") {
          const { oldest } = map
          if (oldest !== undefined) assert.isTrue(map.delete(oldest) && plain.delete(oldest))
        } else assert.strictEqual(map[each.what](each.key), plain[each.what](each.key))
        assert.strictEqual(map.size, plain.entries.length)
        assert.strictEqual(map.oldest, plain.entries[0]?.[0])
      }
      for (const [left] of plain.entries) {
        assert.strictEqual(map.oldest, left)
        map.delete(left)
      }
      assert.isUndefined(map.oldest)
    })
  })

  it("lets go of what is taken out", async () => {
    const map = new RecencyMap<object, object>()
    const gone = (() => {
      const key = {}
      const value = {}
      map.set(key, value)
      map.set({}, {})
      map.delete(key)
      return [new WeakRef(key), new WeakRef(value)]
    })()
    assert.isTrue(await collectUntil(() => gone.every((each) => each.deref() === undefined)))
    assert.strictEqual(map.size, 1)
  })
})
