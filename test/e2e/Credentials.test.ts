/** What a backend is shown of the gateway's credentials and headers, and what of the client's never gets there. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Simulator } from "../../src/sim/Simulator.ts"
import { ask, chat } from "./Ask.ts"
import { serve } from "./Program.ts"

type Pair = readonly [name: string, value: string]

/** All that the engine saw of these headers, in order, for the requests of this method. */
const seenBy = (simulator: Simulator["Service"], method: string, names: ReadonlyArray<string>) =>
  Effect.map(simulator.requests(), (requests) =>
    requests
      .filter((request) => request.method === method)
      .map(({ headers }) =>
        headers.map(([name, value]): Pair => [name.toLowerCase(), value]).filter(([name]) => names.includes(name))
      )
  )

const credentials = ["authorization", "x-api-key", "api-key", "cookie", "x-apig-appcode", "x-sdk-date"]

const clientKey = "the-clients-own"

/** A completion, a stream and a request by path, each with every credential that a client may bring. */
const askAll = Effect.fnUntraced(function* (url: string, more: Record<string, string> = {}) {
  for (const [name, value] of [
    ["authorization", `Bearer ${clientKey}`],
    ["x-api-key", clientKey],
    ["api-key", clientKey]
  ] as const) {
    const headers = { [name]: value, ...more }
    assert.strictEqual((yield* chat(url, { max_tokens: 1 }, headers)).status, 200)
    assert.strictEqual((yield* chat(url, { max_tokens: 1, stream: true }, headers)).status, 200)
    assert.strictEqual((yield* ask(`${url}/echo/x`, { method: "POST", headers })).status, 200)
  }
})

describe("a backend's credentials", () => {
  const forms: ReadonlyArray<readonly [what: string, auth: object | undefined, expected: ReadonlyArray<Pair>]> = [
    ["none, where none are configured", undefined, []],
    ["none, where that is said", { type: "none" }, []],
    ["a token", { type: "bearer", token: "t-1" }, [["authorization", "Bearer t-1"]]],
    ["a user and a password", { type: "basic", username: "u", password: "p:ü" }, [["authorization", "Basic dTpwOsO8"]]],
    ["both in one, encoded already", { type: "basic", credentials: "dTpw" }, [["authorization", "Basic dTpw"]]],
    ["a header of its own", { type: "header", name: "X-Apig-AppCode", value: "c0de" }, [["x-apig-appcode", "c0de"]]]
  ]
  for (const [what, auth, expected] of forms) {
    it.live(`are on every request and every probe, and the client's are on none: ${what}`, () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator.make()
        const gateway = yield* serve({
          keys: [{ name: "k", key: clientKey }],
          backends: [{ name: "a", url: simulator.url, ...(auth !== undefined && { auth }) }]
        })
        yield* askAll(gateway.url)
        const posts = yield* seenBy(simulator, "POST", credentials)
        assert.strictEqual(posts.length, 9)
        const probes = yield* seenBy(simulator, "GET", credentials)
        assert.isAbove(probes.length, 0)
        for (const seen of [...posts, ...probes]) assert.deepStrictEqual(seen, expected)
      })
    )
  }
})

describe("a backend's header operations", () => {
  it.live("are done in their order on every request and every probe, before its credentials", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.make()
      const gateway = yield* serve({
        backends: [
          {
            name: "a",
            url: simulator.url,
            auth: { type: "bearer", token: "t-1" },
            headers: [
              { op: "insert", name: "X-Team", value: "ours" },
              { op: "insert", name: "X-Kept", value: "ours" },
              { op: "replace", name: "x-origin", value: "weir" },
              { op: "remove", name: "COOKIE" },
              { op: "replace", name: "Authorization", value: "not this" },
              { op: "remove", name: "x-team-2" },
              { op: "insert", name: "X-Team-2", value: "after" }
            ]
          }
        ]
      })
      const names = ["x-team", "x-kept", "x-origin", "cookie", "authorization", "x-team-2"]
      yield* askAll(gateway.url, {
        "X-KEPT": "the client's",
        "X-Origin": "browser",
        Cookie: "session=1",
        "x-team-2": "before"
      })
      const posts = yield* seenBy(simulator, "POST", names)
      const sorted = (pairs: ReadonlyArray<Pair>) => pairs.toSorted(([a], [b]) => (a < b ? -1 : 1))
      for (const seen of posts) {
        assert.deepStrictEqual(sorted(seen), [
          ["authorization", "Bearer t-1"],
          ["x-kept", "the client's"],
          ["x-origin", "weir"],
          ["x-team", "ours"],
          ["x-team-2", "after"]
        ])
      }
      for (const seen of yield* seenBy(simulator, "GET", names)) {
        assert.deepStrictEqual(sorted(seen), [
          ["authorization", "Bearer t-1"],
          ["x-kept", "ours"],
          ["x-origin", "weir"],
          ["x-team", "ours"],
          ["x-team-2", "after"]
        ])
      }
    })
  )

  it.live("are those of the backend that is asked: another attempt begins with the client's request", () =>
    Effect.gen(function* () {
      const [broken, good] = [yield* Simulator.make(), yield* Simulator.make()]
      yield* broken.setFaults({ kind: "status", status: 500 })
      const backend = (name: string, url: string) => ({
        name,
        url,
        models: ["sim-model"],
        auth: { type: "bearer", token: `key-of-${name}` },
        headers: [
          { op: "insert", name: `X-Only-${name}`, value: "1" },
          { op: "replace", name: "x-node", value: name }
        ]
      })
      const gateway = yield* serve({
        backends: [backend("broken", broken.url), backend("good", good.url)],
        pools: [{ name: "default", backends: ["broken", "good"], strategy: "failover" }]
      })
      const answer = yield* chat(gateway.url, { max_tokens: 1 })
      assert.strictEqual(answer.headers.get("x-routed-node"), "good")
      const names = ["authorization", "x-node", "x-only-broken", "x-only-good"]
      assert.deepStrictEqual((yield* seenBy(broken, "POST", names)).at(0), [
        ["x-only-broken", "1"],
        ["x-node", "broken"],
        ["authorization", "Bearer key-of-broken"]
      ])
      assert.deepStrictEqual((yield* seenBy(good, "POST", names)).at(0), [
        ["x-only-good", "1"],
        ["x-node", "good"],
        ["authorization", "Bearer key-of-good"]
      ])
    })
  )
})
