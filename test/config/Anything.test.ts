/** Whatever a file says: a configuration, or a list of what is wrong with it, and no secret in that list. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit } from "effect"
import * as fc from "fast-check"
import * as Yaml from "yaml"
import { ConfigInvalid, printYaml, validate } from "../../src/config/ConfigLoader.ts"
import { parseSource } from "../../src/config/YamlSource.ts"
import { holdsFor } from "../Property.ts"

const load = (text: string) =>
  Effect.runSyncExit(
    Effect.flatMap(parseSource("weir.yaml", text), (source) => validate("weir.yaml", source, { SET: "value" }, {}))
  )

/** The problems; none for a configuration that is valid. Anything else than these two fails the test. */
const problemsOf = (text: string): ReadonlyArray<string> => {
  const exit = load(text)
  if (Exit.isSuccess(exit)) return []
  const failure = Exit.findErrorOption(exit)
  if (failure._tag === "None" || !(failure.value instanceof ConfigInvalid))
    assert.fail(`died of ${text}\n${String(exit)}`)
  assert.isAbove(failure.value.problems.length, 0)
  return failure.value.message.split("\n")
}

const secret = "s3cr3t-value"

const scalar = fc.oneof(
  fc.constantFrom(
    "",
    "a",
    "b",
    "http://h:1",
    "30s",
    "-1",
    "1e999",
    "${SET}",
    "${MISSING}",
    "${MISSING:-x}",
    "*",
    "/a/*"
  ),
  fc.constantFrom(
    "__proto__",
    "constructor",
    "least_inflight",
    "10.0.0.0/8",
    "localhost",
    "{",
    "[",
    "\u0000",
    "\ud800"
  ),
  fc.string({ maxLength: 6 }),
  fc.integer(),
  fc.double(),
  fc.boolean(),
  fc.constant(null)
)

const key = fc.constantFrom(
  "server",
  "listeners",
  "admin",
  "backends",
  "pools",
  "models",
  "keys",
  "limits",
  "health",
  "security",
  "state",
  "telemetry",
  "name",
  "url",
  "host",
  "port",
  "pool",
  "routes",
  "path",
  "auth",
  "type",
  "strategy",
  "match",
  "weight",
  "timeouts",
  "connect",
  "retry",
  "sticky",
  "by",
  "headers",
  "op",
  "value",
  "maxBodyBytes",
  "maxConnections",
  "unknown",
  "__proto__",
  "constructor"
)

const { node } = fc.letrec((tie) => ({
  node: fc.oneof(
    { maxDepth: 5 },
    scalar,
    fc.array(tie("node"), { maxLength: 3 }),
    fc.dictionary(key, tie("node"), { maxKeys: 5 })
  )
}))

describe("a configuration of any shape", () => {
  it("is valid, or every problem has a line of its own: nothing dies of it", () => {
    holdsFor(
      fc.dictionary(key, node, { maxKeys: 6 }),
      (value) => {
        for (const problem of problemsOf(Yaml.stringify(value))) assert.notInclude(problem, "\n")
      },
      1000
    )
  })

  it("a configuration that is no YAML at all is a problem too", () => {
    const text = fc.string({
      unit: fc.constantFrom(
        "a",
        ":",
        " ",
        "\n",
        "-",
        "{",
        "}",
        "[",
        "]",
        "&a",
        "*a",
        "!!",
        "'",
        '"',
        "#",
        "\t",
        "<<",
        "|",
        ">",
        "?",
        "%"
      ),
      maxLength: 30
    })
    holdsFor(
      text,
      (given) => {
        assert.isArray(problemsOf(given))
      },
      2000
    )
  })

  it("does not tell a secret in its problems, wherever it is written and whatever is wrong beside it", () => {
    const place = fc.constantFrom(
      (wrong: unknown) => ({ keys: [{ name: "a", key: secret, [String(wrong)]: 1 }] }),
      (wrong: unknown) => ({
        keys: [
          { name: wrong, key: secret },
          { name: wrong, key: secret }
        ]
      }),
      (wrong: unknown) => ({ admin: { token: secret, port: wrong } }),
      (wrong: unknown) => ({ admin: { token: [secret, wrong] } }),
      (wrong: unknown) => ({ backends: [{ name: "a", url: wrong, auth: { type: "bearer", token: secret } }] }),
      (wrong: unknown) => ({ backends: [{ name: "a", url: "http://h", auth: { type: wrong, token: secret } }] }),
      (wrong: unknown) => ({ backends: [{ name: "a", url: `http://u:${secret}@h:${String(wrong)}` }] }),
      (wrong: unknown) => ({
        backends: [{ name: "a", url: "http://h", headers: [{ op: wrong, name: "x", value: secret }] }]
      }),
      (wrong: unknown) => ({ state: { store: wrong, url: `redis://:${secret}@h` } }),
      (wrong: unknown) => ({
        pools: [{ name: "p", backends: [], client: { proxy: `http://u:${secret}@h`, keepAlive: wrong } }]
      })
    )
    holdsFor(
      fc.tuple(place, scalar),
      ([make, wrong]) => {
        const text = Yaml.stringify(make(wrong))
        assert.notInclude(problemsOf(text).join("\n"), secret, text)
        const exit = load(text)
        if (Exit.isSuccess(exit)) assert.notInclude(printYaml(exit.value), secret, text)
      },
      1000
    )
  })
})
