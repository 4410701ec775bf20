/** What a configuration may not say of routes, rules and pools: each with the place and the reason. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { validate } from "../../src/config/ConfigLoader.ts"
import { parseSource } from "../../src/config/YamlSource.ts"

const problemsOf = (text: string) =>
  Effect.gen(function* () {
    const source = yield* parseSource("weir.yaml", text)
    return yield* validate("weir.yaml", source, {}, {})
  }).pipe(
    Effect.flip,
    Effect.map(({ message }) => message.split("\n"))
  )

const backends = [
  { name: "a", url: "http://127.0.0.1:9001" },
  { name: "b", url: "http://127.0.0.1:9002" }
]

/** Every problem of a configuration, without the lines. */
const problems = (config: object) =>
  Effect.map(problemsOf(JSON.stringify({ backends, pools: [{ name: "p", backends: ["a"] }], ...config })), (all) =>
    all.map((each) => each.replace(/ \(line \d+\)$/, ""))
  )

type Cases = ReadonlyArray<readonly [given: unknown, expected: ReadonlyArray<string>]>

const linear = "not a regular expression that can be matched in linear time"

describe("a path route", () => {
  const cases: Cases = [
    [["/a/:x", "/a/:y"], ["listeners[0].routes[1].path: duplicate path (the same as in entry 0)"]],
    [["/a/*/b", "/a/:x/b"], ["listeners[0].routes[1].path: duplicate path (the same as in entry 0)"]],
    [["/a/{x:b+}", "/c", "/a/{y:b+}"], ["listeners[0].routes[2].path: duplicate path (the same as in entry 0)"]],
    [["/v1/x", "/openai/v1/x"], ["listeners[0].routes[1].path: duplicate path (the same as in entry 0)"]],
    [["/a/*", "/a/*"], ["listeners[0].routes[1].path: duplicate path (the same as in entry 0)"]],
    [["a", ""], ["a", "b"].map((_, i) => `listeners[0].routes[${i}].path: expected a path that begins with /`)],
    [["/a/{x"], ["listeners[0].routes[0].path: a brace is not closed"]],
    [["/a/x}"], ["listeners[0].routes[0].path: a brace is not closed"]],
    [["/a/b*"], ["listeners[0].routes[0].path: b* is neither a plain segment nor :name, {name:regex} or *"]],
    [["/a/:"], ["listeners[0].routes[0].path: : is no name for a segment"]],
    [["/a/{:x}"], ["listeners[0].routes[0].path: {:x} is neither a plain segment nor :name, {name:regex} or *"]],
    [["/a/{x:[0-9+}"], [`listeners[0].routes[0].path: ${linear}: missing closing ]: \`[0-9+\``]],
    [["/a/{x:(?=b)}"], [`listeners[0].routes[0].path: ${linear}: lookahead and lookbehind are not supported`]],
    [["/a/{x:(b)\\1}"], [`listeners[0].routes[0].path: ${linear}: backreferences are not supported`]]
  ]
  it.effect.each(cases)("a path route among %j is refused", ([paths, expected]) =>
    Effect.gen(function* () {
      const routes = Array.isArray(paths) ? paths.map((path) => ({ path, pool: "p" })) : []
      assert.deepStrictEqual(yield* problems({ listeners: [{ routes }] }), expected)
    })
  )

  it.effect("a path route to a pool that does not exist is refused", () =>
    Effect.gen(function* () {
      const routes = [{ path: "/a", pool: "pp" }, { path: "/b" }]
      assert.deepStrictEqual(yield* problems({ listeners: [{ routes }] }), [
        "listeners[0].routes[1].pool: is required",
        "listeners[0].routes[0].pool: unknown pool pp; did you mean p? (known: p)"
      ])
    })
  )

  it.effect("a path route whose braces make no YAML is one problem, with what to do about it", () =>
    Effect.gen(function* () {
      const text = "listeners:\n  - port: 1\n    routes:\n      - { path: /a/{id:[0-9]+}, pool: p }\npools: []\n"
      const all = yield* problemsOf(text)
      assert.strictEqual(all.length, 1, all.join("\n"))
      assert.match(all[0] ?? "", /^not valid YAML: .*; text with braces or brackets in it needs quotes \(line 4\)$/)
    })
  )
})

describe("what a listener passes through", () => {
  const cases: Cases = [
    ["some", ['expected "safe" | "all" | "none"']],
    [true, ['expected "safe" | "all" | "none" | array']],
    [["flush_cache"], ["[0]: expected a path that begins with /"]],
    [["/a/{x"], ["[0]: a brace is not closed"]],
    [["/a", "/b*"], ["[1]: b* is neither a plain segment nor :name, {name:regex} or *"]],
    [["/slots/:id", "/slots/{n:[0-9]+}", "/slots/*/", "/slots/:slot"], ["[3]: duplicate path (the same as in entry 0)"]]
  ]
  it.effect.each(cases)("is not %j", ([passThrough, expected]) =>
    Effect.gen(function* () {
      const found = yield* problems({ listeners: [{ passThrough }] })
      assert.deepStrictEqual(
        found,
        expected.map((each) => `listeners[0].passThrough${each.startsWith("[") ? "" : ": "}${each}`)
      )
    })
  )

  it.effect.each<string | ReadonlyArray<string>>(["safe", "all", "none", [], ["/slots/:id", "/api/*"]])(
    "may be %j",
    (passThrough) =>
      Effect.gen(function* () {
        const source = yield* parseSource("weir.yaml", JSON.stringify({ listeners: [{ passThrough }] }))
        const { listeners } = yield* validate("weir.yaml", source, {}, {})
        assert.deepEqual<unknown>(listeners[0].passThrough, passThrough)
      })
  )
})

