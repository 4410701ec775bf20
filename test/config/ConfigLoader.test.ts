import { readdirSync, readFileSync } from "node:fs"
import * as path from "node:path"
import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, FileSystem, Layer, Redacted, Result } from "effect"
import {
  ConfigInvalid,
  ConfigLoader,
  HungFiles,
  type Overrides,
  printYaml,
  redactConfig,
  validate
} from "../../src/config/ConfigLoader.ts"
import { parseSource } from "../../src/config/YamlSource.ts"
import * as certificates from "../transport/Certificates.ts"

type Variables = Record<string, string>

const load = Effect.fnUntraced(function* (text: string, environment: Variables = {}, overrides: Overrides = {}) {
  const source = yield* parseSource("weir.yaml", text)
  return yield* validate("weir.yaml", source, environment, overrides)
})

const problemsOf = (text: string, environment: Variables = {}) =>
  Effect.map(Effect.flip(load(text, environment)), (error) => {
    assert.instanceOf(error, ConfigInvalid)
    return error.message.split("\n")
  })

const backend = "{ name: a, url: http://127.0.0.1:9001 }"

describe("an empty configuration", () => {
  it.effect("is valid: one listener on loopback, one empty pool", () =>
    Effect.gen(function* () {
      const config = yield* load("")
      assert.deepStrictEqual(
        config.listeners.map(({ host, pool, port }) => ({ host, pool, port })),
        [{ host: "127.0.0.1", pool: "default", port: 8000 }]
      )
      assert.deepStrictEqual(
        config.pools.map(({ backends, name, strategy }) => ({ backends, name, strategy })),
        [{ backends: [], name: "default", strategy: "least_inflight" }]
      )
    })
  )
})

