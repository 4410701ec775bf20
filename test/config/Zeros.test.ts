/** Which settings may be 0: each duration and size of the configuration, and the counts whose bounds allow it. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import { decodeConfig } from "../../src/config/Decoding.ts"
import { describedConfig } from "../../src/config/JsonSchema.ts"
import { formatPath } from "../../src/domain/Issue.ts"
import { isNode, type Node, nodesIn } from "./SchemaNodes.ts"

const backend = (more: object) => ({ backends: [{ name: "a", url: "http://h", ...more }] })
const pool = (more: object) => ({ ...backend({}), pools: [{ name: "p", backends: ["a"], ...more }] })

const attempt = "expected a duration of at least 1ms: with 0 every attempt fails at once; for hardly any bound"
const probe = "expected a duration of at least 10ms"

/** What each says of 0; `undefined`: it is taken. */
const zeros: ReadonlyArray<readonly [setting: string, of: (zero: unknown) => object, problem: string | undefined]> = [
  ["server.shutdownGrace", (zero) => ({ server: { shutdownGrace: zero } }), undefined],
  ["listeners[].connectTimeout", (zero) => ({ listeners: [{ connectTimeout: zero }] }), undefined],
  ["backends[].timeouts.connect", (zero) => backend({ timeouts: { connect: zero } }), undefined],
  ["backends[].timeouts.firstByte", (zero) => backend({ timeouts: { firstByte: zero } }), attempt],
  ["backends[].timeouts.idle", (zero) => backend({ timeouts: { idle: zero } }), attempt],
  ["backends[].timeouts.request", (zero) => backend({ timeouts: { request: zero } }), attempt],
  [
    "backends[].breaker.window",
    (zero) => backend({ breaker: { window: zero } }),
    "expected a duration of at least 1ms: a window of 0 can hold no failure; leave it out for 30s"
  ],
  ["backends[].breaker.cooldown", (zero) => backend({ breaker: { cooldown: zero } }), undefined],
  ["backends[].health.interval", (zero) => backend({ health: { interval: zero } }), probe],
  ["backends[].health.timeout", (zero) => backend({ health: { timeout: zero } }), probe],
  ["backends[].maxConnectionAge", (zero) => backend({ maxConnectionAge: zero }), undefined],
  [
    "pools[].sticky.ttl",
    (zero) => pool({ sticky: { ttl: zero } }),
    "expected a duration of at least 1ms: with 0 no session is ever found again; to have none, write `by: []`"
  ],
  ["pools[].admission.queueTimeout", (zero) => pool({ admission: { queueTimeout: zero } }), undefined],
  ["pools[].retry.initialDelay", (zero) => pool({ retry: { initialDelay: zero } }), undefined],
  ["pools[].retry.maxDelay", (zero) => pool({ retry: { maxDelay: zero } }), undefined],
  ["pools[].client.keepAlive", (zero) => pool({ client: { keepAlive: zero } }), undefined],
  ["pools[].client.timeouts.connect", (zero) => pool({ client: { timeouts: { connect: zero } } }), undefined],
  ["pools[].client.timeouts.firstByte", (zero) => pool({ client: { timeouts: { firstByte: zero } } }), attempt],
  ["pools[].client.timeouts.idle", (zero) => pool({ client: { timeouts: { idle: zero } } }), attempt],
  ["pools[].client.timeouts.request", (zero) => pool({ client: { timeouts: { request: zero } } }), attempt],
  [
    "limits.maxBodyBytes",
    (zero) => ({ limits: { maxBodyBytes: zero } }),
    "expected a size of at least 1 byte: with 0 every request with a body is refused; leave it out for 16MiB"
  ],
  ["limits.maxUploadBytes", (zero) => ({ limits: { maxUploadBytes: zero } }), undefined],
  [
    "limits.maxBufferedBytes",
    (zero) => ({ limits: { maxBufferedBytes: zero } }),
    "expected a size of at least 1 byte: with 0 no body can be in memory; leave it out for 512MiB"
  ],
  [
    "limits.maxHeaderBytes",
    (zero) => ({ limits: { maxHeaderBytes: zero } }),
    "expected a size of at least 1 byte: with 0 every request is refused; leave it out for 16KiB"
  ],
  ["health.interval", (zero) => ({ health: { interval: zero } }), probe],
  ["health.timeout", (zero) => ({ health: { timeout: zero } }), probe]
]

