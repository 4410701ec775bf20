/** A client that sees the bytes: what HTTP libraries hide is what these tests are about. */
import { connect, type Socket } from "node:net"
import { Deferred, Effect, type Scope } from "effect"

/** How the server left: with FIN, or with RST. */
export type Ending = "closed" | "reset"

export interface Connection {
  /** All bytes so far, each as one character. */
  readonly received: () => string
  /** How many times bytes arrived. */
  readonly arrivals: () => number
  /** Waits until what has arrived satisfies the test; tells it. */
  readonly until: (test: (received: string) => boolean) => Effect.Effect<string>
  /** Waits for the server to leave. */
  readonly ended: Effect.Effect<Ending>
  readonly send: (text: string) => void
  /** Closes the connection without sending anything. */
  readonly leave: Effect.Effect<void>
}

/** Connects and sends; the scope's end closes the connection. */
export const dial = (port: number, text: string): Effect.Effect<Connection, Error, Scope.Scope> =>
  Effect.gen(function* () {
    const ending = yield* Deferred.make<Ending>()
    const socket = yield* Effect.acquireRelease(opened(port), (open) => Effect.sync(() => open.destroy()))
    let bytes = ""
    let arrivals = 0
    const watchers = new Set<() => void>()
    socket.on("data", (data: Buffer) => {
      bytes += data.toString("latin1")
      arrivals++
      for (const look of watchers) look()
    })
    socket.on("error", () => Deferred.doneUnsafe(ending, Effect.succeed("reset" as const)))
    socket.on("close", () => Deferred.doneUnsafe(ending, Effect.succeed("closed" as const)))
    socket.write(text)

    const until = (test: (received: string) => boolean) =>
      Effect.callback<string>((resume) => {
        const look = (): void => {
          if (!test(bytes)) return
          watchers.delete(look)
          resume(Effect.succeed(bytes))
        }
        watchers.add(look)
        look()
        return Effect.sync(() => watchers.delete(look))
      })

    return {
      received: () => bytes,
      arrivals: () => arrivals,
      until,
      ended: Deferred.await(ending),
      send: (more: string) => {
        socket.write(more)
      },
      leave: Effect.sync(() => {
        socket.destroy()
      })
    }
  })

const opened = (port: number): Effect.Effect<Socket, Error> =>
  Effect.callback((resume) => {
    const socket = connect({ port, host: "127.0.0.1" })
    socket.once("error", (error) => resume(Effect.fail(error)))
    socket.once("connect", () => resume(Effect.succeed(socket)))
    return Effect.sync(() => {
      socket.destroy()
    })
  })

/** A POST of JSON; the connection is not kept. */
export const post = (path: string, body: unknown): string => {
  const text = JSON.stringify(body)
  return [
    `POST ${path} HTTP/1.1`,
    "host: sim",
    "connection: close",
    "content-type: application/json",
    `content-length: ${Buffer.byteLength(text)}`,
    "",
    text
  ].join("\r\n")
}

export const get = (path: string): string => `GET ${path} HTTP/1.1\r\nhost: sim\r\nconnection: close\r\n\r\n`

export interface Answer {
  readonly status: number
  readonly head: string
  /** Without the chunks' frames, where there are any; each byte as one character. */
  readonly body: string
  /** Whether the body has the end that its head has promised. */
  readonly complete: boolean
  readonly ending: Ending
}

/** Sends one request and reads until the server leaves. */
export const ask = (port: number, text: string): Effect.Effect<Answer, Error> =>
  Effect.scoped(
    Effect.gen(function* () {
      const connection = yield* dial(port, text)
      const ending = yield* connection.ended
      return { ...parse(connection.received()), ending }
    })
  )

/** Reads an answer, whole or not. */
export const parse = (received: string): Omit<Answer, "ending"> => {
  const split = received.indexOf("\r\n\r\n")
  const head = split === -1 ? received : received.slice(0, split)
  const rest = split === -1 ? "" : received.slice(split + 4)
  const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1] ?? 0)
  if (/^transfer-encoding: chunked/im.test(head)) return { status, head, ...unframe(rest) }
  const length = Number(/^content-length: (\d+)/im.exec(head)?.[1] ?? Number.NaN)
  return { status, head, body: rest, complete: rest.length === length }
}

const unframe = (framed: string): { readonly body: string; readonly complete: boolean } => {
  let body = ""
  let at = 0
  while (at < framed.length) {
    const line = framed.indexOf("\r\n", at)
    const size = Number.parseInt(framed.slice(at, line), 16)
    if (line === -1 || Number.isNaN(size)) return { body, complete: false }
    if (size === 0) return { body, complete: true }
    body += framed.slice(line + 2, line + 2 + size)
    at = line + 2 + size + 2
  }
  return { body, complete: false }
}
