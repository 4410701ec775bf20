/** Answers of up to 64 MB, in every way that they come and go, byte for byte, in little memory. */
import { readFileSync } from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { folderWith } from "../Folder.ts"
import { pairwise } from "../Pairwise.ts"
import { server as pair } from "../transport/Certificates.ts"
import { eventually, steady } from "../transport/Origin.ts"
import { overHttp1, overHttp2 } from "./large/Client.ts"
import { type Framing, startEngine } from "./large/Engine.ts"
import { type Coding, type Kind, payloadOf } from "./large/Payload.ts"
import { serve } from "./Program.ts"

const mebibyte = 1024 * 1024

interface Case {
  readonly mebibytes: number
  readonly coding: Coding
  readonly kind: Kind
  readonly framing: Framing
  readonly protocol: "HTTP/1.1" | "HTTP/2"
  readonly pace: "quick" | "slow"
}

const codings: ReadonlyArray<Coding> = ["none", "gzip", "deflate", "raw deflate", "br", "zstd"]
const kinds: ReadonlyArray<Kind> = ["unary", "stream", "file", "events"]
const framings: ReadonlyArray<Framing> = ["length", "chunked", "until close"]
const protocols = ["HTTP/1.1", "HTTP/2"] as const
const paces = ["quick", "slow"] as const

const all: ReadonlyArray<Case> = [0.5, 3, 8, 64].flatMap((mebibytes) =>
  codings.flatMap((coding) =>
    kinds.flatMap((kind) =>
      framings.flatMap((framing) =>
        protocols.flatMap((protocol) => paces.map((pace) => ({ mebibytes, coding, kind, framing, protocol, pace })))
      )
    )
  )
)

/** Where each kind is asked for, and with what. */
const questions: Readonly<Record<Kind, { readonly at: string; readonly text?: string; readonly type: string }>> = {
  unary: { at: "/v1/embeddings", text: '{"model":"m","input":["x"]}', type: "application/json" },
  stream: { at: "/v1/chat/completions", text: '{"model":"m","stream":true,"messages":[]}', type: "text/event-stream" },
  file: { at: "/v1/files/f/content", type: "audio/mpeg" },
  events: { at: "/v1/events", type: "text/event-stream" }
}

const scene = Effect.gen(function* () {
  const folder = yield* folderWith({ "cert.pem": pair.cert, "key.pem": pair.key })
  const engine = yield* startEngine
  const tls = { cert: path.join(folder, "cert.pem"), key: path.join(folder, "key.pem") }
  const gateway = yield* serve({
    listeners: [
      { name: "plain", port: 0 },
      { name: "secret", port: 0, tls }
    ],
    backends: [{ name: "engine", url: engine.url, models: ["m"], breaker: { minRequests: 1000 } }]
  })
  const clients = {
    "HTTP/1.1": yield* overHttp1(gateway.urlOf("plain")),
    "HTTP/2": yield* overHttp2(gateway.urlOf("secret").replace("http:", "https:"))
  }
  return { clients, engine, gateway }
})

type Scene = Effect.Success<typeof scene>

const headersOf = ({ coding, kind }: Pick<Case, "coding" | "kind">) => ({
  "content-type": questions[kind].type,
  ...(coding !== "none" && { "content-encoding": coding.replace("raw ", "") })
})

/** What a client gets, and what it must get. */
const exchange = Effect.fnUntraced(function* ({ clients, engine }: Scene, of: Case, cutAt?: number) {
  const { at, text } = questions[of.kind]
  const { expected, sent } = payloadOf(of.kind, of.mebibytes * mebibyte, of.coding)
  const before = engine.asked
  engine.play = { framing: of.framing, headers: headersOf(of), body: sent, cutAt }
  const { bytes, hash, status, whole } = yield* clients[of.protocol].ask(at, text, of.pace)
  return {
    actual: { status, bytes, hash, whole, asked: engine.asked - before },
    expected: { status: 200, ...expected, whole: true, asked: 1 }
  }
})

