/** Lets a plan happen in virtual time, and tells what was broken by it. */
import { Cause, Effect, Exit, Fiber, Layer, Logger, Metric, Random } from "effect"
import { TestClock } from "effect/testing"
import type { GatewayError } from "../../src/domain/Errors.ts"
import { Proxy } from "../../src/proxy/Proxy.ts"
import { gatherServices, Harness, layerOf, type Reading } from "../proxy/Harness.ts"
import { type Exchange, refuse, ScriptedTransport } from "../proxy/ScriptedTransport.ts"
import { putInForce } from "../registry/Fixtures.ts"
import { takesFastPath } from "../Ways.ts"
import { Oracle, type Trail } from "./Oracle.ts"
import { checkOne, type Done, type Ending, sayingOf } from "./Outcomes.ts"
import { type Plan, type PlannedRequest, planFor } from "./Plan.ts"

export interface SeedResult {
  /** Which promises were broken; empty: none. */
  readonly broken: ReadonlyArray<string>
  /** What the backends were asked, in order, and how each of it ended. */
  readonly story: ReadonlyArray<string>
  /** What each client got, in the order in which they were served, and what was noted of it. */
  readonly told: ReadonlyArray<Told>
  /** All metrics, as they are shown. */
  readonly metrics: string
}

export interface Told extends Pick<Reading, "status" | "headers" | "text" | "broken"> {
  readonly index: number
  readonly ending: Ending
  readonly took: number
  readonly report: string
}

/** One run from its seed; the same seed is the same run. */
export const runSeed = (seed: number, fastPath = takesFastPath): Effect.Effect<SeedResult> => {
  const plan = planFor(seed)
  const dead = new Set<string>()
  let onSend: (exchange: Exchange) => void = () => {}
  const transport = new ScriptedTransport((exchange) => {
    onSend(exchange)
    const { name } = exchange.request.backend
    return dead.has(name) ? refuse : plan.stepFor(name, exchange.text.includes('"stream":true'))
  })
  const program = Effect.gen(function* () {
    const gateway = new Harness(transport, yield* Proxy, yield* gatherServices, fastPath)
    const oracle = new Oracle(gateway, plan.hedges)
    onSend = (exchange) => oracle.sent(exchange)
    transport.onHead = (exchange, { headers, status }) => {
      const rest = headers["retry-after-ms"]
      if ((status === 429 || status === 503) && rest !== undefined) oracle.rests(exchange, Number(rest))
    }
    const dones = yield* happen(gateway, oracle, plan, dead)
    const { ends, exchanges } = transport
    const story = exchanges.map((each, n) => `${each.header("x-request-id")} ${each.request.backend.name} ${ends[n]}`)
    const metrics = yield* Metric.dump
    return { broken: oracle.broken, story, told: dones.map(toldOf), metrics }
  })
  return program.pipe(
    Effect.scoped,
    Effect.provide(
      Layer.fresh(layerOf(plan.config, transport)).pipe(
        Layer.provideMerge(TestClock.layer()),
        Layer.provideMerge(Logger.layer([]))
      )
    ),
    Random.withSeed(seed)
  )
}

/** A request under way. */
interface RunningRequest {
  readonly planned: PlannedRequest
  readonly trail: Trail
  readonly fiber: Fiber.Fiber<unknown, unknown>
  readonly leavesAt: number
}

