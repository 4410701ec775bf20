import { assert, describe, it } from "@effect/vitest"
import {
  canonicalPath,
  type Dialect,
  deploymentIn,
  endpointAt,
  endpointPaths,
  withDeployment
} from "../../src/protocol/Endpoint.ts"

describe("a path", () => {
  it.each<[string, Dialect, string]>([
    ["/v1/chat/completions", "chat", "chat"],
    ["/v1/completions", "chat", "text_completion"],
    ["/v1/responses", "responses", "chat"],
    ["/v1/messages", "messages", "chat"],
    ["/v1/embeddings", "none", "embeddings"],
    ["/v1/rerank", "none", "rerank"],
    ["/v1/score", "none", "score"],
    ["/tokenize", "none", "tokenize"],
    ["/detokenize", "none", "detokenize"]
  ])("%s must name a model, by POST, and speaks the dialect %s", (path, dialect, operation) => {
    const endpoint = endpointAt(path)
    assert.deepInclude(endpoint, { route: path, dialect, operation, requiresModel: true, postOnly: true })
    assert.include(endpointPaths, path)
  })

  it.each<[string, Dialect]>([
    ["/chat/completions", "chat"],
    ["/responses", "responses"],
    ["/completion", "none"],
    ["/completions", "none"],
    ["/infill", "none"],
    ["/v1/images/generations", "none"],
    ["/v1/audio/speech", "none"],
    ["/v1/moderations", "none"],
    ["/v1/responses/input_tokens", "none"],
    ["/v1/responses/compact", "none"],
    ["/rerank", "none"],
    ["/v2/rerank", "none"],
    ["/pooling", "none"],
    ["/classify", "none"],
    ["/generate", "none"]
  ])("%s may name a model, and other methods go by path", (path, dialect) => {
    assert.deepInclude(endpointAt(path), { route: path, dialect, requiresModel: false, postOnly: false })
  })

  it.each([
    ["/api/chat", true],
    ["/api/generate", true],
    ["/api/embed", false],
    ["/api/embeddings", false],
    ["/api/show", false]
  ])("%s is Ollama's, must name a model, and streams unasked: %s", (path, streamsUnasked) => {
    assert.deepInclude(endpointAt(path), { dialect: "ollama", requiresModel: true, postOnly: false, streamsUnasked })
  })

  it.each([
    "/v1/chat/completions/",
    "/V1/chat/completions",
    "/v1//completions",
    "/v1/files",
    "/v1/responses/resp_1",
    "/v1/audio/voices",
    "/openai/deployments",
    "/openai/deployments/m",
    "/openai/deployments/m/anything",
    "/",
    "",
    "__proto__",
    "constructor"
  ])("%j is no endpoint", (path) => {
    assert.isUndefined(endpointAt(path))
  })

  it("each path of the table is there once, and is spelled as it is written", () => {
    assert.strictEqual(new Set(endpointPaths).size, endpointPaths.length)
    for (const path of endpointPaths) assert.match(path, /^(?:\/[a-z0-9_-]+)+$/)
  })
})

describe("Azure's paths", () => {
  it.each([
    ["/openai/v1/chat/completions", "/v1/chat/completions"],
    ["/openai/v1/models", "/v1/models"],
    ["/openai/v1", "/v1"],
    ["/openai/v1beta/x", "/openai/v1beta/x"],
    ["/openai/v2/x", "/openai/v2/x"],
    ["/x/openai/v1/y", "/x/openai/v1/y"],
    ["/openai/deployments/m/x", "/openai/deployments/m/x"]
  ])("%s is %s", (path, canonical) => {
    assert.strictEqual(canonicalPath(path), canonical)
  })

  it.each([
    ["/openai/deployments/m/chat/completions", "m", "chat", "/openai/deployments/{model}/chat/completions"],
    ["/openai/deployments/GPT-4o/embeddings", "GPT-4o", "none", "/openai/deployments/{model}/embeddings"],
    ["/openai/deployments/a%2Fb%20c/responses", "a/b c", "responses", "/openai/deployments/{model}/responses"],
    ["/openai/deployments/m/other/things", "m", undefined, undefined],
    ["/openai/deployments/m", undefined, undefined, undefined],
    ["/openai/deployments//chat/completions", undefined, "chat", "/openai/deployments/{model}/chat/completions"],
    ["/openai/deployments/%ff/x", undefined, undefined, undefined],
    ["/v1/chat/completions", undefined, "chat", "/v1/chat/completions"]
  ])("%s name the deployment %s", (path, model, dialect, route) => {
    assert.strictEqual(deploymentIn(path), model)
    assert.strictEqual(endpointAt(path)?.dialect, dialect)
    assert.strictEqual(endpointAt(path)?.route, route)
  })

  it("keep everything but the name when the name is changed, and the name stays one segment", () => {
    const path = "/openai/deployments/a/chat/completions"
    assert.strictEqual(withDeployment(path, "b"), "/openai/deployments/b/chat/completions")
    const changed = withDeployment(path, "Qwen/Qwen3 8B")
    assert.strictEqual(changed, "/openai/deployments/Qwen%2FQwen3%208B/chat/completions")
    assert.strictEqual(deploymentIn(changed), "Qwen/Qwen3 8B")
  })
})
