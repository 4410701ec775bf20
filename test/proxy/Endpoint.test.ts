import { assert, describe, it } from "@effect/vitest"
import { endpointAt, endpointRoutes } from "../../src/proxy/Endpoint.ts"

describe("a path", () => {
  it.each([
    ["/v1/chat/completions", "chat"],
    ["/v1/completions", "chat"],
    ["/v1/responses", "responses"],
    ["/v1/messages", "messages"],
    ["/v1/embeddings", "none"],
    ["/v1/rerank", "none"],
    ["/v1/score", "none"],
    ["/tokenize", "none"],
    ["/detokenize", "none"]
  ])("%s is routed by model and speaks the dialect %s", (path, dialect) => {
    assert.deepStrictEqual(endpointAt(path), { route: path, dialect })
    assert.isTrue(endpointRoutes.has(path))
  })

  it.each([
    "/v1/chat/completions/",
    "/V1/chat/completions",
    "/v1//completions",
    "/v1/files",
    "/",
    "",
    "__proto__",
    "constructor"
  ])("%j is passed through as it is", (path) => {
    assert.isUndefined(endpointAt(path))
    assert.isFalse(endpointRoutes.has(path))
  })
})
