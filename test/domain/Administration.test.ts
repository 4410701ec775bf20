import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { administers, administration } from "../../src/domain/Administration.ts"
import { endpointPaths } from "../../src/protocol/Endpoint.ts"
import { holdsFor } from "../Property.ts"

const concrete = (path: string) => path.replace(/\/\*$/, "/some-thing").replace(/\*$/, "_from_disk")
const actions = administration.flatMap((each) => each.actions.map(concrete))
const resources = administration.flatMap((each) => each.resources.map(concrete))

/** Ways to write a path that some server reads as the path itself. */
const spellings: ReadonlyArray<(path: string) => string> = [
  (path) => path.toUpperCase(),
  (path) => `${path}/`,
  (path) => `/${path}`,
  (path) => path.replaceAll("/", "//"),
  (path) => `${path};a=b`,
  (path) => path.replace(/\/([^/]+)$/, "/$1;x/"),
  (path) => path.replace(/[a-z](?=[^/]*$)/, (letter) => `%${letter.charCodeAt(0).toString(16)}`),
  (path) => path.replace(/[a-z](?=[^/]*$)/, (letter) => `%25${letter.charCodeAt(0).toString(16).toUpperCase()}`),
  (path) => `/v1${path}`,
  (path) => `/engines/7${path}`
]

describe("a path that administers an engine", () => {
  it.each(actions)("is %s, whatever the method", (path) => {
    for (const method of ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"]) {
      assert.isTrue(administers(method, path), method)
    }
  })

  it.each(resources)("is %s, unless it is only read", (path) => {
    for (const method of ["POST", "PUT", "PATCH", "DELETE", "BREW"]) assert.isTrue(administers(method, path), method)
    for (const method of ["GET", "HEAD", "OPTIONS"]) assert.isFalse(administers(method, path), method)
  })

  it("is known in every spelling, and in several at once", () => {
    const given = fc.tuple(fc.constantFrom(...actions, ...resources), fc.subarray([...spellings]))
    holdsFor(given, ([path, ways]) => {
      const spelled = ways.reduce((text, spell) => spell(text), path)
      assert.isTrue(administers("POST", spelled), spelled)
    })
  })
})

describe("a path that administers nothing", () => {
  it.each(endpointPaths)("is the endpoint %s", (path) => {
    assert.isFalse(administers("POST", path))
  })

  it.each([
    ["POST", "/v1/files"],
    ["DELETE", "/v1/files/file-1"],
    ["POST", "/v1/responses/resp_1/cancel"],
    ["GET", "/v1/audio/voices"],
    ["POST", "/sleepy"],
    ["POST", "/sleep/well"],
    ["POST", "/v1/collective_rpcx"],
    ["POST", "/delete"],
    ["POST", "/api/tags"],
    ["GET", "/api/version"],
    ["POST", "/api/show"],
    ["GET", "/docs"],
    ["GET", "/get_model_info"],
    ["POST", "/update_weight"],
    ["POST", "/hicache"],
    ["POST", "/"],
    ["POST", "/__proto__"],
    ["POST", "/constructor"]
  ])("is %s %s", (method, path) => {
    assert.isFalse(administers(method, path))
  })
})
