/**
 * Mixed traffic with faults, aborts and reloads against the built gateway, for as long as is wanted: what it holds at the
 * end must be what it held when it had warmed up. `npm run soak -- [--minutes 3] [--clients 24] [--seed 1]`.
 */
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Cause, Console, Duration, Effect, Fiber, Schema } from "effect"
import { Command, Flag } from "effect/cli"
import { type FaultSpec, Simulator } from "../../src/sim/Simulator.ts"
import { eventually, type Gateway, serve } from "../e2e/Program.ts"
import { makeSeededRandom } from "../invariants/SeededRandom.ts"
import { look, type Sample, underWay } from "./Gauges.ts"
import { report, type Soaked } from "./Report.ts"
import { startSpeaker } from "./Speaker.ts"
import { poisonedPath, Tally, traffic } from "./Traffic.ts"

class SoakFailed extends Schema.TaggedError<SoakFailed>()("SoakFailed", { message: Schema.String }) {}

/** What the second engine does now and then. */
const faults: ReadonlyArray<FaultSpec> = [
  { kind: "status", status: 500, ratio: 0.02 },
  { kind: "status", status: 429, retryAfter: "0.2", ratio: 0.02 },
  { kind: "status", status: 400, code: "context_length_exceeded", ratio: 0.02 },
  { kind: "reset", ratio: 0.02 },
  { kind: "silence", ratio: 0.01 },
  { kind: "cut", ratio: 0.03 },
  { kind: "cut_before_done", ratio: 0.03 },
  { kind: "stall", ratio: 0.01 },
  { kind: "clean_cut", ratio: 0.02, stream: true },
  { kind: "malformed", ratio: 0.02 },
  { kind: "gzip", ratio: 0.1 },
  { kind: "huge_head", ratio: 0.005 },
  { kind: "slow_first_token", delay: 300, ratio: 0.02 }
]

/**
 * Left to itself, V8 lets the heap of a busy process grow for minutes before it levels out, which looks like a leak and
 * can hide one. With this much it levels out while the gateway warms up; what leaks ends it.
 */
const smallHeap = "--max-old-space-size=160 --max-semi-space-size=8"

const setUp = Effect.gen(function* () {
  const engine = { ttft: Duration.millis(15), itl: Duration.millis(4), slots: 32, slowdown: 0.01 }
  const well = yield* Simulator.make({ ...engine, name: "well" })
  const moody = yield* Simulator.make({ ...engine, name: "moody", seed: 2 })
  const flapping = yield* Simulator.make({ ...engine, name: "flapping", seed: 3 })
  const poison: FaultSpec = { kind: "status", status: 500, path: poisonedPath }
  yield* well.setFaults(poison)
  yield* moody.setFaults([poison, ...faults])
  yield* flapping.setFaults([poison, { kind: "flap", up: "7s", down: "2s" }])
  const speaker = yield* startSpeaker
  // The healthy engine never times out, however busy the machine is: only its clients' requests can count against it.
  const patient = { firstByte: "20s", idle: "20s", request: "30s" }
  const impatient = { firstByte: "1s", idle: "1s", request: "3s" }
  const backends = [
    { url: well.url, timeouts: patient },
    { url: moody.url, timeouts: impatient },
    { url: flapping.url, timeouts: impatient },
    { url: speaker, timeouts: patient }
  ]
  const config = {
    health: { interval: "500ms", timeout: "1s" },
    backends: backends.map((backend, index) => ({
      name: `engine-${index}`,
      ...backend,
      breaker: { cooldown: "1s" },
      maxConcurrency: 16
    })),
    pools: [
      {
        name: "default",
        backends: ["engine-0", "engine-1", "engine-2", "engine-3"],
        // A table that is full long before the end, so that its size is part of the plateau.
        sticky: { by: ["header"], maxEntries: 500 },
        admission: { maxConcurrent: 40, maxQueue: 16, queueTimeout: "1s" },
        client: { keepAlive: "1s" }
      }
    ]
  }
  const gateway = yield* serve(config, { env: { NODE_OPTIONS: smallHeap } })
  return gateway
})

