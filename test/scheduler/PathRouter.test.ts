import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { parsePathPattern } from "../../src/domain/PathPattern.ts"
import { makePathRouter } from "../../src/scheduler/PathRouter.ts"

const routerOf = (...patterns: ReadonlyArray<string>) =>
  makePathRouter(
    patterns.map((source) => ({
      value: source,
      pattern: Result.getOrThrowWith(parsePathPattern(source), (why) => new Error(why))
    }))
  )

describe("the path router", () => {
  /** Patterns, a path, and the pattern that must win (`undefined`: none, the default pool). */
  const table: ReadonlyArray<readonly [ReadonlyArray<string>, string, string | undefined]> = [
    [["/api", "/api/v1"], "/api/v3", undefined],
    [["/api", "/api/v1"], "/x", undefined],
    [["/api", "/api/v1"], "/api/v1", "/api/v1"],
    [["/users/:id"], "/users/123", "/users/:id"],
    [["/users/:id"], "/users/123/extra", undefined],
    [["/users/:id"], "/users/", undefined],
    [["/posts/:category/:id"], "/posts/tech", undefined],
    [["/files/*"], "/files/a.pdf", "/files/*"],
    [["/files/*"], "/files/a/b.docx", "/files/*"],
    [["/files/*"], "/files", undefined],
    [["/api/*/docs"], "/api/v1/docs", "/api/*/docs"],
    [["/api/*/docs"], "/api/v1/documents", undefined],
    [["/api/*/docs"], "/api/v1/v2/docs", undefined],
    [["/items/{id:[0-9]+}"], "/items/42", "/items/{id:[0-9]+}"],
    [["/items/{id:[0-9]+}"], "/items/abc", undefined],
    [["/items/{id:[0-9]+}"], "/items/42x", undefined],
    [
      ["/products/{code:[A-Z][A-Z][A-Z][0-9][0-9][0-9]}"],
      "/products/ABC123",
      "/products/{code:[A-Z][A-Z][A-Z][0-9][0-9][0-9]}"
    ],
    [["/products/{code:[A-Z]{3}[0-9]{3}}"], "/products/ABC123", "/products/{code:[A-Z]{3}[0-9]{3}}"],
    [["/products/{code:[A-Z]{3}[0-9]{3}}"], "/products/abc123", undefined],
    [["/products/{code:[A-Z]{3}[0-9]{3}}"], "/products/ABC12", undefined],
    [
      ["/api/:version/users/{id:[0-9]+}/profile"],
      "/api/v2/users/42/profile",
      "/api/:version/users/{id:[0-9]+}/profile"
    ],
    [["/api/:version/users/{id:[0-9]+}/profile"], "/api/v2/users/abc/profile", undefined],
    [["/api/*", "/api/users/:id", "/api/users/admin"], "/api/users/admin", "/api/users/admin"],
    [["/api/*", "/api/users/:id", "/api/users/admin"], "/api/users/123", "/api/users/:id"],
    [["/api/*", "/api/users/:id", "/api/users/admin"], "/api/products", "/api/*"],
    [["/a/:x", "/a/{x:[0-9]+}"], "/a/1", "/a/{x:[0-9]+}"],
    [["/a/:x", "/a/{x:[0-9]+}"], "/a/b", "/a/:x"],
    [["/:x/b/c", "/a/:y/:z"], "/a/b/c", "/:x/b/c"],
    [["/a/*", "/a/b/*"], "/a/b/c", "/a/b/*"],
    [["/*"], "/", "/*"],
    [["/*"], "/anything/at/all", "/*"],
    [["/v1/embeddings"], "/v1/embeddings/", undefined]
  ]
  for (const [patterns, path, expected] of table) {
    it(`${path} among ${patterns.join(" ")} takes ${expected ?? "the default"}`, () => {
      assert.strictEqual(routerOf(...patterns).find(path), expected)
    })
  }

  it("prefers what was written first among equals", () => {
    assert.strictEqual(routerOf("/{a:x.}", "/{b:.y}").find("/xy"), "/{a:x.}")
    assert.strictEqual(routerOf("/{b:.y}", "/{a:x.}").find("/xy"), "/{b:.y}")
  })

  it("finds its way among 30,000 routes", () => {
    const tenants = Array.from({ length: 10_000 }, (_, n) => `/tenant-${n}`)
    const router = routerOf(...tenants.flatMap((tenant) => [`${tenant}/:x`, `${tenant}/*`, `${tenant}/a`]))
    for (const tenant of tenants) {
      assert.strictEqual(router.find(`${tenant}/a`), `${tenant}/a`)
      assert.strictEqual(router.find(`${tenant}/b`), `${tenant}/:x`)
      assert.strictEqual(router.find(`${tenant}/b/c`), `${tenant}/*`)
    }
  })
})

describe("a path pattern", () => {
  const invalid = ["/a/{x", "/a/x}", "/a/{x:[}", "/a/{x:(?=a)}", "/a/b*", "/a/:", "/a/:x-y", "/a/{:x}"]
  for (const source of invalid) {
    it(`${source} is refused`, () => {
      assert.isTrue(Result.isFailure(parsePathPattern(source)))
    })
  }
})
