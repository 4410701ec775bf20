import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { pathProblem } from "../../src/http/RequestHead.ts"
import { endpointAt, endpointPaths } from "../../src/protocol/Endpoint.ts"
import { holdsFor } from "../Property.ts"

/** How a server might read a path: each step on its own is one that a real one takes. */
const readings: ReadonlyArray<(path: string) => string> = [
  (path) => path.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
  (path) => path.replaceAll("\\", "/"),
  (path) => path.replace(/\/{2,}/g, "/"),
  (path) => path.replace(/;[^/]*/g, ""),
  (path) => path.replace(/(.)\/+$/, "$1"),
  (path) => path.toLowerCase()
]

/** Pieces for paths that look like another path. */
const piece = fc.constantFrom(
  "/",
  "/",
  "/v1",
  "/chat",
  "/completions",
  "/v1/chat/completions",
  "/embeddings",
  "/tokenize",
  "/completion",
  "/v1/messages/count_tokens",
  "/openai",
  "/deployments",
  "/files",
  ".",
  "..",
  "%2e",
  "%2E",
  "%2f",
  "%5c",
  "\\",
  ";",
  ";a=b",
  "//",
  "%63hat",
  "CHAT",
  "a",
  "%C3%A4",
  "~",
  "%",
  "%zz",
  "%00"
)
const path = fc.array(piece, { minLength: 1, maxLength: 8 }).map((pieces) => `/${pieces.join("")}`)

describe("a path that is let pass", () => {
  it("leads nowhere else and is no endpoint by another name, for a server that reads it in any of the usual ways", () => {
    holdsFor(
      fc.tuple(path, fc.shuffledSubarray([...readings])),
      ([given, steps]) => {
        if (pathProblem(given) !== undefined) return
        let read = given
        for (const step of steps) read = step(read)
        const segments = read.split(/[/\\]/)
        assert.isFalse(segments.includes("..") || segments.includes("."), `${given} is read as ${read}`)
        if (endpointAt(given) === undefined) assert.isUndefined(endpointAt(read), `${given} is read as ${read}`)
      },
      20_000
    )
  })

  it("is every one in which nothing is remarkable, and every endpoint as it is written", () => {
    const segment = fc.stringMatching(/^[a-z0-9_~:@!$&'()*+,=-][a-z0-9._~:@!$&'()*+,=-]{0,12}$/)
    holdsFor(fc.array(segment, { minLength: 1, maxLength: 6 }), (segments) => {
      assert.isUndefined(pathProblem(`/${segments.join("/")}`))
    })
    for (const route of endpointPaths) assert.isUndefined(pathProblem(route))
    for (const each of [
      "/",
      "//",
      "/echo/a%2Fb//c;d",
      "/v1/models/Qwen/Qwen3-8B",
      "/files/",
      "/%E4%BD%A0",
      "/a.b/...c",
      "/openai/deployments/GPT-4o/chat/completions",
      "/openai/deployments/Qwen%2FQwen3-8B/embeddings",
      "/openai/deployments/M/unknown/Part"
    ]) {
      assert.isUndefined(pathProblem(each), each)
    }
  })
})

describe("a path that is refused", () => {
  it.each([
    ["*", "target must be a path"],
    ["", "target must be a path"],
    ["http:a", "target must be a path"],
    ["/a#b", "fragment"],
    ["/%", "percent-encoding"],
    ["/%4", "percent-encoding"],
    ["/%g0", "percent-encoding"],
    ["/a%0d%0ab", "control characters"],
    ["/%7f", "control characters"],
    ["/a/..", "dot segments"],
    ["/a/%2E%2e/b", "dot segments"],
    ["/a%5c..%5Cb", "dot segments"],
    ["/a/..;x/b", "dot segments"],
    ["/V1/chat/completions", "written as /v1/chat/completions"],
    ["/v1//chat/completions", "written as /v1/chat/completions"],
    ["/v1/embeddings/", "written as /v1/embeddings"],
    ["/tokenize;a", "written as /tokenize"],
    ["/v1%2Fmessages", "written as /v1/messages"],
    ["/v1/messages/count_tokens/", "written as /v1/messages/count_tokens"],
    ["/Completion", "written as /completion"],
    ["/v2//rerank", "written as /v2/rerank"],
    ["/infill;x=1", "written as /infill"],
    ["/openai//v1/chat/completions", "written as /v1/chat/completions"],
    ["/OpenAI/v1/images/generations", "written as /v1/images/generations"],
    ["/OpenAI/deployments/m/chat/completions", "written as /openai/deployments/m/chat/completions"],
    ["/openai/Deployments/m/anything", "written as /openai/deployments/m/anything"],
    ["/openai/deployments/m;n/chat/completions", "name of a deployment"],
    ["/openai/deployments/m%5cn/chat/completions", "name of a deployment"],
    ["/%2566iles/%252e%252e/x", "dot segments"]
  ])("%j is told why", (given, why) => {
    assert.include(pathProblem(given), why)
  })
})
