/** An engine of one model, whose answers are large: batches of embeddings, and streams of large events. */
import { createServer } from "node:http"
import { Effect } from "effect"
import { payloadOf } from "../e2e/large/Payload.ts"
import { listen } from "../transport/Origin.ts"

export const largeModel = "large-model"

const mebibyte = 1024 * 1024
const batch = payloadOf("unary", 3 * mebibyte, "none").sent
const events = payloadOf("stream", 3 * mebibyte, "none").sent
const models = JSON.stringify({ object: "list", data: [{ id: largeModel, object: "model" }] })

/** What its answers must have. */
export const largeBytes = { batch: batch.length, events: events.length }

/** Its address. */
export const startSpeaker = Effect.gen(function* () {
  const server = createServer({ noDelay: true }, (request, response) => {
    const streams = request.url === "/v1/chat/completions"
    const type = streams ? "text/event-stream" : "application/json"
    const body = request.method === "GET" ? models : streams ? events : batch
    response.on("error", () => {})
    response.setHeader("content-type", type)
    request.resume().on("end", () => response.end(body))
  })
  const port = yield* listen(server, () => server.closeAllConnections())
  return `http://127.0.0.1:${port}`
})
