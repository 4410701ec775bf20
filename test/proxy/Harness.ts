/** The data plane with everything real but the sockets: a client, scripted backends, virtual time. */
import type { Duplex } from "node:stream"
import { assert } from "@effect/vitest"
import { Effect, type Fiber, Layer, Logger, Schema } from "effect"
import { TestClock } from "effect/testing"
import type { ApiKey } from "../../src/domain/ApiKey.ts"
import type { GatewayError } from "../../src/domain/Errors.ts"
import { GatewayConfig } from "../../src/domain/GatewayConfig.ts"
import { MonotonicClock } from "../../src/domain/MonotonicClock.ts"
import { layerCore } from "../../src/Gateway.ts"
import { endpointAt } from "../../src/protocol/Endpoint.ts"
import {
  type BodySink,
  type Payload,
  Proxy,
  type ProxyRequest,
  type ProxyResponse,
  RequestReport,
  type StreamBody
} from "../../src/proxy/Proxy.ts"
import type { RequestPlan } from "../../src/proxy/RequestPlan.ts"
import { type BackendEntry, type BackendState, type PoolEntry, Registry } from "../../src/registry/Registry.ts"
import { Admission } from "../../src/resilience/Admission.ts"
import { CircuitBreaker } from "../../src/resilience/CircuitBreaker.ts"
import { HedgePolicy } from "../../src/resilience/HedgePolicy.ts"
import { type Timed, Timers } from "../../src/resilience/Timers.ts"
import { makeCandidates } from "../../src/routing/Candidates.ts"
import { Router } from "../../src/routing/Router.ts"
import { Scheduler } from "../../src/scheduler/Scheduler.ts"
import { Exposition, Metrics, Tracing } from "../../src/telemetry/Telemetry.ts"
import type { ExchangeFailed, UpstreamBody } from "../../src/transport/UpstreamTransport.ts"
import { eject, setCircuit } from "../registry/Fixtures.ts"
import { takesFastPath } from "../Ways.ts"
import { type Script, ScriptedTransport } from "./ScriptedTransport.ts"

export interface Setting {
  readonly script: Script
  /** More for each backend than its name and that it has the model `m`. */
  readonly backends?: Readonly<Record<string, object>>
  readonly pool?: object
  readonly more?: object
}

const decode = Schema.decodeUnknownSync(GatewayConfig)

/** Backends in the order of the script; the strategy takes them in that order, so that a test knows who is asked. */
const configOf = ({ backends, more, pool, script }: Setting): GatewayConfig => {
  const names = Object.keys(script)
  return decode({
    listeners: [{ port: 0, pool: "default" }],
    backends: names.map((name) => ({ name, url: `http://${name}.test`, models: ["m"], ...backends?.[name] })),
    pools: [{ name: "default", backends: names, strategy: "failover", ...pool }],
    ...more
  })
}

/** What the timers watch now. */
const watchedBy = (timers: Timers["Service"]): ReadonlySet<Timed> => {
  const watched = new Set<Timed>()
  const { add, remove } = timers
  Object.assign(timers, {
    add: (timed: Timed) => {
      watched.add(timed)
      add(timed)
    },
    remove: (timed: Timed) => {
      watched.delete(timed)
      remove(timed)
    }
  })
  return watched
}

/** The gateway's own program, over scripted backends. */
export const layerOf = (config: GatewayConfig, transport: ScriptedTransport) =>
  layerCore(config, transport.layer).pipe(
    Layer.provideMerge(Layer.merge(Metrics.layer, Tracing.layerNone)),
    Layer.provideMerge(Layer.merge(Exposition.layerRegistry, Logger.layer([])))
  )

export interface Question {
  readonly method?: string
  readonly path?: string
  readonly query?: string
  readonly headers?: Readonly<Record<string, string>>
  /** Added to a small request for the model `m`; bytes and streams as they are. */
  readonly body?: object
  readonly raw?: UpstreamBody
  /** The name of a configured key. */
  readonly key?: string
  /** The client's connection, for which a WebSocket is asked. */
  readonly socket?: Duplex
}

/** What a client has got so far. */
export class Reading {
  status = 0
  headers: Readonly<Record<string, string>> = {}
  cookies: ReadonlyArray<string> = []
  text = ""
  contentLength: number | undefined
  /** The connection was broken before the end. */
  broken = false
  readonly report: RequestReport

  constructor(report: RequestReport) {
    this.report = report
  }

  /** The code of the error event by which a stream ends. */
  get cutBy(): string | undefined {
    return /"code":"(upstream_[a-z]+)"[^\n]*\n\n$/.exec(this.text)?.[1]
  }
}

/** The services that tests look at, or steer. */
export const gatherServices = Effect.gen(function* () {
  return {
    admission: yield* Admission,
    breaker: yield* CircuitBreaker,
    clock: yield* MonotonicClock,
    hedging: yield* HedgePolicy,
    metrics: yield* Metrics,
    registry: yield* Registry,
    router: yield* Router,
    scheduler: yield* Scheduler,
    timers: yield* Timers,
    tracing: yield* Tracing
  }
})

