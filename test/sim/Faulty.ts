/** A simulator with one fault in force, and its answer to one request. */
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import type { FaultSpec } from "../../src/sim/Simulator.ts"
import { chatBody, eventsOf, eventually, launch } from "./Harness.ts"
import { ask, post } from "./RawClient.ts"

export const whole = post("/v1/chat/completions", chatBody("x"))
export const streamed = post("/v1/chat/completions", chatBody("x", { stream: true }))

/** A simulator of 10 tokens with one fault in force. */
export const faulty = Effect.fnUntraced(function* (fault: FaultSpec) {
  const simulator = yield* launch()
  yield* simulator.setFaults(fault)
  return simulator
})

/** Its answer to a request, and that the fault is in the books. */
export const answerTo = Effect.fnUntraced(function* (fault: FaultSpec, request: string) {
  const simulator = yield* faulty(fault)
  const answer = yield* ask(simulator.port, request)
  const stats = yield* eventually(simulator, ({ cancelled, failed, finished }) => finished + failed + cancelled === 1)
  assert.deepStrictEqual(stats.faultsPlayed, { [fault.kind]: 1 })
  assert.deepInclude(stats, { running: 0, waiting: 0 })
  return { ...answer, stats, events: eventsOf(answer.body.replace(/^data: .*\{"content":"$/m, "")) }
})
