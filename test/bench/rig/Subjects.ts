/** What is measured: the upstream itself, proxies, and Weir in several configurations. */
import { spawnSync } from "node:child_process"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { Effect, Schema } from "effect"
import { freePort, untilAnswers } from "./Answering.ts"
import { nextMessage, ownProgram, Rig, startChild } from "./Children.ts"
import type { Inspected } from "./Inspector.ts"
import { findTool } from "./Machine.ts"
import { nginxConfig } from "./Nginx.ts"
import { type WeirOptions, weirConfig, weirHeaders } from "./WeirConfig.ts"

export interface Subject {
  readonly name: string
  /** In a few words, for the reader of the figures. */
  readonly what: string
  readonly port: number
  readonly pids: ReadonlyArray<number>
  /** What the load generator sends with each request. */
  readonly headers: Readonly<Record<string, string>>
  /** From the start of the process to its first answer. */
  readonly startSeconds: number
  /** Of a Node process that can be made to collect its garbage. */
  readonly inspected?: Inspected
}

const Listening = Schema.Struct({ port: Schema.Int })

/** Node as users run it, and its inspector, which costs nothing until something connects to it. */
const node = (inspectPort: number): ReadonlyArray<string> => [process.execPath, `--inspect=127.0.0.1:${inspectPort}`]

const startOwn = Effect.fnUntraced(function* (file: string, args: ReadonlyArray<string>, role: "subject" | "upstream") {
  const inspectPort = yield* freePort
  const startedAt = performance.now()
  const child = yield* startChild([...node(inspectPort), ownProgram(file), ...args], {
    role,
    log: `${file}.log`,
    tells: true
  })
  const { port } = yield* nextMessage(child, Listening)
  yield* untilAnswers(port, "/health", child)
  const startSeconds = (performance.now() - startedAt) / 1000
  return { port, pids: [child.pid], startSeconds, inspected: { child, port: inspectPort } }
})

/** The engine behind all subjects, which is one itself: what it can do is the ceiling. */
export const startUpstream = startOwn("Upstream.ts", [], "upstream").pipe(
  Effect.map(
    (started): Subject => ({
      ...started,
      name: "direct",
      what: "the upstream itself, with nothing before it",
      headers: {}
    })
  )
)

/** Where spans go: the same program, which only counts them. */
export const startSink = startOwn("Upstream.ts", [], "upstream")

export const startBare = (upstream: number) =>
  startOwn("BareProxy.ts", [String(upstream)], "subject").pipe(
    Effect.map(
      (started): Subject => ({
        ...started,
        name: "bare",
        what: "Node's HTTP server forwarding through undici's dispatch, nothing else",
        headers: {}
      })
    )
  )

/** `undefined` where nginx is not installed. */
export const startNginx = Effect.fnUntraced(function* (upstream: number) {
  const nginx = findTool("nginx")
  if (nginx === undefined) return undefined
  const { folder } = yield* Rig
  const port = yield* freePort
  const file = join(folder, "nginx.conf")
  writeFileSync(file, nginxConfig(port, upstream, folder))
  const startedAt = performance.now()
  const child = yield* startChild([nginx, "-c", file], { role: "subject", log: "nginx.log" })
  yield* untilAnswers(port, "/health", child)
  const subject: Subject = {
    name: "nginx",
    what: "nginx, one worker, kept-alive upstream connections, no buffering, no access log",
    port,
    pids: [child.pid],
    headers: {},
    startSeconds: (performance.now() - startedAt) / 1000
  }
  return subject
})

/** Weir as a user runs it: the built program with a file, its log at level info going to a file. */
export const startWeir = Effect.fnUntraced(function* (
  name: string,
  what: string,
  options: WeirOptions,
  until: "/readyz" | "/healthz" = "/readyz"
) {
  const { folder, weir } = yield* Rig
  const port = yield* freePort
  const inspectPort = yield* freePort
  const file = join(folder, `${name}.yaml`)
  writeFileSync(file, JSON.stringify(weirConfig(port, options)))
  const startedAt = performance.now()
  const child = yield* startChild([...node(inspectPort), weir, "serve", "--config", file], {
    role: "subject",
    log: `${name}.log`
  })
  yield* untilAnswers(port, until, child)
  const subject: Subject = {
    name,
    what,
    port,
    pids: [child.pid],
    headers: weirHeaders(options),
    startSeconds: (performance.now() - startedAt) / 1000,
    inspected: { child, port: inspectPort }
  }
  return subject
})

/** Whether the version at hand takes a configuration. */
export const acceptsConfig = Effect.fnUntraced(function* (name: string, options: WeirOptions) {
  const { folder, weir } = yield* Rig
  const file = join(folder, `probe-${name}.yaml`)
  writeFileSync(file, JSON.stringify(weirConfig(0, options)))
  return spawnSync(process.execPath, [weir, "check", "--config", file], { timeout: 30_000 }).status === 0
})
