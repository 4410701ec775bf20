import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import * as fc from "fast-check"
import { parsePathPattern } from "../../src/domain/PathPattern.ts"
import { makePathRouter } from "../../src/routing/PathRouter.ts"
import { holdsFor } from "../Property.ts"

const routerOf = (...patterns: ReadonlyArray<string>) =>
  makePathRouter(
    patterns.map((source) => ({
      value: source,
      pattern: Result.getOrThrowWith(parsePathPattern(source), (why) => new Error(why))
    }))
  )

/** The contract's rules, one after the other, over every pattern. */
const slowly = (patterns: ReadonlyArray<string>, path: string): string | undefined => {
  const asked = path.split("/").slice(1)
  const isStatic = (segment: string) => !/^[:{*]/.test(segment)
  const fits = (pattern: string): boolean => {
    const segments = pattern.split("/").slice(1)
    const endless = segments.at(-1) === "*"
    const fixed = endless ? segments.slice(0, -1) : segments
    if (endless ? asked.length <= fixed.length : asked.length !== fixed.length) return false
    return fixed.every((segment, index) => {
      const given = asked[index] ?? ""
      if (isStatic(segment)) return segment === given
      const form = /^\{\w+:(.*)\}$/.exec(segment)?.[1]
      return given !== "" && (form === undefined || new RegExp(`^(?:${form})$`).test(given))
    })
  }
  const count = (pattern: string, of: (segment: string) => boolean) => pattern.split("/").slice(1).filter(of).length
  const rank = (pattern: string): ReadonlyArray<number> => [
    count(pattern, (segment) => !isStatic(segment)) === 0 ? 0 : 1,
    -count(pattern, isStatic),
    -count(pattern, (segment) => segment.startsWith("{")),
    -pattern.length
  ]
  const before = (a: ReadonlyArray<number>, b: ReadonlyArray<number>): number => {
    const at = a.findIndex((value, index) => value !== b[index])
    return at < 0 ? 0 : (a[at] ?? 0) - (b[at] ?? 0)
  }
  return patterns.filter(fits).toSorted((a, b) => before(rank(a), rank(b)))[0]
}

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

  it("takes the route that the order of the contract names, whatever the routes and the path are", () => {
    const segment = fc.constantFrom(
      "a",
      "b",
      "ab",
      "1",
      "12",
      ":x",
      ":a_rather_long_name",
      "{n:[0-9]+}",
      "{w:[a-z]+}",
      "{any:.*}",
      "*"
    )
    const pattern = fc.array(segment, { minLength: 1, maxLength: 4 }).map((segments) => `/${segments.join("/")}`)
    const path = fc
      .array(fc.constantFrom("a", "b", "ab", "1", "12", "c", ""), { maxLength: 5 })
      .map((segments) => `/${segments.join("/")}`)
    holdsFor(
      fc.tuple(fc.uniqueArray(pattern, { minLength: 1, maxLength: 8 }), path),
      ([patterns, asked]) => {
        assert.strictEqual(routerOf(...patterns).find(asked), slowly(patterns, asked))
      },
      5000
    )
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