describe("a model rule", () => {
  const cases: Cases = [
    [
      [
        { match: "m", pool: "p" },
        { match: "n", pool: "p" },
        { match: "m", backends: ["a"] }
      ],
      ["models[2].match: duplicate match (the same as in entry 0)"]
    ],
    [[{ match: "m", backends: [] }], ["models[0].backends: a rule needs at least one backend"]],
    [
      [{ match: "m" }],
      ["models[0]: a rule needs a pool, backends, or something else to do with the models that it matches"]
    ],
    [[{ match: "m", pool: "p", backends: ["a"] }], ["models[0]: a rule has either a pool or backends, not both"]],
    [[{ match: "m", backends: ["a", "c"] }], ["models[0].backends[1]: unknown backend c (known: a, b)"]],
    [[{ match: "m", pool: "pool" }], ["models[0].pool: unknown pool pool (known: p)"]],
    [[{ pool: "p" }], ["models[0].match: is required"]],
    [[{ match: "", pool: "p" }], ["models[0].match: expected a value with a length of at least 1"]],
    [[{ match: "(", pool: "p" }], [`models[0].match: ${linear}: missing closing ): \`(\``]],
    ...["(?=a)b", "(?!a)b", "(?<=a)b", "(?<!a)b"].map(
      (match) =>
        [[{ match, pool: "p" }], [`models[0].match: ${linear}: lookahead and lookbehind are not supported`]] as const
    ),
    ...["(a+)\\1", "(?<x>a)\\k<x>"].map(
      (match) => [[{ match, pool: "p" }], [`models[0].match: ${linear}: backreferences are not supported`]] as const
    ),
    [
      [{ match: "m", upstreamModl: "x" }],
      [
        "models[0].upstreamModl: unknown key; did you mean upstreamModel? (known: match, pool, backends, instances, upstreamModel, fallbacks, gptOss, tools)"
      ]
    ]
  ]
  it.effect.each(cases)("a model rule such as %j is refused", ([models, expected]) =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* problems({ models }), expected)
    })
  )

  it.effect("an expression that would run on for ever elsewhere is not refused: here it runs in linear time", () =>
    Effect.gen(function* () {
      const source = yield* parseSource(
        "weir.yaml",
        JSON.stringify({ backends, models: [{ match: "(a+)+$", backends: ["a"] }] })
      )
      assert.strictEqual((yield* validate("weir.yaml", source, {}, {})).models.length, 1)
    })
  )
})

describe("a pool", () => {
  const cases: Cases = [
    [{ backends: [] }, ["pools[0].backends: a pool needs at least one backend"]],
    [{}, ["pools[0].backends: is required"]],
    [{ backends: ["a", "a"] }, ["pools[0].backends[1]: duplicate member (the same as in entry 0)"]],
    [{ backends: ["a", { name: "bb" }] }, ["pools[0].backends[1]: unknown backend bb; did you mean b? (known: a, b)"]],
    ...[0, 65_536, 1.5, -1].map(
      (weight) =>
        [
          { backends: [{ name: "a", weight }] },
          ["pools[0].backends[0].weight: expected a whole number between 1 and 65535"]
        ] as const
    ),
    [
      { backends: [{ name: "a", wieght: 2 }] },
      ["pools[0].backends[0].wieght: unknown key; did you mean weight? (known: name, weight, priority)"]
    ],
    [
      { backends: ["a"], sticky: { ttll: "3m" } },
      ["pools[0].sticky.ttll: unknown key; did you mean ttl? (known: by, userPatterns, ttl, maxEntries, maxImbalance)"]
    ],
    [
      { backends: ["a"], sticky: { by: ["header", "session"] } },
      ['pools[0].sticky.by[1]: expected "header" | "user" | "ip"']
    ],
    [
      { backends: ["a"], sticky: { maxImbalance: 0.5 } },
      ["pools[0].sticky.maxImbalance: expected a number between 1 and 1000"]
    ],
    [
      { backends: ["a"], sticky: { userPatterns: ["name", "(?=x)(y)"] } },
      [
        "pools[0].sticky.userPatterns[0]: expected a group, in parentheses, that holds the name",
        `pools[0].sticky.userPatterns[1]: ${linear}: lookahead and lookbehind are not supported`
      ]
    ],
    [
      { backends: ["a"], hedge: { after: "p96", maxRatio: 0 } },
      [
        'pools[0].hedge.after: expected "p50" | "p75" | "p90" | "p95" | "p99"',
        "pools[0].hedge.maxRatio: expected a number between 0.001 and 1"
      ]
    ]
  ]
  it.effect.each(cases)("a pool such as %j is refused", ([pool, expected]) =>
    Effect.gen(function* () {
      const more = typeof pool === "object" ? pool : {}
      assert.deepStrictEqual(yield* problems({ pools: [{ name: "p", ...more }] }), expected)
    })
  )

  it.effect.each([0, 65_536])("has no backend of weight %i", (weight) =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* problems({ backends: [{ ...backends[0], weight }] }), [
        "backends[0].weight: expected a whole number between 1 and 65535"
      ])
    })
  )
})
