import { assert, describe, it } from "@effect/vitest"
import { keyInProtocols, withoutKeys } from "../../src/protocol/KeyProtocol.ts"

describe("the subprotocols of a WebSocket", () => {
  it.each([
    [undefined, undefined],
    ["realtime", undefined],
    ["realtime, openai-insecure-api-key.sk-1", "sk-1"],
    ["openai-insecure-api-key.sk-1,realtime", "sk-1"],
    ["OpenAI-Insecure-API-Key.sk-1", "sk-1"],
    ["openai-insecure-api-key.a, openai-insecure-api-key.b", "a"],
    ["openai-insecure-api-key.", ""],
    ["openai-insecure-api-key", undefined]
  ])("hold a key where one has its prefix: %s", (protocols, key) => {
    assert.strictEqual(keyInProtocols(protocols), key)
  })

  it.each([
    ["realtime", "realtime"],
    ["realtime, openai-beta.realtime-v1", "realtime, openai-beta.realtime-v1"],
    ["realtime, openai-insecure-api-key.sk-1 ,b", "realtime, b"],
    ["openai-insecure-api-key.a,OPENAI-INSECURE-API-KEY.b", ""],
    ["", ""]
  ])("go up without any key: %s", (protocols, left) => {
    assert.strictEqual(withoutKeys(protocols), left)
  })
})