describe("a file", () => {
  it.effect("the contract's example, with its secrets in the environment, is valid as a whole", () =>
    Effect.gen(function* () {
      const config = yield* load(
        `
server: { workers: 1, shutdownGrace: 30s, reusePort: false }
listeners:
  - name: public
    host: 127.0.0.1
    port: 8000
    pool: default
    routes: [{ path: /v1/embeddings, pool: embeddings }]
    rateLimit: { perSecond: 100, burst: 200 }
    connectTimeout: 10s
    auth: true
    trustedProxies: []
    passThrough: safe
    cors: { origins: [] }
admin: { host: 127.0.0.1, port: 9000, token: "\${WEIR_ADMIN_TOKEN:-}", publicMetrics: true }
backends:
  - name: gpu-1
    adapter: vllm
    url: http://10.0.0.1:8001
    pathPrefix: /v1
    auth: { type: basic, username: u, password: "\${GPU1_PASSWORD}" }
    headers: [{ op: insert, name: X-Team, value: a }]
    weight: 1
    maxConcurrency: 16
    models: [m1, m1-2]
    timeouts: { connect: 10s, firstByte: 120s, idle: 60s, request: 300s }
    breaker: { threshold: 0.5, minRequests: 10, window: 30s, cooldown: 30s }
    health: { path: /health, interval: 5s, timeout: 2s, unhealthyAfter: 3, healthyAfter: 1 }
    enabled: true
  - { name: gpu-2, url: http://10.0.0.2:8001 }
pools:
  - name: default
    backends: [gpu-1, { name: gpu-2, weight: 4, priority: 1 }]
    strategy: least_inflight
    sticky: { by: [header, user, ip], ttl: 3m, maxEntries: 100000, maxImbalance: 1.25 }
    admission: { maxConcurrent: 256, maxQueue: 1024, queueTimeout: 30s }
    retry: { attempts: 2, initialDelay: 100ms, maxDelay: 2s, budget: 0.2 }
    client: { userAgent: Weir/1, keepAlive: 30s, stream: true, timeouts: { idle: 1h } }
  - { name: embeddings, backends: [gpu-2] }
models:
  - { match: gpt-4o, pool: default, upstreamModel: qwen2.5-72b, fallbacks: [qwen2.5-7b] }
fallbackBackend: gpu-2
keys:
  - { name: team-a, key: "\${TEAM_A_KEY}", limits: { requestsPerMinute: 60, tokensPerMinute: 100000, concurrent: 8 }, models: ["*"], pools: ["*"], priority: 0 }
  - { name: team-b, sha256: ${"3f".repeat(32)} }
limits: { maxBodyBytes: 16MiB, maxHeaderBytes: 16KiB }
health: { interval: 5s, timeout: 2s, unhealthyAfter: 3, healthyAfter: 1 }
telemetry:
  serviceName: weir
  traces: { endpoint: http://127.0.0.1:4318, sampleRatio: 0.1 }
  logs: { level: info, format: json }
security: { allowPrivateBackends: true, denyNetworks: [] }
state: { store: memory, path: ./data, url: redis://127.0.0.1:6379 }
`,
        { GPU1_PASSWORD: "pw", TEAM_A_KEY: "sk-a" }
      )
      const first = config.backends[0]
      assert.strictEqual(first?.timeouts.firstByte && Duration.toMillis(first.timeouts.firstByte), 120_000)
      assert.strictEqual(config.limits.maxBodyBytes, 16 * 1024 * 1024)
      const key = config.keys[0]?.key
      assert.strictEqual(key && Redacted.value(key), "sk-a")
      assert.isUndefined(config.admin.token)
    })
  )

  it.effect.each([
    { sticky: undefined, by: ["header"] },
    { sticky: {}, by: ["header"] },
    { sticky: { ttl: "10m" }, by: ["header"] },
    { sticky: { maxEntries: 10, userPatterns: [] }, by: ["header"] },
    { sticky: { by: ["ip"], ttl: "10m" }, by: ["ip"] },
    { sticky: { by: [] }, by: [] }
  ])("has sessions by the header, unless it says by what: $sticky", ({ by, sticky }) =>
    Effect.gen(function* () {
      const pool = { name: "p", backends: ["a"], ...(sticky !== undefined && { sticky }) }
      const config = yield* load(JSON.stringify({ backends: [{ name: "a", url: "http://h" }], pools: [pool] }))
      assert.strictEqual(config.pools[0]?.sticky.by.join(" "), by.join(" "))
    })
  )

  it.effect.each([
    { form: "JSON", text: '{ "$schema": "./weir.schema.json", "server": { "shutdownGrace": "5s" } }' },
    { form: "YAML", text: "$schema: https://example.org/weir.json\nserver: { shutdownGrace: 5s }" }
  ])("may name its JSON Schema for an editor, which changes nothing: $form", ({ text }) =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* load(text), yield* load("server: { shutdownGrace: 5s }"))
    })
  )

  it.effect("names its JSON Schema at the top only, and in text", () =>
    Effect.gen(function* () {
      assert.match((yield* problemsOf("server: { $schema: a }")).join("\n"), /^server\.\$schema: unknown key/)
      assert.match((yield* problemsOf("$schema: 1")).join("\n"), /^\$schema: expected string/)
    })
  )

  it.effect("may be JSON", () =>
    Effect.gen(function* () {
      const config = yield* load(JSON.stringify({ backends: [{ name: "a", url: "http://127.0.0.1:9001" }] }))
      assert.deepStrictEqual(config.pools[0]?.backends, ["a"])
    })
  )

  it.effect("has every problem reported at once, with path, line, and the nearest known key", () =>
    Effect.gen(function* () {
      const problems = yield* problemsOf(`listenrs: []
backends:
  - nam: x
    url: foo
    weight: 0
    auth: { type: beer }
    timeouts: { connect: 10x }
  - name: y
    url: http://10.0.0.1/
    header: []
pools:
  - name: p
    strategy: least_inflght
    backends: [yy]
`)
      const starts = [
        "listenrs: unknown key; did you mean listeners?",
        "backends[0].nam: unknown key; did you mean name?",
        "backends[0].name: is required",
        "backends[0].url: expected an address",
        "backends[0].weight: expected a whole number between 1 and 65535 (line 5)",
        "backends[0].auth: expected an auth with a type",
        "backends[0].timeouts.connect: expected a duration",
        "backends[1].header: unknown key; did you mean headers?",
        'pools[0].strategy: expected "round_robin"',
        "pools[0].backends[0]: unknown backend yy; did you mean y? (known: y) (line 14)"
      ]
      for (const start of starts)
        assert.isTrue(
          problems.some((p) => p.startsWith(start)),
          `${start}\n${problems.join("\n")}`
        )
      assert.strictEqual(problems.length, starts.length, problems.join("\n"))
    })
  )

  it.effect("a file that is not YAML says so with the line", () =>
    Effect.gen(function* () {
      const problems = yield* problemsOf("backends:\n  - name: [a\n")
      assert.match(problems[0] ?? "", /\(line \d+\)$/)
    })
  )

  it.effect("a file whose root is a list is refused, not crashed on", () =>
    Effect.gen(function* () {
      assert.match((yield* problemsOf("- a\n- b\n")).join("\n"), /expected object/)
    })
  )

  it.effect("a file with a prototype key has an unknown key, nothing more", () =>
    Effect.gen(function* () {
      const problems = yield* problemsOf('{"__proto__": {"backends": []}, "constructor": 1}')
      assert.strictEqual(problems.filter((p) => p.includes("unknown key")).length, 2, problems.join("\n"))
    })
  )

  const invalid: ReadonlyArray<readonly [string, string, RegExp]> = [
    ["probes without a pause", "health: {interval: 0}", /^health\.interval: expected a duration of at least 10ms/],
    [
      "a backend's probes without a pause",
      "backends: [{name: a, url: 'http://127.0.0.1:1', health: {interval: 5ms}}]",
      /^backends\[0\]\.health\.interval: expected a duration of at least 10ms/
    ],
    [
      "probes without time for an answer",
      "health: {timeout: 0s}",
      /^health\.timeout: expected a duration of at least 10ms/
    ],
    ["a duplicate backend", `backends: [${backend}, ${backend}]`, /^backends\[1\]\.name: duplicate backend/],
    [
      "a duplicate pool",
      "backends: [{name: a, url: 'http://b'}]\npools: [{name: p, backends: [a]}, {name: p, backends: [a]}]",
      /^pools\[1\]\.name: duplicate/
    ],
    [
      "an unknown pool of a listener",
      `backends: [${backend}]\nlisteners: [{pool: dfault}]`,
      /^listeners\[0\]\.pool: unknown pool dfault; did you mean default\?/
    ],
    [
      "an unknown backend in a rule",
      `backends: [${backend}]\nmodels: [{match: x, backends: [b]}]`,
      /^models\[0\]\.backends\[0\]: unknown backend b/
    ],
    [
      "a rule without backends",
      `backends: [${backend}]\nmodels: [{match: x, backends: []}]`,
      /^models\[0\]\.backends: a rule needs/
    ],
    ["a pool without members", "pools: [{name: p, backends: []}]", /^pools\[0\]\.backends: a pool needs/],
    [
      "a listener without a connection",
      "listeners: [{ maxConnections: 0 }]",
      /^listeners\[0\]\.maxConnections: expected a whole number between 1 and 1000000/
    ],
    [
      "a size that is none",
      "limits: { maxBufferedBytes: lots }",
      /^limits\.maxBufferedBytes: expected a size such as 512KiB/
    ],
    [
      "a weight above 65535",
      "backends: [{name: a, url: 'http://b', weight: 65536}]",
      /^backends\[0\]\.weight: .*65535/
    ],
    ["an unknown fallback", "fallbackBackend: a", /^fallbackBackend: unknown backend a \(there are none\)/],
    ["two listeners on one address", "listeners: [{name: a}, {name: b}]", /^listeners\[1\]\.port: duplicate address/],
    ["a key without a secret", "keys: [{name: a}]", /^keys\[0\]: needs either key or sha256/],
    ["one secret for two keys", "keys: [{name: a, key: k}, {name: b, key: k}]", /^keys\[1\]: duplicate key/],
    [
      "a header value with a line break",
      'backends: [{name: a, url: "http://b", headers: [{op: insert, name: x, value: "a\\nb"}]}]',
      /^backends\[0\]\.headers\[0\]\.value: expected a header value/
    ],
    [
      "credentials in an address",
      "backends: [{name: a, url: 'http://u:p@b'}]",
      /^backends\[0\]\.url: credentials belong into auth/
    ],
    [
      "huawei-apig without a signature",
      "backends: [{name: a, url: 'http://b', adapter: huawei-apig}]",
      /^backends\[0\]\.auth: huawei-apig needs/
    ],
    [
      "a query in an address",
      "backends: [{name: a, url: 'http://b?key=s3cret'}]",
      /^backends\[0\]\.url: an address has no query \(line 1\)$/
    ],
    [
      "a query at Azure that is no version",
      "backends: [{name: a, adapter: azure-openai, url: 'https://r.openai.azure.com?x=1'}]",
      /^backends\[0\]\.url: the only query .* is \?api-version=/
    ],
    [
      "a deployment at Azure without its version",
      "backends: [{name: a, adapter: azure-openai, url: 'https://r.openai.azure.com/openai/deployments/d'}]",
      /^backends\[0\]\.url: the address of a deployment needs its version/
    ],
    [
      "a dated version at Azure without a deployment",
      "backends: [{name: a, adapter: azure-openai, url: 'https://r.openai.azure.com?api-version=2024-10-21'}]",
      /^backends\[0\]\.url: a dated version needs the deployment in the address/
    ],
    [
      "TLS for an address without it",
      "backends: [{name: a, url: 'http://b', tls: {serverName: c}}]",
      /^backends\[0\]\.tls: has no effect/
    ],
    [
      "a certificate without its key",
      "backends: [{name: a, url: 'https://b', tls: {cert: c.pem}}]",
      /^backends\[0\]\.tls: needs cert and key/
    ],
    [
      "a server name that is none",
      "backends: [{name: a, url: 'https://b', tls: {serverName: 'https://c'}}]",
      /^backends\[0\]\.tls\.serverName: expected the name/
    ],
    ...["proxy:8080", "socks5://proxy", "http://proxy/path", "http://u:%zz@proxy"].map(
      (proxy) =>
        [
          `the proxy ${proxy}`,
          `backends: [${backend}]\npools: [{name: p, backends: [a], client: {proxy: '${proxy}'}}]`,
          /^pools\[0\]\.client\.proxy: (expected the address of a proxy|its credentials are not)/
        ] as const
    ),
    [
      "a port that is none",
      "backends: [{name: a, url: 'http://b', health: {port: 70000}}]",
      /^backends\[0\]\.health\.port: .*65535/
    ],
    [
      "a switch that turns verification off",
      "backends: [{name: a, url: 'https://b', tls: {insecure: true}}]",
      /^backends\[0\]\.tls\.insecure: unknown key/
    ],
    [
      "a number of labels that is none",
      "telemetry: {maxModelLabels: many}",
      /^telemetry\.maxModelLabels: expected a whole number/
    ],
    ["a feature that is not there yet", "server: {workers: 4}", /^server\.workers: this version of Weir has no/]
  ]
  for (const [what, text, expected] of invalid) {
    it.effect(`a file with ${what} is refused`, () =>
      Effect.gen(function* () {
        const problems = yield* problemsOf(text)
        assert.match(problems[0] ?? "", expected)
        assert.strictEqual(problems.length, 1, problems.join("\n"))
      })
    )
  }
})

