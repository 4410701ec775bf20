import { assert, describe, it } from "@effect/vitest"
import { errors } from "undici"
import { toUpstreamFailed } from "../../src/transport/TransportFailure.ts"
import { UpstreamFailed } from "../../src/transport/UpstreamTransport.ts"

const failure = (code: string, more: object = {}) =>
  Object.assign(new Error("secret address 10.0.0.1"), { code, ...more })

describe("what went wrong on a connection", () => {
  const cases: ReadonlyArray<readonly [kind: UpstreamFailed["kind"], ...codes: ReadonlyArray<string>]> = [
    [
      "connect",
      "ECONNREFUSED",
      "ENOTFOUND",
      "EAI_AGAIN",
      "EHOSTUNREACH",
      "ENETUNREACH",
      "ETIMEDOUT",
      "UND_ERR_CONNECT_TIMEOUT"
    ],
    [
      "tls",
      "ERR_TLS_CERT_ALTNAME_INVALID",
      "CERT_HAS_EXPIRED",
      "DEPTH_ZERO_SELF_SIGNED_CERT",
      "SELF_SIGNED_CERT_IN_CHAIN",
      "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
      "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
      "EPROTO",
      "ERR_SSL_WRONG_VERSION_NUMBER"
    ],
    ["reset", "ECONNRESET", "EPIPE", "UND_ERR_SOCKET", "UND_ERR_CLOSED", "UND_ERR_DESTROYED", "SOMETHING_NEW"],
    [
      "protocol",
      "HPE_INVALID_CONSTANT",
      "HPE_INVALID_CONTENT_LENGTH",
      "UND_ERR_HEADERS_OVERFLOW",
      "UND_ERR_RES_CONTENT_LENGTH_MISMATCH"
    ]
  ]
  for (const [kind, ...codes] of cases) {
    for (const code of codes) {
      it(`is ${kind}: ${code}`, () => {
        const failed = toUpstreamFailed(failure(code))
        assert.deepStrictEqual([failed.kind, failed.detail], [kind, code])
      })
    }
  }

  const shortages: ReadonlyArray<readonly [code: string, syscall: string]> = [
    ["EMFILE", "connect"],
    ["EMFILE", "getaddrinfo"],
    ["EMFILE", "open"],
    ["ENFILE", "connect"],
    ["EADDRNOTAVAIL", "connect"],
    ["EADDRNOTAVAIL", "bind"],
    ["EAGAIN", "connect"],
    ["ENOBUFS", "connect"],
    ["ENOBUFS", "write"],
    ["ENOMEM", "connect"],
    ["ENOMEM", "read"],
    ["EAI_MEMORY", "getaddrinfo"]
  ]
  for (const [code, syscall] of shortages) {
    it(`is our own shortage, bare or behind what wraps it: ${code} of ${syscall}`, () => {
      const bare = failure(code, { syscall })
      const cases: ReadonlyArray<Error> = [
        bare,
        new Error("x", { cause: bare }),
        failure("UND_ERR_PRX_CONN", { cause: bare }),
        new AggregateError([bare, failure("EMFILE", { syscall: "connect" })]),
        Object.assign(new AggregateError([bare, bare]), { code })
      ]
      for (const error of cases) {
        const { detail, kind } = toUpstreamFailed(error)
        assert.deepStrictEqual([kind, detail], ["local", code])
      }
    })
  }

  it("is our own where a name cannot be looked up because the resolver can open nothing, even if it can since", () => {
    const busy = failure("EBUSY", { syscall: "getaddrinfo" })
    for (const error of [busy, new Error("x", { cause: busy }), failure("UND_ERR_PRX_CONN", { cause: busy })]) {
      const { detail, kind } = toUpstreamFailed(error)
      assert.deepStrictEqual([kind, detail], ["local", "EMFILE"])
    }
    const unknown = toUpstreamFailed(failure("ENOTFOUND", { syscall: "getaddrinfo" }))
    assert.deepStrictEqual([unknown.kind, unknown.detail], ["connect", "ENOTFOUND"])
  })

  it("is our own where one address of a name could not be tried for it, whatever came of the others", () => {
    const theirs = failure("ECONNREFUSED", { syscall: "connect", address: "::1" })
    for (const [code, address] of [
      ["EMFILE", ""],
      ["ENFILE", "10.0.0.7"],
      ["ENOBUFS", "::1"],
      ["EADDRNOTAVAIL", "127.0.0.1"]
    ] as const) {
      const ours = failure(code, { syscall: "connect", address })
      for (const errors of [
        [ours, theirs],
        [theirs, ours]
      ]) {
        for (const outer of ["ECONNREFUSED", code]) {
          const failed = toUpstreamFailed(Object.assign(new AggregateError(errors), { code: outer }))
          assert.deepStrictEqual([failed.kind, failed.detail], ["local", code])
        }
      }
    }
  })

  it("is the backend's on a machine without IPv6, where its other addresses could be asked", () => {
    const noIpv6 = failure("EADDRNOTAVAIL", { syscall: "connect", address: "::1" })
    for (const [code, kind] of [
      ["ECONNREFUSED", "connect"],
      ["ETIMEDOUT", "connect"],
      ["ECONNRESET", "reset"]
    ] as const) {
      const theirs = failure(code, { syscall: "connect" })
      for (const errors of [
        [noIpv6, theirs],
        [theirs, noIpv6]
      ]) {
        const error = Object.assign(new AggregateError(errors), { code: "EADDRNOTAVAIL" })
        const failed = toUpstreamFailed(error)
        assert.deepStrictEqual([failed.kind, failed.detail], [kind, code])
      }
    }
  })

  it("is not our own because a socket is not ready or an address is taken elsewhere", () => {
    for (const syscall of ["read", "write", "getaddrinfo", ""]) {
      for (const code of ["EAGAIN", "EADDRNOTAVAIL"]) {
        assert.notStrictEqual(toUpstreamFailed(failure(code, { syscall })).kind, "local")
      }
    }
  })

  it("is told by its code and never by its message, which may name addresses", () => {
    assert.notInclude(toUpstreamFailed(failure("ECONNREFUSED")).message, "10.0.0.1")
    assert.strictEqual(toUpstreamFailed(failure("ECONNREFUSED")).message, "connect: ECONNREFUSED")
  })

  it("is found behind the errors that wrap it", () => {
    const inner = failure("ECONNREFUSED")
    const codeless = new AggregateError([inner, failure("ENETUNREACH")])
    assert.strictEqual(toUpstreamFailed(codeless).kind, "connect")
    assert.strictEqual(toUpstreamFailed(Object.assign(codeless, { code: "ETIMEDOUT" })).detail, "ETIMEDOUT")
    assert.strictEqual(toUpstreamFailed(new Error("x", { cause: failure("CERT_HAS_EXPIRED") })).kind, "tls")
  })

  it("is as undici's own errors say", () => {
    assert.strictEqual(toUpstreamFailed(new errors.ConnectTimeoutError("x")).kind, "connect")
    assert.strictEqual(toUpstreamFailed(new errors.HeadersOverflowError("x")).kind, "protocol")
    assert.strictEqual(toUpstreamFailed(new errors.SocketError("other side closed")).kind, "reset")
    assert.strictEqual(toUpstreamFailed(new errors.ResponseContentLengthMismatchError("x")).kind, "protocol")
  })

  it("an error on a connection that was there is a reset, though its code is one of connecting", () => {
    for (const code of ["ETIMEDOUT", "EHOSTUNREACH", "ENETUNREACH"]) {
      assert.strictEqual(toUpstreamFailed(failure(code, { syscall: "connect" })).kind, "connect")
      assert.strictEqual(toUpstreamFailed(failure(code, { syscall: "read" })).kind, "reset")
      assert.strictEqual(toUpstreamFailed(failure(code, { syscall: "write" })).kind, "reset")
    }
  })

  it("is what it was where we ended it ourselves", () => {
    const ours = new UpstreamFailed({ kind: "timeout", detail: "idle" })
    assert.strictEqual(toUpstreamFailed(ours), ours)
  })

  for (const unknown of [undefined, null, "text", 5, {}, { code: 5 }]) {
    it(`is a broken connection where nothing is known: ${JSON.stringify(unknown)}`, () => {
      assert.deepInclude(toUpstreamFailed(unknown), { kind: "reset", detail: "unknown" })
    })
  }

  it("names the kind of an error without a code", () => {
    assert.deepInclude(toUpstreamFailed(new TypeError("x")), { kind: "reset", detail: "TypeError" })
  })

  it("ends even where errors are wrapped in a circle", () => {
    const loop = new Error("a")
    loop.cause = loop
    assert.strictEqual(toUpstreamFailed(loop).kind, "reset")
  })
})
