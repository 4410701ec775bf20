/** Everything at once: faults of all kinds, clients that leave, deadlines, sessions, keys. Nothing may be left behind. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { dice } from "../scheduler/Fleet.ts"
import { type Harness, type Question, type Reading, type Setting, withGateway } from "./Harness.ts"
import { answer, later, type Piece, refuse, reset, type Step, silence, stream } from "./ScriptedTransport.ts"

type Roll = ReturnType<typeof dice>

const event = 'data: {"choices":[{"delta":{"content":"x"}}]}\n\n'
const done = "data: [DONE]\n\n"
const large = Buffer.alloc(1_200_000, "x")

const pick = <A>(roll: Roll, ...choices: ReadonlyArray<() => A>): A | undefined => choices[roll(choices.length)]?.()

const slowly = (roll: Roll, data: string): Piece => later(`${roll(400)} millis`, data)

const randomStep = (roll: Roll): Step => {
  const rest = { headers: { "retry-after": String(roll(3)) }, after: `${roll(50)} millis` } as const
  const well = () => stream([event, slowly(roll, event), slowly(roll, done)], { after: `${roll(300)} millis` })
  const step = pick<Step>(
    roll,
    () => refuse,
    () => reset(`${roll(100)} millis`),
    () => silence,
    () => answer(500, "oops"),
    () => answer(503, "busy", rest),
    () => answer(429, "busy", rest),
    () => answer(400, "bad"),
    () => answer(200, ['{"a":', slowly(roll, "1}")]),
    () => answer(200, ['{"a":'], { end: roll(2) === 0 ? "cut" : "stall" }),
    () => answer(200, [large, slowly(roll, "x")], { end: roll(3) === 0 ? "cut" : "end" }),
    () => stream([event, slowly(roll, event)], { end: roll(2) === 0 ? "cut" : "stall" }),
    () => stream([": ping\n\n"], { end: roll(2) === 0 ? "end" : "stall" }),
    well,
    well,
    well
  )
  return step ?? silence
}

const randomQuestion = (roll: Roll): Question => ({
  ...(roll(8) === 0 && { path: "/api/other" }),
  ...(roll(2) === 0 && { key: "k" }),
  body: { stream: roll(2) === 0, max_tokens: roll(100) },
  headers: {
    ...(roll(2) === 0 && { "x-session-key": `s${roll(5)}` }),
    ...(roll(3) === 0 && { "x-weir-timeout": `${1 + roll(3000)}ms` })
  }
})

const settingFor = (roll: Roll): Setting => {
  const steps = () => Array.from({ length: 300 }, () => randomStep(roll))
  const backend = {
    maxConcurrency: 3,
    timeouts: { firstByte: "1s", idle: "600ms", request: "2s" },
    breaker: { minRequests: 20, threshold: 0.9, cooldown: "1s" }
  }
  return {
    script: { a: steps(), b: steps(), c: steps() },
    backends: { a: backend, b: backend, c: backend },
    pool: {
      strategy: roll(2) === 0 ? "least_inflight" : "round_robin",
      admission: { maxConcurrent: 8, maxQueue: 4, queueTimeout: "1s" },
      retry: { initialDelay: "20ms", maxDelay: "500ms" }
    },
    more: { keys: [{ name: "k", key: "secret", limits: { concurrent: 6 } }] }
  }
}

const assertWithinBounds = (gateway: Harness) => {
  for (const name of ["a", "b", "c"]) {
    const { inflight } = gateway.state(name)
    assert.isTrue(inflight >= 0 && inflight <= 3, `${name}: ${inflight} in flight`)
  }
  assert.isAtMost(gateway.admission.active("default"), 8)
  assert.isAtMost(gateway.admission.depth("default"), 4)
}

/** Every end is one of those that the contract knows. */
const assertHonest = ({ broken, cutBy, headers, report, status, text }: Reading) => {
  const isStream = headers["content-type"] === "text/event-stream" && status === 200
  // What is passed through has no form of ours: there only the connection tells.
  if (!isStream || broken || report.model === undefined) return
  const complete = text.endsWith(done)
  assert.strictEqual(complete, report.end === "complete", text)
  if (!complete) assert.isDefined(cutBy, text)
  else assert.strictEqual(text.split("[DONE]").length, 2)
}

const storm = (seed: number) => {
  const roll = dice(seed)
  return withGateway(settingFor(roll), (gateway) =>
    Effect.gen(function* () {
      const requests: Array<{ readonly fiber: Fiber.Fiber<Reading, unknown>; leavesAt: number }> = []
      let answered = 0
      const look = Effect.gen(function* () {
        assertWithinBounds(gateway)
        for (const request of requests) {
          if (request.leavesAt > gateway.deadlines.now()) continue
          request.leavesAt = Number.POSITIVE_INFINITY
          yield* Fiber.interrupt(request.fiber)
        }
      })
      for (let i = 0; i < 150; i++) {
        const fiber = yield* gateway.start(gateway.request(randomQuestion(roll)))
        requests.push({
          fiber,
          leavesAt: roll(3) === 0 ? gateway.deadlines.now() + roll(1000) : Number.POSITIVE_INFINITY
        })
        yield* look
        yield* TestClock.adjust(`${roll(120)} millis`)
      }
      for (let i = 0; i < 60; i++) {
        yield* TestClock.adjust("200 millis")
        yield* look
      }
      for (const { fiber } of requests) {
        const exit = fiber.pollUnsafe()
        assert.isDefined(exit, "every request has ended")
        if (exit?._tag !== "Success") continue
        answered++
        assertHonest(exit.value)
      }
      gateway.assertIdle()
      assert.isAbove(answered, 20)
    })
  )
}

describe("a storm of faults, deadlines and clients that leave", () => {
  it.effect.each([1, 2, 3, 4, 5, 6, 7, 8])("leaves nothing behind and tells no lies (seed %i)", (seed) => storm(seed))
})