const happen = Effect.fnUntraced(function* (gateway: Harness, oracle: Oracle, plan: Plan, dead: Set<string>) {
  const running: Array<RunningRequest> = []
  const dones: Array<Done> = []
  const { registry, transport } = gateway

  if (plan.hedges) warmUp(gateway)

  const arrive = Effect.fnUntraced(function* (planned: PlannedRequest) {
    const trail = oracle.arriving(gateway.nextId)
    const began = gateway.now()
    let reading: Reading | undefined
    const asking = gateway.request(planned.question, ({ headers }) => {
      const kept = trail.exchanges.findLast(({ request }) => request.backend.name === headers["x-routed-node"])
      trail.saidAtCommit = Buffer.concat(kept?.pieces ?? []).toString("latin1")
    })
    const whole = Effect.onExit(asking, (exit) =>
      Effect.sync(() => {
        const eligible = trail.candidates === undefined ? [] : oracle.eligible(trail.candidates)
        const took = gateway.now() - began
        dones.push({ planned, trail, reading: reading ?? gateway.reading, ending: endingOf(exit), took, eligible })
      })
    )
    const fiber = yield* gateway.start(whole)
    reading = gateway.reading
    running.push({ planned, trail, fiber, leavesAt: began + planned.patience })
  })

  const leave = Effect.suspend(() =>
    Effect.forEach(
      running.filter(({ fiber, leavesAt }) => leavesAt <= gateway.now() + 0.01 && fiber.pollUnsafe() === undefined),
      ({ fiber, trail, planned }) =>
        Effect.andThen(
          Fiber.interrupt(fiber),
          Effect.sync(() => {
            const open = trail.exchanges.filter(({ state }) => state === "open").length
            oracle.expect(open === 0, () => `request ${planned.index} has left, and ${open} backends still work for it`)
          })
        )
    )
  )
  const turn = ({ backend, probe }: Plan["turns"][number]) =>
    Effect.sync(() => {
      if (probe === undefined) {
        dead.delete(backend)
        transport.probes.delete(backend)
      } else {
        if ("fails" in probe) dead.add(backend)
        transport.probes.set(backend, probe)
      }
    })

  const happenings: ReadonlyArray<{ readonly at: number; readonly effect: Effect.Effect<unknown> }> = [
    ...plan.requests.map((planned) => ({ at: planned.at, effect: arrive(planned) })),
    ...plan.requests.map(({ at, patience }) => ({ at: at + patience, effect: leave })),
    ...plan.reloads.map(({ at, config }) => ({ at: at + 0.7, effect: Effect.orDie(putInForce(registry, config)) })),
    ...plan.turns.map((each) => ({ at: each.at + 0.3, effect: turn(each) }))
  ]
    .filter(({ at }) => Number.isFinite(at))
    .toSorted((one, other) => one.at - other.at)

  for (const { at, effect } of happenings) {
    yield* TestClock.adjust(Math.max(0, at - gateway.now()))
    yield* effect
  }
  // Nobody has so much patience that it could take longer.
  for (let step = 0; step < 400 && dones.length < plan.requests.length; step++) yield* TestClock.adjust("100 millis")
  for (const { planned } of running) {
    oracle.expect(
      dones.filter((done) => done.planned === planned).length === 1,
      () => `request ${planned.index} has not ended exactly once`
    )
  }
  yield* TestClock.adjust("50 millis")
  oracle.atRest()
  for (const done of dones) checkOne(done, plan, oracle)
  checkBlame(dones, oracle)
  return dones
})

const toldOf = ({ ending, planned, reading, took }: Done): Told => {
  const { broken, headers, report, status, text } = reading
  return { index: planned.index, ending, took, status, headers, text, broken, report: JSON.stringify(report) }
}

/** A pool hedges when it knows how long its answers take. */
const warmUp = ({ registry, services }: Harness): void => {
  const pool = registry.current().pools.get("default")
  if (pool === undefined) return
  for (let n = 0; n < 20; n++) for (const streams of [true, false]) services.hedging.observed(pool, streams, 20 + n)
}

const endingOf = (exit: Exit.Exit<unknown, GatewayError>): Ending => {
  if (Exit.isSuccess(exit)) return { _tag: "Answered" }
  if (Cause.hasInterruptsOnly(exit.cause)) return { _tag: "Left" }
  const error = Cause.findErrorOption(exit.cause)
  return error._tag === "Some"
    ? { _tag: "Refused", code: error.value.code, status: error.value.status }
    : { _tag: "Crashed", cause: Cause.pretty(exit.cause) }
}

/** Backends are blamed, and trusted, for exactly what they did. */
const checkBlame = (dones: ReadonlyArray<Done>, oracle: Oracle): void => {
  const sayings = dones.flatMap((done) =>
    done.trail.exchanges.map((exchange) => ({ name: exchange.request.backend.name, ...sayingOf(exchange, done) }))
  )
  for (const name of new Set(sayings.map((each) => each.name))) {
    const of = sayings.filter((each) => each.name === name)
    const certain = of.filter(({ word }) => word === "blamed").length
    const most = certain + of.filter(({ word }) => word === "perhaps").length
    const blamed = oracle.blamed.get(name) ?? 0
    oracle.expect(
      blamed >= certain && blamed <= most,
      () => `${name} is at fault ${certain} to ${most} times and is blamed for ${blamed}`
    )
    const words = {
      praised: of.filter(({ word }) => word === "praised").length,
      brokeOff: of.filter(({ brokeOff }) => brokeOff).length
    }
    const counted = {
      praised: oracle.praised.get(name) ?? 0,
      brokeOff: oracle.brokenOff.get(name) ?? 0
    }
    const same = JSON.stringify(words) === JSON.stringify(counted)
    oracle.expect(same, () => `${name} did ${JSON.stringify(words)} and is said to: ${JSON.stringify(counted)}`)
  }
}
