/** The whole thing on one machine: simulated engines, the gateway, and a first answer through it. */
import { Console, Duration, Effect, Layer, Schedule, Stream } from "effect"
import { FetchHttpClient, HttpClient, HttpClientRequest } from "effect/http"
import type { Loaded } from "../config/ConfigLoader.ts"
import { type GatewayConfig, parseGatewayConfig } from "../domain/GatewayConfig.ts"
import { layerGateway } from "../Gateway.ts"
import { Simulator } from "../sim/Simulator.ts"

const model = "demo-model"

/** Engines of different speed, so that there is something to schedule. */
const engines = [
  { name: "fast", ttft: Duration.millis(40), itl: Duration.millis(10), slots: 8, weight: 4 },
  { name: "medium", ttft: Duration.millis(80), itl: Duration.millis(20), slots: 4, weight: 2 },
  { name: "slow", ttft: Duration.millis(160), itl: Duration.millis(40), slots: 2, weight: 1 }
]

/** Runs until it is interrupted. `port`: the gateway's; 0 for any that is free. */
export const runDemo = Effect.fnUntraced(function* (port: number) {
  const simulators = yield* Effect.forEach(engines, (engine) => Simulator.make({ ...engine, models: [model] }))
  const backends = engines.map(({ name, slots, weight }, index) => ({
    name,
    weight,
    adapter: "vllm",
    url: simulators[index]?.url,
    maxConcurrency: slots * 2,
    health: { interval: "1s" }
  }))
  const settings = yield* parseGatewayConfig({
    listeners: [{ port, pool: "default" }],
    backends,
    pools: [{ name: "default", backends: engines.map(({ name }) => name) }],
    telemetry: { logs: { level: "warn", format: "pretty" } }
  })
  return yield* run(
    settings,
    simulators.map(({ url }) => url)
  )
}, Effect.scoped)

const run = Effect.fnUntraced(function* (settings: GatewayConfig, urls: ReadonlyArray<string>) {
  let address = ""
  const loaded: Loaded = { config: settings, file: undefined, files: [], looks: new Map(), said: [] }
  const gateway = layerGateway(loaded, Effect.succeed(loaded), ({ host, port: bound }) =>
    Effect.sync(() => {
      address = `http://${host}:${bound}`
    })
  )
  const showing = Layer.effectDiscard(
    Effect.suspend(() => show(address, urls)).pipe(Effect.provide(FetchHttpClient.layer))
  )
  return yield* Layer.launch(showing.pipe(Layer.provide(gateway)))
})

const show = Effect.fnUntraced(function* (gateway: string, urls: ReadonlyArray<string>) {
  const client = yield* HttpClient.HttpClient
  yield* Console.log("Weir demo: three simulated engines and the gateway\n")
  for (const [index, { name }] of engines.entries()) yield* Console.log(`  ${name.padEnd(8)} ${urls[index]}`)
  yield* Console.log(`  gateway  ${gateway}\n`)

  yield* client.get(`${gateway}/readyz`).pipe(
    Effect.flatMap(({ status }) => (status === 200 ? Effect.void : Effect.fail("not ready"))),
    Effect.retry(Schedule.spaced("50 millis").pipe(Schedule.upTo({ duration: "10 seconds" })))
  )

  const completion = yield* client.execute(chat(gateway, "Say hello.", false))
  const body = yield* completion.json
  yield* Console.log(`A chat completion, answered by ${completion.headers["x-routed-node"]}:`)
  yield* Console.log(`${JSON.stringify(body, null, 2)}\n`)

  const stream = yield* client.execute(chat(gateway, "Count to five.", true))
  yield* Console.log(`A stream, answered by ${stream.headers["x-routed-node"]}:`)
  yield* stream.stream.pipe(
    Stream.decodeText,
    Stream.splitLines,
    Stream.filter((line) => line !== ""),
    Stream.runForEach((line) => Console.log(`  ${line}`))
  )
  yield* Console.log(next(gateway))
})

const chat = (gateway: string, content: string, stream: boolean) =>
  HttpClientRequest.post(`${gateway}/v1/chat/completions`).pipe(
    HttpClientRequest.bodyJsonUnsafe({ model, stream, max_tokens: 8, messages: [{ role: "user", content }] })
  )

const next = (gateway: string): string => `
Now try it yourself (add "stream": true to see it stream):

  curl ${gateway}/v1/chat/completions -H 'content-type: application/json' -d '{"model": "${model}", "messages": [{"role": "user", "content": "Hello!"}]}'

and then

  curl ${gateway}/v1/models      the models behind it
  curl ${gateway}/health         its backends
  curl ${gateway}/stats          what each of them has done
  curl ${gateway}/metrics        the same for Prometheus

Stop with Ctrl-C.`