export type Services = Effect.Success<typeof gatherServices>

/** What was sent, until it is let go. */
class SentPayload implements Payload {
  body: UpstreamBody
  readonly form = undefined
  envelope: Payload["envelope"]

  constructor(body: UpstreamBody) {
    this.body = body
  }

  letGo(): void {
    this.body = undefined
    this.envelope = undefined
  }
}

export class Harness {
  readonly transport: ScriptedTransport
  readonly proxy: Proxy["Service"]
  readonly services: Services
  readonly watched: ReadonlySet<Timed>
  /** The newest request's. */
  reading = new Reading(new RequestReport(0))
  payload = new SentPayload(undefined)
  readonly fastPath: boolean
  #count = 0

  constructor(
    transport: ScriptedTransport,
    proxy: Proxy["Service"],
    services: Services,
    fastPath: boolean = takesFastPath
  ) {
    this.transport = transport
    this.fastPath = fastPath
    this.watched = watchedBy(services.timers)
    this.proxy = proxy
    this.services = services
  }

  get registry(): Registry["Service"] {
    return this.services.registry
  }

  get admission(): Admission["Service"] {
    return this.services.admission
  }

  now(): number {
    return this.services.clock.now()
  }

  backend(name: string): BackendEntry {
    const backend = this.registry.current().backends.get(name)
    assert.isDefined(backend)
    return backend
  }

  state(name: string): BackendState {
    return this.backend(name).state
  }

  /** As if an answer of the backend had asked for that by a `Retry-After`. */
  rest(name: string, millis: number): void {
    this.state(name).rest(this.now() + millis, true)
  }

  /** As if the backend had been found far slower than its peers. */
  eject(name: string, millis: number): void {
    eject(this.state(name), this.now() + millis)
  }

  openCircuit(name: string, millis: number): void {
    setCircuit(this.state(name), { phase: "open", openUntil: this.now() + millis })
  }

  /** The id of the request that comes next. */
  get nextId(): string {
    return `r-${this.#count + 1}`
  }

  /** A whole request, from its arrival to the last byte of its answer. Time must pass for it. */
  request(question: Question = {}, onAnswer: (response: ProxyResponse) => void = () => {}) {
    return Effect.suspend(() => {
      const report = new RequestReport(this.now())
      const reading = new Reading(report)
      this.reading = reading
      const request = this.asRequest(question, report)
      const { body } = request.payload
      const isFast = this.fastPath && request.endpoint !== undefined && body instanceof Uint8Array
      const handled = isFast ? handleFast(this.proxy) : this.proxy.handle
      return handled(request, (response) => {
        onAnswer(response)
        return Effect.as(receive(response, reading, question.socket, isFast), reading)
      })
    })
  }

  asRequest(
    { body, headers = {}, key, method = "POST", path = "/v1/chat/completions", query = "", raw, socket }: Question,
    report: RequestReport
  ) {
    const snapshot = this.registry.current()
    const json = method === "POST" ? Buffer.from(JSON.stringify({ model: "m", messages: [], ...body })) : undefined
    this.payload = new SentPayload(raw ?? json)
    return {
      id: `r-${++this.#count}`,
      snapshot,
      listener: snapshot.config.listeners[0],
      key: key === undefined ? undefined : keyNamed(snapshot.config, key),
      method,
      path,
      endpoint: method === "POST" ? endpointAt(path) : undefined,
      query,
      address: "192.0.2.1",
      rawHeaders: Object.entries(headers).flat(),
      header: (name: string) => headers[name],
      upgrade: socket === undefined ? undefined : ("websocket" as const),
      payload: this.payload,
      report
    }
  }

  /** Begins something that needs time; `passUntil` and `join` let it pass. */
  start<A, E>(effect: Effect.Effect<A, E>): Effect.Effect<Fiber.Fiber<A, E>> {
    return Effect.forkChild(effect, { startImmediately: true })
  }

  /** Lets time pass until something is true: in small steps at first, in larger ones when it takes long. */
  passUntil(isTrue: () => boolean): Effect.Effect<void> {
    const begin = this.now()
    return Effect.gen({ self: this }, function* () {
      yield* TestClock.adjust(0)
      while (!isTrue()) {
        const passed = this.now() - begin
        if (passed > 600_000) assert.fail(`not within ten minutes: ${String(isTrue)}`)
        yield* TestClock.adjust(passed < 3000 ? "10 millis" : "100 millis")
      }
    })
  }

  /** Lets time pass until a fiber has ended, and gives what came of it. */
  join<A, E>(fiber: Fiber.Fiber<A, E>): Effect.Effect<A, E> {
    return Effect.andThen(
      this.passUntil(() => fiber.pollUnsafe() !== undefined),
      Effect.suspend(() => fiber.pollUnsafe() ?? Effect.never)
    )
  }

