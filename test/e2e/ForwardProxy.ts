/** A forward proxy as companies have them: absolute-form requests and CONNECT, for clients with its credentials. */
import * as http from "node:http"
import * as net from "node:net"
import type { Duplex } from "node:stream"
import { Effect, type Scope } from "effect"

export interface ForwardProxy {
  /** With the credentials in it. */
  readonly url: string
  readonly port: number
  /** `METHOD target`, as they came in; those that were refused too. */
  readonly asked: ReadonlyArray<string>
  /** Headers of the last request in absolute form, as it arrived. */
  readonly lastHeaders: () => http.IncomingHttpHeaders
}

const credentials = "user:p@ss:wörd"

/** `hosts`: what the names that only the proxy knows mean. `silent`: it accepts connections and sends nothing. */
export const forwardProxy = (
  options: { readonly hosts?: Readonly<Record<string, number>>; readonly silent?: boolean } = {}
): Effect.Effect<ForwardProxy, never, Scope.Scope> =>
  Effect.gen(function* () {
    const asked: Array<string> = []
    let headers: http.IncomingHttpHeaders = {}
    const sockets = new Set<Duplex>()
    const portOf = (host: string, port: string): number => options.hosts?.[host] ?? Number(port)
    const refuses = ({ headers: { "proxy-authorization": shown } }: http.IncomingMessage): boolean =>
      shown !== `Basic ${Buffer.from(credentials).toString("base64")}`

    const server = http.createServer((incoming, outgoing) => {
      if (options.silent === true) return
      asked.push(`${incoming.method} ${incoming.url}`)
      if (refuses(incoming)) {
        outgoing.writeHead(407, { "proxy-authenticate": "Basic" }).end("no")
        return
      }
      ;({ headers } = incoming)
      const target = new URL(incoming.url ?? "")
      const onward = http.request(
        {
          host: "127.0.0.1",
          port: portOf(target.hostname, target.port),
          path: target.pathname + target.search,
          method: incoming.method,
          headers: incoming.headers
        },
        (answer) => {
          outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
          answer.pipe(outgoing)
        }
      )
      onward.on("error", () => outgoing.destroy())
      outgoing.on("close", () => onward.destroy())
      incoming.pipe(onward)
    })
    server.on("connect", (incoming, socket) => {
      sockets.add(socket)
      socket.on("error", () => {})
      if (options.silent === true) return
      asked.push(`CONNECT ${incoming.url}`)
      if (refuses(incoming)) {
        socket.end(
          "HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic\r\ncontent-length: 0\r\n\r\n"
        )
        return
      }
      const [host = "", port = ""] = (incoming.url ?? "").split(":")
      const onward = net.connect(portOf(host, port), "127.0.0.1", () => {
        socket.write("HTTP/1.1 200 Connection established\r\n\r\n")
        onward.pipe(socket)
        socket.pipe(onward)
      })
      sockets.add(onward)
      onward.on("error", () => socket.destroy())
      socket.on("close", () => onward.destroy())
    })
    const port = yield* Effect.acquireRelease(
      Effect.callback<number>((resume) => {
        server.listen(0, "127.0.0.1", () => {
          const address = server.address()
          resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0))
        })
      }),
      () =>
        Effect.sync(() => {
          for (const socket of sockets) socket.destroy()
          server.closeAllConnections()
          server.close()
        })
    )
    const [user = "", ...password] = credentials.split(":")
    const userinfo = `${encodeURIComponent(user)}:${encodeURIComponent(password.join(":"))}`
    return { asked, port, url: `http://${userinfo}@127.0.0.1:${port}`, lastHeaders: () => headers }
  })