describe("${VAR} in a string", () => {
  it.effect("is replaced, with a default where there is one", () =>
    Effect.gen(function* () {
      const config = yield* load(
        "backends: [{ name: '${N:-fallback}', url: 'http://${HOST}:${PORT:-1}', weight: '${W}' }]",
        { HOST: "h", W: "7" }
      )
      assert.deepStrictEqual(
        config.backends.map(({ name, url, weight }) => ({ name, url, weight })),
        [{ name: "fallback", url: "http://h:1", weight: 7 }]
      )
    })
  )

  it.effect("a missing variable is one error that names the variable and the path", () =>
    Effect.gen(function* () {
      const problems = yield* problemsOf("backends:\n  - name: a\n    url: ${NOWHERE}\n")
      assert.deepStrictEqual(problems, ["backends[0].url: the environment variable NOWHERE is not set (line 3)"])
    })
  )
})

describe("the environment", () => {
  it.effect("alone is enough: addresses, a key, a strategy, bounds", () =>
    Effect.gen(function* () {
      const config = yield* load("", {
        WEIR_BACKENDS: "http://10.0.0.1:8001, http://10.0.0.2:8001/v1",
        WEIR_API_KEY: "sk",
        WEIR_STRATEGY: "round_robin",
        WEIR_MAX_CONCURRENT: "5",
        WEIR_MAX_QUEUE: "6",
        WEIR_MAX_RETRIES: "7",
        WEIR_PORT: "1234",
        WEIR_LOG_LEVEL: "debug"
      })
      assert.deepStrictEqual(
        config.backends.map(({ name }) => name),
        ["10.0.0.1:8001", "10.0.0.2:8001"]
      )
      assert.strictEqual(config.pools[0]?.strategy, "round_robin")
      assert.strictEqual(config.pools[0]?.admission.maxConcurrent, 5)
      assert.strictEqual(config.pools[0]?.admission.maxQueue, 6)
      assert.strictEqual(config.pools[0]?.retry.attempts, 7)
      assert.strictEqual(config.listeners[0].port, 1234)
      assert.strictEqual(config.telemetry.logs.level, "debug")
      assert.strictEqual(config.keys[0]?.name, "default")
      assert.strictEqual(config.admin.token && Redacted.value(config.admin.token), "sk")
    })
  )

  it.effect("can hold backends as JSON in the form of the file", () =>
    Effect.gen(function* () {
      const config = yield* load("", { WEIR_BACKENDS: '[{"name":"a","url":"http://b","weight":3}]' })
      assert.strictEqual(config.backends[0]?.weight, 3)
    })
  )

  it.effect("is blamed by name for a bad value", () =>
    Effect.gen(function* () {
      const problems = yield* problemsOf("", { WEIR_PORT: "99999", WEIR_STRATEGY: "fastest", WEIR_BACKENDS: "[oops" })
      assert.deepStrictEqual(problems.map((p) => p.replace(/:.*/, "")).toSorted(), [
        "WEIR_BACKENDS",
        "WEIR_PORT",
        "WEIR_STRATEGY"
      ])
    })
  )

  it.effect("gives way to options of the command line", () =>
    Effect.gen(function* () {
      const config = yield* load("", { WEIR_PORT: "1" }, { port: 2, host: "localhost" })
      assert.strictEqual(config.listeners[0].port, 2)
      assert.strictEqual(config.listeners[0].host, "localhost")
    })
  )
})

