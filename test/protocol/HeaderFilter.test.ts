import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { toClient, toUpstream } from "../../src/protocol/HeaderFilter.ts"
import { holdsFor } from "../Property.ts"

type Pair = readonly [name: string, value: string]

const up = (
  pairs: ReadonlyArray<Pair>,
  options: { readable?: boolean; userAgent?: string } = {}
): ReadonlyArray<Pair> => {
  const flat = toUpstream(pairs.flat(), {
    readable: options.readable ?? true,
    requestId: "r-1",
    userAgent: options.userAgent
  })
  assert.strictEqual(flat.length % 2, 0)
  return flat.flatMap((name, index) => (index % 2 === 0 ? [[name, flat[index + 1] ?? ""] as const] : []))
}

const own: Pair = ["x-request-id", "r-1"]

const hopByHop = ["Connection", "Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Transfer-Encoding", "Upgrade"]

describe("what goes to the upstream", () => {
  it("what the client sent arrives as it was sent: order, spelling, doubles", () => {
    const sent: ReadonlyArray<Pair> = [
      ["Content-Type", "application/json"],
      ["X-Two", "1"],
      ["accept", "*/*"],
      ["X-Two", "2"],
      ["Cookie", "a=1"],
      ["Cookie", "b=2"],
      ["traceparent", "00-1-2-01"]
    ]
    assert.deepStrictEqual(up(sent), [...sent, own])
  })

  it("the pieces of a cookie over HTTP/2 arrive as the one cookie that they are, where the first was", () => {
    const line: ReadonlyArray<Pair> = [
      [":method", "GET"],
      [":path", "/"]
    ]
    const cookies = (...values: ReadonlyArray<string>) => values.map((value): Pair => ["cookie", value])
    const two: Pair = ["x-two", "1"]
    for (const [pieces, whole] of [
      [["a=1"], "a=1"],
      [["a=1", "b=2"], "a=1; b=2"],
      [["a=1; b=2", "c=3", "d=4; e=5"], "a=1; b=2; c=3; d=4; e=5"]
    ] as const) {
      const sent = [...line, two, ...cookies(...pieces), two]
      assert.deepStrictEqual(up(sent), [two, ["cookie", whole], two, own])
    }
    assert.deepStrictEqual(up([...line, ["cookie", "a=1"], two, ["cookie", "b=2"]]), [["cookie", "a=1; b=2"], two, own])
  })

  it("the client's credentials end here, in every form that opens the gateway", () => {
    const secrets: ReadonlyArray<Pair> = [
      ["Authorization", "Bearer secret"],
      ["X-API-Key", "secret"],
      ["API-Key", "secret"],
      ["Proxy-Authorization", "Basic secret"]
    ]
    assert.deepStrictEqual(up(secrets), [own])
    assert.deepStrictEqual(up(secrets.map(([name, value]) => [name.toLowerCase(), value])), [own])
  })

  it("what is between two neighbours ends here", () => {
    assert.deepStrictEqual(up(hopByHop.map((name) => [name, "x"])), [own])
    assert.deepStrictEqual(
      up([
        ["Host", "a"],
        ["Content-Length", "3"],
        ["Expect", "100-continue"],
        ["HTTP2-Settings", "x"]
      ]),
      [own]
    )
  })

  it("what Connection names ends here: several, in any case, in several headers", () => {
    const sent: ReadonlyArray<Pair> = [
      ["x-a", "1"],
      ["Connection", "X-A , keep-alive"],
      ["X-B", "2"],
      ["X-C", "3"],
      ["connection", "x-b"]
    ]
    assert.deepStrictEqual(up(sent), [["X-C", "3"], own])
  })

  it("HTTP/2's pseudo headers are no headers", () => {
    assert.deepStrictEqual(
      up([
        [":method", "POST"],
        [":path", "/"],
        [":authority", "a"],
        [":scheme", "https"],
        ["x", "1"]
      ]),
      [["x", "1"], own]
    )
  })

  it("the gateway's own words replace the client's: its request id, and a user agent where one is configured", () => {
    assert.deepStrictEqual(
      up([
        ["X-Request-Id", "mine"],
        ["X-Weir-Timeout", "3s"]
      ]),
      [own]
    )
    assert.deepStrictEqual(up([["User-Agent", "curl"]]), [["User-Agent", "curl"], own])
    assert.deepStrictEqual(up([["User-Agent", "curl"]], { userAgent: "Weir/1" }), [own, ["user-agent", "Weir/1"]])
  })

  it("compression is not asked for where the answer must be read, and is the client's affair elsewhere", () => {
    assert.deepStrictEqual(up([["Accept-Encoding", "gzip"]]), [own])
    assert.deepStrictEqual(up([["Accept-Encoding", "gzip"]], { readable: false }), [["Accept-Encoding", "gzip"], own])
  })
})

