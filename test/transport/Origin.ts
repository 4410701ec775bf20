/** A backend of which the test writes and reads every byte. */
import { createServer, type Server, type Socket } from "node:net"
import { Deferred, Effect, Queue, Schedule, type Scope } from "effect"

/** One connection that a client has opened. */
export interface Peer {
  readonly socket: Socket
  /** All bytes so far, each as one character. */
  readonly received: () => string
  /** Waits until what has arrived satisfies the test; tells it. */
  readonly until: (test: (received: string) => boolean) => Effect.Effect<string>
  /** Waits for the whole head of the first request. */
  readonly head: Effect.Effect<string>
  readonly send: (data: string | Uint8Array) => void
  /** Sends FIN. */
  readonly end: () => void
  /** Sends RST. */
  readonly reset: () => void
  /** Waits until the client has gone. */
  readonly closed: Effect.Effect<void>
}

export interface Origin {
  readonly port: number
  readonly url: string
  /** Connections so far. */
  readonly accepted: () => number
  /** Waits for the next connection. */
  readonly next: Effect.Effect<Peer>
}

const peerOf = (socket: Socket): Peer => {
  let text = ""
  const watchers = new Set<() => void>()
  const closed = Deferred.makeUnsafe<void>()
  socket.on("data", (data: Buffer) => {
    text += data.toString("latin1")
    for (const look of watchers) look()
  })
  socket.on("error", () => {})
  socket.on("close", () => Deferred.doneUnsafe(closed, Effect.void))
  const until = (test: (received: string) => boolean) =>
    Effect.callback<string>((resume) => {
      const look = () => {
        if (!test(text)) return
        watchers.delete(look)
        resume(Effect.succeed(text))
      }
      watchers.add(look)
      look()
      return Effect.sync(() => watchers.delete(look))
    })
  return {
    socket,
    received: () => text,
    until,
    head: until((received) => received.includes("\r\n\r\n")),
    send: (data) => {
      socket.write(data)
    },
    end: () => {
      socket.end()
    },
    reset: () => {
      socket.resetAndDestroy()
    },
    closed: Deferred.await(closed)
  }
}

/** Listens until the scope closes; every connection is closed then. */
export const makeOrigin: Effect.Effect<Origin, never, Scope.Scope> = Effect.gen(function* () {
  const peers = yield* Queue.unbounded<Peer>()
  const sockets = new Set<Socket>()
  let accepted = 0
  const server = createServer({ allowHalfOpen: false }, (socket) => {
    accepted++
    sockets.add(socket)
    Queue.offerUnsafe(peers, peerOf(socket))
  })
  const port = yield* listen(server, () => {
    for (const socket of sockets) socket.destroy()
  })
  return { port, url: `http://127.0.0.1:${port}`, accepted: () => accepted, next: Queue.take(peers) }
})

export const listen = (server: Server, close: () => void = () => {}): Effect.Effect<number, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<number>((resume) => {
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0))
      })
    }),
    () =>
      Effect.callback<void>((resume) => {
        server.close(() => resume(Effect.void))
        close()
      })
  )

/** Looks again and again until it is true; fails after some seconds. */
export const eventually = (what: string, test: () => boolean): Effect.Effect<void> =>
  Effect.sync(test).pipe(
    Effect.filterOrFail(
      (isTrue) => isTrue,
      () => new Error(`never came true: ${what}`)
    ),
    Effect.retry(Schedule.max([Schedule.spaced("5 millis"), Schedule.recurs(2000)])),
    Effect.orDie,
    Effect.asVoid
  )

/** Waits until a number has stopped changing for `looks` looks in a row; tells it. */
export const steady = Effect.fnUntraced(function* (read: () => number, looks = 10) {
  let last = Number.NaN
  let same = 0
  while (same < looks) {
    const value = read()
    same = value === last ? same + 1 : 0
    last = value
    yield* Effect.sleep("20 millis")
  }
  return last
})