describe("a start is refused", () => {
  const refused: ReadonlyArray<readonly [string, string, RegExp]> = [
    [
      "a listener beyond loopback without keys",
      "listeners: [{host: 0.0.0.0}]\nadmin: {token: t}",
      /^listeners\[0\]\.host: listens beyond/
    ],
    ["auth without any key", "listeners: [{auth: true}]", /^listeners\[0\]\.auth: asks for a key/],
    [
      "an admin surface beyond loopback without a token",
      "keys: [{name: a, key: k}]\nlisteners: [{host: 0.0.0.0}]",
      /^admin\.token: the admin surface/
    ],
    [
      "an admin port beyond loopback without a token",
      "admin: {host: 0.0.0.0, port: 9000}",
      /^admin\.host: the admin surface/
    ],
    ...[
      "169.254.169.254",
      "[fd00:ec2::254]",
      "[::ffff:169.254.169.254]",
      "2852039166",
      "0xa9.0xfe.0xa9.0xfe",
      "0251.0376.0251.0376",
      "169.254.170.2",
      "100.100.100.200",
      "metadata.google.internal",
      "metadata.google.internal.",
      "[64:ff9b::a9fe:a9fe]"
    ].map(
      (host) =>
        [
          `the metadata address ${host}`,
          `backends: [{name: a, url: 'http://${host}/x'}]`,
          /^backends\[0\]\.url: refused/
        ] as const
    ),
    [
      "a proxy at a metadata address",
      `backends: [${backend}]\npools: [{name: p, backends: [a], client: {proxy: 'http://u:s3cret@2852039166:80'}}]`,
      /^pools\[0\]\.client\.proxy: refused: this address is the metadata service of a cloud \(line 2\)$/
    ],
    [
      "a private backend where none is allowed",
      "security: {allowPrivateBackends: false}\nbackends: [{name: a, url: 'http://192.168.1.1'}]",
      /^backends\[0\]\.url: refused/
    ],
    [
      "a backend in a denied network",
      "security: {denyNetworks: [192.0.2.0/24]}\nbackends: [{name: a, url: 'http://192.0.2.9'}]",
      /^backends\[0\]\.url: refused/
    ]
  ]
  for (const [what, text, expected] of refused) {
    it.effect(`a start is refused for ${what}`, () =>
      Effect.gen(function* () {
        const problems = yield* problemsOf(text)
        assert.match(problems[0] ?? "", expected)
        assert.strictEqual(problems.length, 1, problems.join("\n"))
      })
    )
  }

  it.effect("an open listener that says so on purpose is not refused", () =>
    Effect.gen(function* () {
      assert.isTrue(
        Exit.isSuccess(yield* Effect.exit(load("listeners: [{host: 0.0.0.0, auth: false}]\nadmin: {token: t}")))
      )
    })
  )
})

