import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { sessionKey } from "../../src/proxy/Session.ts"
import { holdsFor } from "../Property.ts"

describe("a session", () => {
  it("is there only where the client names one", () => {
    assert.isUndefined(sessionKey(undefined, "m"))
    assert.isUndefined(sessionKey("", "m"))
    assert.isDefined(sessionKey("s", undefined))
  })

  it("is another one with another model", () => {
    assert.notStrictEqual(sessionKey("s", "m"), sessionKey("s", "n"))
    assert.notStrictEqual(sessionKey("s", undefined), sessionKey("s", "m"))
  })

  it("never takes more memory than a short text, however long its name or its model is, and stays itself", () => {
    const texts = fc.string({ minLength: 1, maxLength: 300 })
    holdsFor(fc.tuple(texts, texts, texts), ([name, model, other]) => {
      const key = sessionKey(name, model)
      assert.isAtMost(key?.length ?? 0, 128)
      assert.strictEqual(sessionKey(name, model), key)
      if (other !== model) assert.notStrictEqual(sessionKey(name, other), key)
    })
    assert.isAtMost(sessionKey("s", "m".repeat(10_000_000))?.length ?? 0, 128)
  })
})