  /** A request and all the time it needs. */
  ask(question?: Question) {
    return Effect.flatMap(this.start(this.request(question)), (fiber) => this.join(fiber))
  }

  /** The error with which a request is refused. */
  refusal(question?: Question) {
    return Effect.flip(this.ask(question))
  }

  /** Nothing is held any more: what every test must leave behind, whatever happened in it. */
  assertIdle(): void {
    for (const { name, state } of this.registry.current().backends.values()) {
      assert.strictEqual(state.inflight, 0, `${name} in flight`)
      assert.isFalse(state.circuit.trialRunning, `${name} on trial`)
    }
    assert.strictEqual(this.admission.active("default"), 0, "permits")
    assert.strictEqual(this.admission.depth("default"), 0, "waiting")
    assert.strictEqual(this.watched.size, 0, "watched timers")
    assert.notInclude(this.transport.ends, "open", "exchanges")
  }
}

const keyNamed = ({ keys }: GatewayConfig, name: string): ApiKey => {
  const key = keys.find((each) => each.name === name)
  assert.isDefined(key)
  return key
}

/** As `handle`, begun without a fiber; this one only stands for the client, who may leave. */
const handleFast =
  (proxy: Proxy["Service"]): Proxy["Service"]["handle"] =>
  <A, E>(request: ProxyRequest, use: (answer: ProxyResponse) => Effect.Effect<A, E>) =>
    Effect.suspend(() => {
      let release = () => {}
      const begun = Effect.callback<Effect.Effect<A, E | GatewayError>>((resume) => {
        proxy.begin(request, {
          began: (given) => {
            release = given
          },
          answered: (answer) => resume(Effect.succeed(use(answer))),
          continued: (rest) => resume(Effect.succeed(rest(use))),
          died: (defect) => resume(Effect.die(defect))
        })
        return Effect.sync(() => release())
      })
      return Effect.ensuring(
        Effect.flatten(begun),
        Effect.sync(() => release())
      )
    })

const receive = (
  response: ProxyResponse,
  reading: Reading,
  socket: Duplex | undefined,
  isFast: boolean
): Effect.Effect<void> => {
  const { body, contentLength, cookies, headers, status, tunnel } = response
  Object.assign(reading, { status, headers, cookies, contentLength })
  if (tunnel !== undefined && socket !== undefined) return tunnel(socket)
  if (body instanceof Uint8Array) {
    reading.text = Buffer.from(body).toString("utf8")
    return Effect.void
  }
  const sink: BodySink = {
    write: (piece) => {
      reading.text += Buffer.from(piece).toString("latin1")
      return true
    },
    onDrain: () => {}
  }
  const { pipeTo } = body
  const written = isFast && pipeTo !== undefined ? pipedTo(pipeTo, sink, body.letGo) : body.pipe(sink)
  return Effect.catch(written, () =>
    Effect.sync(() => {
      reading.broken = true
    })
  )
}

const pipedTo = (pipeTo: NonNullable<StreamBody["pipeTo"]>, sink: BodySink, letGo: () => void) =>
  Effect.callback<void, ExchangeFailed>((resume) => {
    pipeTo(sink, {
      ended: (failure) => resume(failure === undefined ? Effect.void : Effect.fail(failure)),
      died: (defect) => resume(Effect.die(defect))
    })
    return Effect.sync(letGo)
  })

/** Runs a test over a gateway of its own, and looks afterwards whether anything was left behind. */
export const withGateway = <A, E>(setting: Setting, test: (gateway: Harness) => Effect.Effect<A, E>) => {
  const transport = new ScriptedTransport(setting.script)
  return Effect.gen(function* () {
    const gateway = new Harness(transport, yield* Proxy, yield* gatherServices)
    const { registry } = gateway
    // The first probes are over, and everybody is well.
    yield* gateway.passUntil(() =>
      [...registry.current().backends.values()].every(
        ({ config, state }) => !config.enabled || state.health.status !== "unknown"
      )
    )
    const result = yield* test(gateway)
    gateway.assertIdle()
    return result
  }).pipe(Effect.provide(layerOf(configOf(setting), transport)))
}

/** A plan for a request of the model `m` to a pool, as a test of one part needs it. */
export const planFor = (gateway: Harness, pool: PoolEntry): RequestPlan => {
  const candidates = makeCandidates(pool.members)
  const request = gateway.asRequest({}, new RequestReport(gateway.now()))
  return {
    request,
    route: { pool, candidates, model: "m", rule: undefined, fallbacks: [], isLast: true },
    pool,
    candidates,
    namedModel: "m",
    model: "m",
    endpoint: request.endpoint,
    dialect: "chat",
    passedThrough: false,
    session: undefined,
    hashKey: undefined,
    prompt: undefined,
    streaming: false,
    choices: 1,
    tokenEstimate: 0,
    deadline: Number.POSITIVE_INFINITY,
    trace: undefined
  }
}