describe("a printed configuration", () => {
  it.effect("holds no secret, and loads again", () =>
    Effect.gen(function* () {
      const config = yield* load(
        "backends: [{name: a, url: 'http://b', auth: {type: bearer, token: hunter2}}]\nkeys: [{name: k, key: hunter2}]"
      )
      const printed = printYaml(config)
      assert.notInclude(printed + JSON.stringify(redactConfig(config)), "hunter2")
      assert.include(printed, "<redacted>")
      const again = yield* load(printed)
      assert.deepStrictEqual(redactConfig(again), redactConfig(config))
    })
  )
})

const inFolder = <A, E>(
  files: Record<string, string>,
  environment: Variables,
  use: (loader: ConfigLoader["Service"], folder: string) => Effect.Effect<A, E>
) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const folder = yield* fs.makeTempDirectoryScoped()
    for (const [name, text] of Object.entries(files)) yield* fs.writeFileString(`${folder}/${name}`, text)
    const before = process.cwd()
    yield* Effect.acquireRelease(
      Effect.sync(() => process.chdir(folder)),
      () => Effect.sync(() => process.chdir(before))
    )
    return yield* Effect.flatMap(ConfigLoader, (loader) => use(loader, folder)).pipe(
      Effect.provide(Layer.provide(ConfigLoader.layer(environment), HungFiles.layer))
    )
  }).pipe(Effect.scoped, Effect.provide(NodeServices.layer))

