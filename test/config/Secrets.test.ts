/** What `weir check` prints: no credential, wherever in a configuration an address holds one. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import * as Yaml from "yaml"
import { printYaml, redactConfig, validate } from "../../src/config/ConfigLoader.ts"
import { parseSource } from "../../src/config/YamlSource.ts"

const secret = "zzS3CRET"

const load = (config: unknown, environment: Record<string, string> = {}) =>
  Effect.flatMap(parseSource("weir.yaml", typeof config === "string" ? config : Yaml.stringify(config)), (source) =>
    validate("weir.yaml", source, environment, {})
  )

const backend = { name: "a", url: "http://127.0.0.1:9001" }

describe("a valid configuration", () => {
  const places: Record<string, { readonly config: object; readonly env?: Record<string, string> }> = {
    "user and password of the traces' endpoint": {
      config: { telemetry: { traces: { endpoint: `http://u:${secret}@10.0.0.1:4318/x` } } }
    },
    "the query of the traces' endpoint": {
      config: { telemetry: { traces: { endpoint: `http://10.0.0.1:4318/?b=1&api_key=${secret}` } } }
    },
    "a percent-encoded name in that query": {
      config: { telemetry: { traces: { endpoint: `http://10.0.0.1:4318/?api%5Fkey=${secret}` } } }
    },
    "an endpoint from the environment": {
      config: {},
      env: { OTEL_EXPORTER_OTLP_ENDPOINT: `http://u:${secret}@10.0.0.1:4318` }
    },
    "the address of Redis": { config: { state: { url: `redis://:${secret}@127.0.0.1:6379/0` } } },
    "the address of a proxy": {
      config: {
        backends: [backend],
        pools: [{ name: "p", backends: ["a"], client: { proxy: `http://u:${secret}@10.0.0.1:3128` } }]
      }
    },
    "the path of a probe": { config: { backends: [{ ...backend, health: { path: `/health?token=${secret}` } }] } },
    "a header operation": {
      config: {
        backends: [{ ...backend, headers: [{ op: "replace", name: "X-Callback", value: `http://h/?sig=${secret}` }] }]
      }
    },
    "the user agent": {
      config: {
        backends: [backend],
        pools: [{ name: "p", backends: ["a"], client: { userAgent: `W (http://u:${secret}@h)` } }]
      }
    },
    "the name of a model": { config: { backends: [{ ...backend, models: [`http://h/m?access_token=${secret}`] }] } },
    "an origin of browsers": { config: { listeners: [{ cors: { origins: [`https://u:${secret}@h`] } }] } }
  }
  for (const [place, { config, env }] of Object.entries(places)) {
    it.effect(`a valid configuration is printed without the credential in ${place}, as YAML and as JSON`, () =>
      Effect.gen(function* () {
        const result = yield* Effect.result(load(config, env))
        // Where it is refused, the refusal is what must not tell it.
        if (Result.isFailure(result)) return assert.notInclude(result.failure.message, secret)
        for (const text of [printYaml(result.success), JSON.stringify(redactConfig(result.success))]) {
          assert.notInclude(text, secret)
          assert.include(text, "<redacted>")
        }
      })
    )
  }
})

it.effect("what is no credential of an address is printed as it is", () =>
  Effect.gen(function* () {
    const endpoint = "http://10.0.0.1:4318/v1/traces?tenant=a&max_tokens=5"
    assert.include(printYaml(yield* load({ telemetry: { traces: { endpoint } } })), endpoint)
  })
)

describe("a refusal of a configuration", () => {
  const wrong: Record<string, string> = {
    "the address of a backend": `backends: [{ name: a, url: "http://u:${secret}@h" }]`,
    "an address where a name belongs": `pools: [{ name: p, backends: ["http://u:${secret}@h"] }]`,
    "an address where a key belongs": `telemetry: { "http://u:${secret}@h/?sig=${secret}": 1 }`,
    "an address where a strategy belongs": `pools: [{ name: p, strategy: "http://h/?token=${secret}" }]`,
    "text that is no YAML": `admin: { token: "a" }\n}${secret}`,
    "a block that is none": `admin:\n  token: |${secret}\n    x`,
    "an alias that nothing defines": `admin: { token: *${secret} }`,
    "a tag that nothing knows": `admin: { token: !${secret} [x }`
  }
  for (const [place, text] of Object.entries(wrong)) {
    it.effect(`a refusal does not tell the credential in ${place}`, () =>
      Effect.gen(function* () {
        const refused = yield* Effect.flip(load(text))
        assert.isNotEmpty(refused.problems)
        assert.notInclude(refused.message, secret)
      })
    )
  }
})

it.effect("a problem is one line of visible characters, whatever a key is made of", () =>
  Effect.gen(function* () {
    const refused = yield* Effect.flip(load({ "a\u001b[31m\u009b\u202eb\nc": 1 }))
    assert.include(refused.message, "a\\u001b[31m\\u009b\\u202eb\\u000ac")
  })
)
