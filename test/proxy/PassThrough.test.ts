import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Listener } from "../../src/domain/Listener.ts"
import { refusePath } from "../../src/proxy/Proxy.ts"
import { withGateway } from "./Harness.ts"
import { answer } from "./ScriptedTransport.ts"

const listenerWith = Schema.decodeUnknownSync(Listener)

const outcome = (passThrough: unknown, method: string, path: string) => {
  const listener = listenerWith(passThrough === undefined ? {} : { passThrough })
  return refusePath(listener, method, path)?.code ?? "passes"
}

describe("a listener", () => {
  it.each([
    [undefined, "POST", "/flush_cache", "path_not_allowed"],
    [undefined, "GET", "/flush_cache", "path_not_allowed"],
    [undefined, "DELETE", "/api/delete", "path_not_allowed"],
    [undefined, "POST", "/slots/1", "path_not_allowed"],
    [undefined, "GET", "/slots", "passes"],
    [undefined, "GET", "/docs", "passes"],
    ["safe", "POST", "/Sleep/", "path_not_allowed"],
    ["safe", "POST", "/v1/files", "passes"],
    ["all", "POST", "/sleep", "passes"],
    ["all", "POST", "/v1/load_lora_adapter", "passes"],
    ["none", "POST", "/sleep", "path_not_allowed"],
    ["none", "GET", "/docs", "path_not_allowed"],
    ["none", "GET", "/v1/files", "path_not_allowed"],
    [[], "POST", "/sleep", "path_not_allowed"],
    [[], "GET", "/docs", "passes"],
    [["/v1/load_lora_adapter", "/slots/:id"], "POST", "/v1/load_lora_adapter", "passes"],
    [["/v1/load_lora_adapter", "/slots/:id"], "POST", "/slots/3", "passes"],
    [["/v1/load_lora_adapter", "/slots/:id"], "POST", "/load_lora_adapter", "path_not_allowed"],
    [["/v1/load_lora_adapter", "/slots/:id"], "POST", "/v1/Load_lora_adapter", "path_not_allowed"],
    [["/v1/load_lora_adapter", "/slots/:id"], "POST", "/v1/unload_lora_adapter", "path_not_allowed"],
    [["/v1/load_lora_adapter", "/slots/:id"], "GET", "/docs", "passes"],
    [["/api/*"], "DELETE", "/api/delete", "passes"],
    // Azure's name of a path, which requests are known by under its own.
    [["/openai/v1/load_lora_adapter"], "POST", "/v1/load_lora_adapter", "passes"],
    [["/openai/v1/*"], "POST", "/v1/load_lora_adapter", "passes"],
    [["/openai/v2/load_lora_adapter"], "POST", "/v1/load_lora_adapter", "path_not_allowed"]
  ])("a listener that passes %j through: %s %s is %s", (passThrough, method, path, expected) => {
    assert.strictEqual(outcome(passThrough, method, path), expected)
  })

  it("names the setting when it refuses", () => {
    for (const passThrough of ["safe", "none"]) {
      const refused = refusePath(listenerWith({ passThrough }), "POST", "/sleep")
      assert.include(refused?.message, "passThrough")
      assert.strictEqual(refused?.status, 403)
    }
  })
})

describe("a backend whose address has a path of its own", () => {
  const engine = { a: [answer(200, "done")] }

  it.effect.each([
    ["http://a.test/api", undefined, "DELETE", "/delete"],
    ["http://a.test/api", undefined, "POST", "/v1/pull"],
    ["http://a.test/x", "/models", "POST", "/v1/load"],
    ["http://a.test/v2", undefined, "POST", "/logging"]
  ] as const)("%s (%s) is not administered by way of it: %s %s", ([url, pathPrefix, method, path]) =>
    withGateway(
      { script: engine, backends: { a: { url, ...(pathPrefix !== undefined && { pathPrefix }) } } },
      (gateway) =>
        Effect.gen(function* () {
          const refused = yield* gateway.refusal({ method, path, raw: undefined })
          assert.strictEqual(refused.code, "path_not_allowed")
          // Its probes.
          for (const { request } of gateway.transport.exchanges) assert.match(request.path, /\/models$/)
        })
    )
  )

  it.effect("gets what administers nothing there", () =>
    withGateway({ script: engine, backends: { a: { url: "http://a.test/api" } } }, (gateway) =>
      Effect.gen(function* () {
        const { status } = yield* gateway.ask({ method: "GET", path: "/version" })
        assert.strictEqual(status, 200)
      })
    )
  )

  it.effect("is administered where the listener's setting allows it", () =>
    Effect.gen(function* () {
      for (const passThrough of ["all", ["/delete"]]) {
        const more = { listeners: [{ port: 0, pool: "default", passThrough }] }
        yield* withGateway({ script: engine, backends: { a: { url: "http://a.test/api" } }, more }, (gateway) =>
          Effect.gen(function* () {
            const { status } = yield* gateway.ask({ method: "DELETE", path: "/delete" })
            assert.strictEqual(status, 200)
          })
        )
      }
    })
  )
})