describe("a name in an address", () => {
  const problemsWith = (text: string) =>
    inFolder({ "weir.yaml": text }, {}, (loader) =>
      Effect.map(Effect.result(loader.load({})), (loaded) =>
        Result.isSuccess(loaded) ? [] : loaded.failure.message.split("\n")
      )
    )

  it.effect("a name that means a refused address is refused where it stands", () =>
    Effect.gen(function* () {
      const denied = `backends:
  - { name: a, url: "http://no-such-host.invalid" }
  - { name: b, url: "http://localhost:1" }
security: { denyNetworks: [127.0.0.0/8, "::1"] }
`
      assert.deepStrictEqual(yield* problemsWith(denied), [
        "backends[1].url: refused: this name means an address that is in one of security.denyNetworks (line 3)"
      ])
      const closed = "backends: [{name: a, url: 'http://localhost:1'}]\nsecurity: {allowPrivateBackends: false}"
      assert.deepStrictEqual(yield* problemsWith(closed), [
        "backends[0].url: refused: this name means an address that is in a private network, and " +
          "security.allowPrivateBackends is false (line 1)"
      ])
    })
  )

  it.effect("a name that means nothing, or an address like all others, is not refused yet", () =>
    Effect.gen(function* () {
      const text = "backends: [{name: a, url: 'http://localhost:1'}, {name: b, url: 'http://no-such-host.invalid'}]"
      assert.deepStrictEqual(yield* problemsWith(text), [])
    })
  )
})