/** How often the process is looked at. */
const pace = "1 second"

/** Traffic for so many seconds, looked at all the time; the configuration is read again every ten seconds. */
const load = Effect.fnUntraced(function* (
  gateway: Gateway,
  tally: Tally,
  seconds: number,
  clients: number,
  seed: number
) {
  const began = performance.now()
  const over = () => performance.now() - began > seconds * 1000
  const running = yield* Effect.forkChild(traffic(gateway.url, makeSeededRandom(seed), clients, tally, over), {
    startImmediately: true
  })
  const samples: Array<Sample> = []
  while (!over()) {
    yield* Effect.sleep(pace)
    samples.push(yield* look(gateway.url, gateway.pid, began))
    if (samples.length % 10 === 0) yield* gateway.signal("SIGHUP")
    yield* progress(samples, tally, seconds)
  }
  yield* Fiber.join(running)
  return samples
})

const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`

const progress = (samples: ReadonlyArray<Sample>, { requests }: Tally, seconds: number) =>
  Effect.suspend(() => {
    const [last] = samples.slice(-1)
    if (last === undefined || samples.length % 10 !== 0) return Effect.void
    const { files, heap, resources, rss } = last
    const time = `${(last.at / 1000).toFixed(0)} of ${seconds.toFixed(0)} s`
    return Console.error(
      `${time}: ${requests} requests, RSS ${mebibytes(rss)}, heap ${mebibytes(heap)}, ${resources} handles, ${files ?? "?"} files`
    )
  })

/** What is held when no request is under way and every idle connection has been closed. */
const rest = Effect.fnUntraced(function* (gateway: Gateway) {
  yield* eventually(
    Effect.map(underWay(gateway.url), (count) => (count === 0 ? true : undefined)),
    () => "nothing under way"
  )
  yield* Effect.sleep("6 seconds")
  return yield* look(gateway.url, gateway.pid, performance.now())
})

const soak = Effect.fnUntraced(function* (minutes: number, clients: number, seed: number) {
  const gateway = yield* setUp
  const tally = new Tally()
  const seconds = minutes * 60
  yield* Console.error("warming up")
  const warm = yield* load(gateway, tally, seconds * 0.25, clients, seed)
  const before = yield* rest(gateway)
  yield* Console.error("soaking")
  const samples = yield* load(gateway, tally, seconds * 0.75, clients, seed + 1)
  const after = yield* rest(gateway)
  const alive = yield* underWay(gateway.url)
  const opened = gateway.stderr.filter((line) => line.includes("circuit opens") && line.includes('"engine-0"'))
  const soaked: Soaked = { warm, samples, before, after, tally, underWay: alive, opened }
  return soaked
})

const flags = {
  minutes: Flag.Finite("minutes").pipe(Flag.withDescription("How long it takes, about"), Flag.withDefault(3)),
  clients: Flag.Int("clients").pipe(Flag.withDescription("How many ask at once"), Flag.withDefault(24)),
  seed: Flag.Int("seed").pipe(Flag.withDescription("What the clients' choices follow from"), Flag.withDefault(1))
}

const command = Command.make(
  "soak",
  flags,
  Effect.fnUntraced(
    function* ({ clients, minutes, seed }) {
      const { failures, text } = report(yield* soak(minutes, clients, seed))
      yield* Console.log(text)
      if (failures.length > 0) return yield* new SoakFailed({ message: failures.join("; ") })
    },
    Effect.scoped,
    Effect.tapCause((cause) => Console.error(`soak: ${Cause.pretty(cause)}`))
  )
)

Command.run(command, { version: "1" }).pipe(
  Effect.provide(NodeServices.layer),
  NodeRuntime.runMain({ disableErrorReporting: true })
)
