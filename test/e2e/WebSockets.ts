/** WebSockets byte by byte: what a client asks, what an engine answers, and a gateway between the two. */
import { Effect, type Scope } from "effect"
import { connect, type Line, request } from "../hostile/Raw.ts"
import { makeOrigin, type Origin, type Peer } from "../transport/Origin.ts"
import { ask } from "./Ask.ts"
import { eventually, type Gateway, serve } from "./Program.ts"

/** The example of RFC 6455, 1.3. */
export const sampleKey = "dGhlIHNhbXBsZSBub25jZQ=="

export const offer = (target = "/v1/realtime?model=m", ...lines: ReadonlyArray<string>): string =>
  request("GET", target, [
    "connection: Upgrade",
    "upgrade: websocket",
    "sec-websocket-version: 13",
    `sec-websocket-key: ${sampleKey}`,
    ...lines
  ])

export const switched = (...lines: ReadonlyArray<string>): string =>
  [
    "HTTP/1.1 101 Switching Protocols",
    "upgrade: websocket",
    "connection: upgrade",
    "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
    ...lines,
    "\r\n"
  ].join("\r\n")

export const answer = (status: number, body = "no", ...lines: ReadonlyArray<string>): string =>
  [`HTTP/1.1 ${status} Said`, `content-length: ${body.length}`, ...lines, "", body].join("\r\n")

/** A text frame as an engine sends it, up to 125 bytes. */
export const textFrame = (text: string): string => `\x81${String.fromCharCode(text.length)}${text}`

export interface Scene {
  readonly gateway: Gateway
  readonly engine: Origin
  /** The next upgrade that reaches the engine, with its whole head. */
  readonly upgraded: Effect.Effect<{ readonly peer: Peer; readonly head: string }>
  readonly client: (...bytes: ReadonlyArray<string>) => ReturnType<typeof connect>
  /** Opened on both sides. */
  readonly open: (target?: string) => Effect.Effect<Open, never, Scope.Scope>
}

export interface Open {
  readonly line: Line
  readonly peer: Peer
}

/** A gateway before one engine of which the test writes every byte; it is not probed in the meantime. */
export const scene = Effect.fnUntraced(function* (config: object = {}, backend: object = {}) {
  const engine = yield* makeOrigin
  const health = { interval: "1h", unhealthyAfter: 100 }
  const gateway = yield* serve({
    backends: [{ name: "a", url: engine.url, models: ["m"], health, ...backend }],
    ...config
  })
  const upgraded = Effect.gen(function* () {
    for (;;) {
      const peer = yield* engine.next
      const head = yield* peer.head
      if (/^GET \/v1\/models |^GET \/health /.test(head)) peer.send(answer(200, '{"object":"list","data":[]}'))
      else return { peer, head }
    }
  })
  const client = Effect.fnUntraced(function* (...bytes: ReadonlyArray<string>) {
    const line = yield* connect(gateway.url)
    line.write((bytes.length === 0 ? [offer()] : bytes).join(""))
    return line
  })
  const open = Effect.fnUntraced(function* (target?: string) {
    const line = yield* client(offer(target))
    const { peer } = yield* upgraded
    peer.send(switched())
    yield* line.until(() => line.received().includes("\r\n\r\n"))
    return { line, peer }
  })
  const made: Scene = { gateway, engine, upgraded, client, open }
  return made
})

/** What runs at the backends by `/stats`. */
export const inflight = ({ gateway }: Pick<Scene, "gateway">): Effect.Effect<number> =>
  Effect.map(ask(`${gateway.url}/stats`), ({ text }) =>
    [...text.matchAll(/"inflight":(\d+)/g)].reduce((total, [, count]) => total + Number(count), 0)
  )

export const idle = (scene: Pick<Scene, "gateway">): Effect.Effect<void> =>
  Effect.asVoid(
    eventually(
      Effect.map(inflight(scene), (count) => (count === 0 ? true : undefined)),
      () => "nothing in flight"
    )
  )