describe("finding the file", () => {
  it.effect("prefers the option, then WEIR_CONFIG, then ./weir.yaml", () =>
    inFolder(
      { "weir.yaml": "listeners: [{port: 1}]", "b.yaml": "listeners: [{port: 2}]", "c.yaml": "listeners: [{port: 3}]" },
      { WEIR_CONFIG: "b.yaml" },
      (loader) =>
        Effect.gen(function* () {
          assert.strictEqual((yield* loader.load({ file: "c.yaml" })).config.listeners[0].port, 3)
          assert.strictEqual((yield* loader.load({})).config.listeners[0].port, 2)
        })
    )
  )

  it.effect("takes variables from .env, but real ones win", () =>
    inFolder(
      { "weir.yaml": "listeners: [{port: '${P}', name: '${N}'}]", ".env": "P=5\nN=from-file\n" },
      { N: "real" },
      (loader) =>
        Effect.gen(function* () {
          const { config } = yield* loader.load({})
          assert.strictEqual(config.listeners[0].port, 5)
          assert.strictEqual(config.listeners[0].name, "real")
        })
    )
  )

  it.effect("says which named file is not there", () =>
    inFolder({}, {}, (loader) =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(loader.load({ file: "nowhere.yaml" }))
        assert.strictEqual(error.message, "nowhere.yaml: no such file")
      })
    )
  )
})

describe("a file that TLS needs", () => {
  const pems = {
    "ca.pem": certificates.ca,
    "server.pem": certificates.server.cert,
    "server.key": certificates.server.key,
    "other.key": certificates.renewed.key,
    "locked.key": certificates.server.key.replaceAll("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"),
    "empty.pem": ""
  }
  const problemsWith = (text: string) =>
    inFolder({ ...pems, "weir.yaml": text }, {}, (loader) =>
      Effect.map(Effect.result(loader.load({})), (loaded) =>
        Result.isSuccess(loaded) ? [] : loaded.failure.message.split("\n")
      )
    )
  const listener = (tls: string) => `listeners: [{tls: ${tls}}]`
  const backendWith = (tls: string) => `backends: [{name: a, url: 'https://b', tls: ${tls}}]`

  for (const [what, text] of [
    ["of a listener", listener("{cert: server.pem, key: server.key}")],
    ["of a backend", backendWith("{ca: ca.pem, cert: server.pem, key: server.key, serverName: c.example}")],
    ["of a backend that trusts a CA of its own", backendWith("{ca: ca.pem}")],
    ["of a backend under another name", backendWith("{serverName: c.example}")]
  ] as const) {
    it.effect(`is read before anything starts: ${what}`, () =>
      Effect.map(problemsWith(text), (problems) => assert.deepStrictEqual(problems, []))
    )
  }

  for (const [what, text, expected] of [
    [
      "is missing",
      listener("{cert: gone.pem, key: server.key}"),
      "listeners[0].tls.cert: gone.pem is not there (line 1)"
    ],
    [
      "holds no certificate",
      listener("{cert: server.key, key: server.key}"),
      "listeners[0].tls.cert: server.key holds no certificate in PEM form (line 1)"
    ],
    [
      "holds no key",
      listener("{cert: server.pem, key: empty.pem}"),
      "listeners[0].tls.key: empty.pem holds no private key in PEM form (line 1)"
    ],
    [
      "holds another's key",
      backendWith("{cert: server.pem, key: other.key}"),
      "backends[0].tls.key: other.key is not the key of the certificate in server.pem (line 1)"
    ],
    [
      "is locked",
      backendWith("{cert: server.pem, key: locked.key}"),
      "backends[0].tls.key: locked.key is encrypted: there is nobody to ask for its passphrase (line 1)"
    ],
    [
      "is no CA",
      backendWith("{ca: empty.pem}"),
      "backends[0].tls.ca: empty.pem holds no certificate in PEM form (line 1)"
    ],
    ["is a folder", backendWith("{ca: .}"), "backends[0].tls.ca: . is a directory (line 1)"]
  ] as const) {
    it.effect(`a TLS file that ${what} is a problem with its place`, () =>
      Effect.map(problemsWith(text), (problems) => assert.deepStrictEqual(problems, [expected]))
    )
  }
})

describe("the examples", () => {
  const folder = path.resolve(import.meta.dirname, "../../config")
  for (const file of readdirSync(folder).filter((name) => name.endsWith(".yaml"))) {
    it.effect(`are valid: ${file}`, () =>
      Effect.gen(function* () {
        const text = readFileSync(path.join(folder, file), "utf8")
        const needed = [...text.matchAll(/\$\{(\w+)\}/g)].map(([, name = ""]) => name)
        const config = yield* load(text, Object.fromEntries(needed.map((name) => [name, `a-${name}`])))
        assert.isAbove(config.backends.length, 0)
      })
    )
  }
})
