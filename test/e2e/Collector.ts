/** What takes spans in, as a collector does: OTLP over HTTP. Names and ids are found in the bytes as they came. */
import { createServer } from "node:http"
import { Effect } from "effect"

export interface Collector {
  readonly url: string
  /** Everything that was sent so far. */
  readonly received: () => Buffer
  readonly paths: ReadonlyArray<string>
  status: number
}

export const collector = Effect.acquireRelease(
  Effect.callback<{ readonly collector: Collector; readonly close: () => void }>((resume) => {
    const pieces: Array<Buffer> = []
    const paths: Array<string> = []
    const server = createServer((request, response) => {
      paths.push(request.url ?? "")
      request.on("data", (piece: Buffer) => pieces.push(piece))
      request.on("end", () => response.writeHead(made.status, { "content-type": "application/x-protobuf" }).end())
    })
    const made: Collector & { url: string } = { url: "", received: () => Buffer.concat(pieces), paths, status: 200 }
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      made.url = `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}`
      resume(Effect.succeed({ collector: made, close: () => server.close() }))
    })
  }),
  ({ close }) => Effect.sync(close)
).pipe(Effect.map((made) => made.collector))