/** The most that a process ever had, or what it has now, in MiB. */
const memoryOf = (pid: number, which: "VmHWM" | "VmRSS") => {
  const [, kibibytes] =
    new RegExp(`^${which}:\\s*(\\d+) kB`, "m").exec(readFileSync(`/proc/${pid}/status`, "latin1")) ?? []
  return Number(kibibytes) / 1024
}

/** The collector lets young objects lie until there are many: more than a few answers of 64 MB would be. */
const tolerableGrowth = 200

describe("a large answer", () => {
  it.live(
    "arrives whole, whatever its size, kind, coding and framing, over either protocol, however slowly it is read",
    () =>
      Effect.gen(function* () {
        const at = yield* scene
        const { pid } = at.gateway
        const before = memoryOf(pid, "VmRSS")
        const cases = pairwise(all)
        assert.isAtLeast(cases.length, 24)
        for (const each of cases) {
          const { actual, expected } = yield* Effect.timeout(exchange(at, each), "30 seconds")
          assert.deepStrictEqual(actual, expected, JSON.stringify(each))
        }
        assert.isBelow(memoryOf(pid, "VmHWM") - before, tolerableGrowth, "MiB that it ever had more than at its start")
      }),
    { timeout: 120_000 }
  )

  it.live(
    "waits at the backend for a client that stands still, and arrives whole when that goes on",
    () =>
      Effect.gen(function* () {
        const at = yield* scene
        const { clients, engine, gateway } = at
        const { expected, sent: body } = payloadOf("file", 64 * mebibyte, "none")
        const before = memoryOf(gateway.pid, "VmRSS")
        let goOn = () => {}
        const gate = new Promise<void>((resolve) => {
          goOn = resolve
        })
        const readers = yield* Effect.forEach(
          protocols.flatMap((protocol) =>
            (["length", "until close"] as const).map((framing) => ({ protocol, framing }))
          ),
          Effect.fnUntraced(function* ({ framing, protocol }) {
            const asked = engine.asked
            engine.play = { framing, headers: headersOf({ coding: "none", kind: "file" }), body }
            const reader = yield* Effect.forkChild(clients[protocol].ask(questions.file.at, undefined, gate))
            yield* eventually("it is asked", () => engine.asked > asked)
            return reader
          })
        )
        const sent = yield* steady(() => engine.sent)
        // Most of it is in the buffers of the system, of two connections for each.
        assert.isBelow(sent / readers.length / mebibyte, 32, "MiB that the backend got rid of for each")
        assert.isBelow((memoryOf(gateway.pid, "VmRSS") - before) / readers.length, 12, "MiB for each")
        goOn()
        for (const reader of readers) {
          const { bytes, hash, status, whole } = yield* Effect.timeout(Fiber.join(reader), "30 seconds")
          assert.deepStrictEqual({ status, bytes, hash, whole }, { status: 200, ...expected, whole: true })
        }
      }),
    { timeout: 60_000 }
  )

  it.live("a large answer that breaks off in the middle is not shown as a whole one", () =>
    Effect.gen(function* () {
      const at = yield* scene
      const plain = all.filter(({ coding, mebibytes }) => coding === "none" && mebibytes === 3)
      const told = plain.filter(
        ({ framing, kind }) => framing !== "until close" && (kind === "unary" || kind === "file")
      )
      for (const each of pairwise(told)) {
        // One that is whole in between: a backend that does nothing but break off would be left alone.
        const { actual, expected } = yield* exchange(at, { ...each, pace: "quick" })
        assert.deepStrictEqual(actual, expected, JSON.stringify(each))
        const cutAt = 2 * mebibyte
        const broken = yield* exchange(at, each, cutAt)
        assert.deepInclude(broken.actual, { status: 200, whole: false, asked: 1 }, JSON.stringify(each))
        assert.isAtMost(broken.actual.bytes, cutAt, JSON.stringify(each))
      }
    })
  )
})