describe("what comes back to the client", () => {
  it("everything else passes, repeated headers joined", () => {
    const { cookies, headers } = toClient({ "content-type": "a/b", "x-a": ["1", "2"], "openai-model": "m" })
    assert.deepStrictEqual(headers, { "content-type": "a/b", "x-a": "1, 2", "openai-model": "m" })
    assert.deepStrictEqual(cookies, [])
  })

  it("cookies are never joined", () => {
    const { cookies, headers } = toClient({ "set-cookie": ["a=1; Expires=Wed, 21 Oct", "b=2"] })
    assert.deepStrictEqual(cookies, ["a=1; Expires=Wed, 21 Oct", "b=2"])
    assert.deepStrictEqual(headers, {})
    assert.deepStrictEqual(toClient({ "set-cookie": "a=1" }).cookies, ["a=1"])
  })

  it("what is between two neighbours ends here, with all that Connection names", () => {
    const { headers } = toClient({
      connection: "Keep-Alive, X-Secret",
      "keep-alive": "timeout=5",
      "x-secret": "1",
      "transfer-encoding": "chunked",
      "content-length": "5",
      te: "trailers",
      x: "1"
    })
    assert.deepStrictEqual(headers, { x: "1" })
    assert.deepStrictEqual(toClient({ connection: ["close", "X-A"], "x-a": "1", "x-b": "2" }).headers, {
      "x-b": "2"
    })
  })

  it("the backend does not tell its kind, nor speak in the gateway's name", () => {
    const names = ["server", "x-request-id", "x-routed-node", "x-weir-attempts", "x-weir-sticky"]
    assert.deepStrictEqual(toClient(Object.fromEntries(names.map((name) => [name, "x"]))).headers, {})
  })
})

describe("headers of any kind", () => {
  const forbidden = [
    ...hopByHop,
    "Host",
    "Content-Length",
    "Authorization",
    "x-api-key",
    "Api-Key",
    "X-Request-Id",
    "X-Weir-Timeout",
    ":path"
  ]
  const anyCase = (name: string) =>
    fc.array(fc.boolean(), { minLength: 1, maxLength: 8 }).map((upper) =>
      name
        .split("")
        .map((char, index) => (upper[index % upper.length] === true ? char.toUpperCase() : char.toLowerCase()))
        .join("")
    )
  const names = fc
    .stringMatching(/^[a-z][a-z-]{0,10}$/)
    .filter((name) => !forbidden.some((each) => each.toLowerCase() === name))
  const values = fc.stringMatching(/^[ -~]{0,12}$/)
  const pair = fc.oneof(
    { weight: 3, arbitrary: fc.tuple(names, values) },
    {
      weight: 2,
      arbitrary: fc.tuple(fc.constantFrom(...forbidden.filter((name) => name !== "Connection")).chain(anyCase), values)
    }
  )
  const lists = fc
    .array(pair, { maxLength: 12 })
    .chain((pairs) =>
      fc.tuple(
        fc.constant(pairs),
        fc.subarray(pairs.map(([name]) => name)),
        fc.constantFrom("Connection", "connection", "CONNECTION"),
        fc.constantFrom(",", ", ", " ,\t"),
        fc.nat({ max: 12 })
      )
    )
    .map(([pairs, named, spelled, separator, at]) => {
      const all: Array<readonly [string, string]> = [...pairs]
      if (named.length > 0) all.splice(at % (all.length + 1), 0, [spelled, named.join(separator).toUpperCase()])
      return { all, named: new Set(named.map((name) => name.toLowerCase())) }
    })
  const closed = new Set(forbidden.map((name) => name.toLowerCase()))
  const passes = ([name]: Pair, named: ReadonlySet<string>) =>
    !closed.has(name.toLowerCase()) && !named.has(name.toLowerCase())

  it("goes up in order, except what must not", () => {
    holdsFor(
      lists,
      ({ all, named }) => {
        assert.deepStrictEqual(up(all, { readable: false }), [...all.filter((each) => passes(each, named)), own])
      },
      1000
    )
  })

  it("comes down in order, except what must not", () => {
    const down = new Set([...hopByHop.map((name) => name.toLowerCase()), "content-length", "x-request-id"])
    holdsFor(
      lists,
      ({ all, named }) => {
        const upstream = Object.fromEntries(all.map(([name, value]) => [name.toLowerCase(), value]))
        const expected = Object.entries(upstream).filter(([name]) => !down.has(name) && !named.has(name))
        assert.deepStrictEqual(Object.entries(toClient(upstream).headers), expected)
      },
      1000
    )
  })
})