const counts: ReadonlyArray<readonly [setting: string, config: object, taken: boolean]> = [
  ["listeners[].port", { listeners: [{ port: 0 }] }, true],
  ["pools[].admission.maxQueue", pool({ admission: { maxQueue: 0 } }), true],
  ["pools[].retry.attempts", pool({ retry: { attempts: 0 } }), true],
  ["pools[].retry.budget", pool({ retry: { budget: 0 } }), true],
  ["telemetry.maxModelLabels", { telemetry: { maxModelLabels: 0 } }, true],
  ["server.workers", { server: { workers: 0 } }, false],
  ["listeners[].maxConnections", { listeners: [{ maxConnections: 0 }] }, false],
  ["backends[].weight", backend({ weight: 0 }), false],
  ["backends[].maxConcurrency", backend({ maxConcurrency: 0 }), false],
  ["backends[].breaker.minRequests", backend({ breaker: { minRequests: 0 } }), false],
  ["backends[].breaker.consecutive", backend({ breaker: { consecutive: 0 } }), false],
  ["backends[].health.unhealthyAfter", backend({ health: { unhealthyAfter: 0 } }), false],
  ["pools[].sticky.maxEntries", pool({ sticky: { maxEntries: 0 } }), false],
  ["pools[].admission.maxConcurrent", pool({ admission: { maxConcurrent: 0 } }), false]
]

const problemsOf = (value: object): ReadonlyArray<string> => {
  const decoded = Effect.runSync(decodeConfig(value))
  return Result.isFailure(decoded) ? decoded.failure.map(({ at, message }) => `${formatPath(at)}: ${message}`) : []
}

/** Where the configuration has a duration or a size. */
const measured = (node: Node, at = ""): ReadonlyArray<string> => {
  if (node["title"] === "duration" || node["title"] === "size") return [at]
  const fields = isNode(node["properties"]) ? Object.entries(node["properties"]) : []
  return [
    ...fields.flatMap(([name, field]) => (isNode(field) ? measured(field, at === "" ? name : `${at}.${name}`) : [])),
    ...(isNode(node["items"]) ? measured(node["items"], `${at}[]`) : []),
    ...nodesIn(node["anyOf"]).flatMap((form) => measured(form, at))
  ]
}

describe("a setting of 0", () => {
  for (const [setting, of, problem] of zeros) {
    it(`${problem === undefined ? "is taken" : "is refused, with what to do instead"}: ${setting}`, () => {
      const forms = setting.startsWith("limits") ? [0, "0", "0KiB"] : [0, "0", "0ms", "0 seconds"]
      for (const zero of forms) {
        const [found, ...others] = problemsOf(of(zero))
        assert.isEmpty(others)
        if (problem === undefined) assert.isUndefined(found)
        else assert.include(found, `${setting.replaceAll("[]", "[0]")}: ${problem}`)
      }
    })
  }

  for (const [setting, config, taken] of counts) {
    it(`${taken ? "is taken" : "is refused"}: ${setting}`, () => {
      if (taken) assert.isEmpty(problemsOf(config))
      else assert.match(problemsOf(config).join("\n"), /expected a whole number between 1 and \d+$/)
    })
  }

  it("is decided on for every duration and size that there is", () => {
    assert.sameMembers(
      zeros.map(([setting]) => setting),
      [...measured(describedConfig())]
    )
  })
})
