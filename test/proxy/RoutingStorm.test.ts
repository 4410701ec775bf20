/** Rules, fallbacks, instances, sessions and hedges under faults and clients that leave: nothing is left behind. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { seededRandom } from "../scheduler/Fleet.ts"
import { type Harness, type Reading, type Setting, withGateway } from "./Harness.ts"
import { answer, later, refuse, reset, type Step, silence, stream } from "./ScriptedTransport.ts"

type Roll = ReturnType<typeof seededRandom>

const event = 'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
const done = "data: [DONE]\n\n"

const stepFor = (roll: Roll): Step => {
  const after = `${roll(300)} millis` as const
  const steps: ReadonlyArray<Step> = [
    refuse,
    reset(after),
    silence,
    answer(503, "busy", { after }),
    answer(429, "busy", { after, headers: { "retry-after": String(roll(3)) } }),
    answer(400, '{"error":{"type":"exceed_context_size_error"}}', { after }),
    answer(400, "bad", { after }),
    answer(500, "oops", { after })
  ]
  const well =
    roll(2) === 0
      ? answer(200, "{}", { after })
      : stream([later(after, event), later(`${roll(400)} millis`, event), done])
  return roll(2) === 0 ? well : (steps[roll(steps.length)] ?? well)
}

const names = ["a", "b", "c", "d"]

const settingFor = (roll: Roll): Setting => {
  const models = [["m", "m-2"], ["m", "m-2", "m-3"], ["n"], ["n", "p"]]
  const timeouts = { firstByte: "1s", idle: "600ms", request: "2s" }
  const settings = {
    sticky: {},
    hedge: { after: "p50", maxRatio: 1 },
    admission: { maxConcurrent: 6, maxQueue: 4, queueTimeout: "1s" },
    retry: { initialDelay: "20ms", maxDelay: "300ms" }
  }
  return {
    script: Object.fromEntries(names.map((name) => [name, Array.from({ length: 300 }, () => stepFor(roll))])),
    backends: Object.fromEntries(
      names.map((name, index) => [
        name,
        {
          models: models[index],
          timeouts,
          maxConcurrency: 3,
          breaker: { minRequests: 30, threshold: 0.95, cooldown: "1s" }
        }
      ])
    ),
    more: {
      pools: [
        { name: "default", backends: ["a", "b"], ...settings },
        { name: "other", backends: ["c", "d"], ...settings }
      ],
      models: [
        { match: "m|alias", instances: true, upstreamModel: "m", fallbacks: ["n", "p"] },
        { match: "n", pool: "other", fallbacks: ["m"] },
        { match: "p", backends: ["d"], tools: { parser: "none" } }
      ],
      keys: [{ name: "k", key: "secret", limits: { concurrent: 8, tokensPerMinute: 1_000_000 } }]
    }
  }
}

const assertIdle = (gateway: Harness) => {
  gateway.assertIdle()
  assert.strictEqual(gateway.admission.active("other"), 0, "permits of the other pool")
  assert.strictEqual(gateway.admission.depth("other"), 0, "waiting in the other pool")
  for (const name of names) assert.strictEqual(gateway.state(name).instances.size, 0, `instances of ${name}`)
}

const assertBounds = (gateway: Harness) => {
  for (const name of names) {
    const { inflight, instances } = gateway.state(name)
    assert.isTrue(inflight >= 0 && inflight <= 3, `${name}: ${inflight}`)
    const sum = [...instances.values()].reduce((all, one) => all + one, 0)
    assert.isAtMost(sum, inflight, `${name}: more on its instances than it has`)
  }
}

/** What was asked for is what the backend has, by one of its own names. */
const assertAsked = ({ registry, transport }: Harness) => {
  for (const { request, text } of transport.exchanges) {
    const model = /"model":"([^"]+)"/.exec(text)?.[1] ?? ""
    const has = registry.current().backends.get(request.backend.name)?.models?.has(model)
    assert.isTrue(has, `${request.backend.name} was asked for ${model}`)
  }
}

const storm = (seed: number) => {
  const roll = seededRandom(seed)
  return withGateway(settingFor(roll), (gateway) =>
    Effect.gen(function* () {
      const requests: Array<Fiber.Fiber<Reading, unknown>> = []
      for (let i = 0; i < 120; i++) {
        const question = {
          ...(roll(2) === 0 && { key: "k" }),
          body: {
            model: ["m", "alias", "n", "p"][roll(4)],
            stream: roll(2) === 0,
            ...(roll(5) === 0 && { tools: [{}] }),
            ...(roll(2) === 0 && { user: `u${roll(6)}` })
          },
          ...(roll(4) === 0 && { headers: { "x-weir-timeout": `${1 + roll(2000)}ms` } })
        }
        requests.push(yield* gateway.start(gateway.request(question)))
        const leaving = roll(3) === 0 ? requests[roll(requests.length)] : undefined
        if (leaving !== undefined) yield* Fiber.interrupt(leaving)
        assertBounds(gateway)
        yield* TestClock.adjust(`${roll(150)} millis`)
      }
      yield* gateway.passUntil(() => requests.every((fiber) => fiber.pollUnsafe() !== undefined))
      const exits = requests.map((fiber) => fiber.pollUnsafe())
      assert.isAbove(exits.filter((exit) => exit !== undefined && Exit.isSuccess(exit)).length, 20)
      assert.isTrue(
        exits.every((exit) => exit === undefined || Exit.isSuccess(exit) || !Exit.hasDies(exit)),
        "no defects"
      )
      assertAsked(gateway)
      const texts = gateway.transport.exchanges.map(({ text }) => text)
      for (const sign of ['"model":"m-2"', '"model":"n"'])
        assert.isTrue(
          texts.some((text) => text.includes(sign)),
          sign
        )
      assert.isTrue(
        exits.some(
          (exit) =>
            exit !== undefined &&
            Exit.isSuccess(exit) &&
            /[cd]/.test(exit.value.headers["x-routed-node"] ?? "") &&
            exit.value.report.model === "m"
        ),
        "another model stood in"
      )
      assertIdle(gateway)
    })
  )
}

describe("a storm over rules, fallbacks and instances", () => {
  it.effect.each([1, 2, 3, 4, 5, 6])("leaves nothing behind (seed %i)", (seed) => storm(seed))
})
