/** Users and addresses keep their backend without a session key; when it dies, they spread over all others. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Simulator } from "../../src/sim/Simulator.ts"
import { type Answer, chat } from "./Ask.ts"
import { serve } from "./Program.ts"

const names = ["e0", "e1", "e2"]

const setUp = Effect.fnUntraced(function* (sticky: object) {
  const engines = yield* Effect.forEach(names, (name) => Simulator.make({ name, slots: 64 }))
  const gateway = yield* serve({
    listeners: [{ port: 0, trustedProxies: ["127.0.0.1"] }],
    backends: engines.map(({ url }, index) => ({
      name: names[index],
      url,
      models: ["sim-model"],
      health: { interval: "200ms", unhealthyAfter: 1 }
    })),
    pools: [{ name: "default", backends: names, sticky }]
  })
  return { engines, url: gateway.url }
})

/** Each way in which a request tells its user. */
const ways = {
  user: (who: number) => ({ fields: { user: `user-${who}` }, headers: {} }),
  "a name in the system message": (who: number) => ({
    fields: {
      messages: [
        { role: "system", content: `You are kind. The user's name is "Ada ${who}".` },
        { role: "user", content: "Hello" }
      ]
    },
    headers: {}
  }),
  ip: (who: number) => ({ fields: {}, headers: { "x-forwarded-for": `192.0.2.${who + 1}` } })
}

const people = Array.from({ length: 30 }, (_, who) => who)

const homeOf = ({ headers }: Answer) => headers.get("x-routed-node") ?? ""
const stickyOf = ({ headers }: Answer) => headers.get("x-weir-sticky")

const countsOf = (homes: ReadonlyArray<string>) => names.map((name) => homes.filter((home) => home === name).length)

describe("thirty people", () => {
  it.live.each(["user", "a name in the system message", "ip"] as const)(
    "thirty people known by %s stay where they are; only those of a dead backend move, and to all the others",
    (by) =>
      Effect.gen(function* () {
        const { engines, url } = yield* setUp({ by: ["header", "user", "ip"] })
        const send = (who: number) => {
          const { fields, headers } = ways[by](who)
          return chat(url, { max_tokens: 2, ...fields }, headers)
        }
        // Three at once are never too many for one backend, so that no session has to move.
        const told = (who: ReadonlyArray<number>) =>
          Effect.forEach(who, (one) => Effect.map(send(one), (answer) => [stickyOf(answer), homeOf(answer)]), {
            concurrency: 3
          })
        const atOnce = (who: ReadonlyArray<number>) => Effect.forEach(who, send, { concurrency: "unbounded" })

        const first = yield* atOnce(people)
        assert.deepStrictEqual([...new Set(first.map(stickyOf))], ["miss"])
        const homes = first.map(homeOf)
        for (const count of countsOf(homes)) assert.isAtLeast(count, 5, countsOf(homes).join(" "))
        assert.deepStrictEqual(
          yield* told(people),
          homes.map((home) => ["hit", home])
        )

        yield* engines[0]?.stop ?? Effect.void
        const homeless = people.filter((who) => homes[who] === "e0")
        const others = people.filter((who) => homes[who] !== "e0")
        const moved = yield* atOnce(homeless)
        assert.deepStrictEqual([...new Set(moved.map((each) => `${each.status} ${stickyOf(each)}`))], ["200 moved"])
        const [gone, ...shares] = countsOf(moved.map(homeOf))
        assert.strictEqual(gone, 0)
        for (const share of shares) assert.isAtLeast(share, 2, `${shares.join(" ")}: no herd`)
        assert.deepStrictEqual(
          yield* told(others),
          others.map((who) => ["hit", homes[who] ?? ""])
        )
        assert.deepStrictEqual(
          yield* told(homeless),
          moved.map((each) => ["hit", homeOf(each)])
        )
      })
  )
})

describe("sessions of a pool that does not say by what", () => {
  it.live.each([{}, { ttl: "5m" }, { maxImbalance: 2 }])("are by the header alone: sticky %j", (sticky) =>
    Effect.gen(function* () {
      const { url } = yield* setUp(sticky)
      const send = (headers: Record<string, string>) =>
        Effect.map(chat(url, { max_tokens: 1, user: "ada" }, headers), stickyOf)
      const session = { "x-session-key": "s" }
      const address = { "x-forwarded-for": "192.0.2.1" }
      assert.deepStrictEqual(yield* Effect.forEach([address, address, session, session], send), [
        null,
        null,
        "miss",
        "hit"
      ])
    })
  )
})

describe("a person", () => {
  it.live("is another one with another model, and the same one by another way only as configured", () =>
    Effect.gen(function* () {
      const { url } = yield* setUp({ by: ["user"] })
      const sticky = (fields: Record<string, unknown>, headers: Record<string, string> = {}) =>
        Effect.map(chat(url, { max_tokens: 1, ...fields }, headers), stickyOf)
      assert.strictEqual(yield* sticky({ user: "ada" }), "miss")
      assert.strictEqual(yield* sticky({ user: "ada" }, { "x-session-key": "s" }), "hit")
      assert.strictEqual(yield* sticky({ user: "bob" }), "miss")
      assert.isNull(yield* sticky({}, { "x-session-key": "s" }))
    })
  )
})
