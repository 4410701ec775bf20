/**
 * The engine of the measurements, as cheap as Node can be: a raw TCP server with just enough HTTP/1.1. It gives a fixed
 * answer, or a stream of stamped events when `"stream":true` stands at the beginning or end of the body; how many and
 * how far apart say the headers `x-bench-chunks` and `x-bench-pace` (milliseconds; 0: as fast as the connection takes
 * them), `x-bench-bytes` makes the answer so long, and `x-bench-hold: 1` keeps a stream open after its first event until `POST /bench/release`. It takes OTLP
 * traces too, and counts them.
 */
import { createServer, type Socket } from "node:net"
import { done, finishEvent, model, tokenEvent } from "./wire/Events.ts"
import { framingOf, MessageReader } from "./wire/MessageReader.ts"

const answer = (body: string, status = "200 OK"): string =>
  `HTTP/1.1 ${status}\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`

const completion = Buffer.from(
  answer(
    JSON.stringify({
      id: "chatcmpl-bench",
      object: "chat.completion",
      created: 1_700_000_000,
      model,
      choices: [{ index: 0, message: { role: "assistant", content: "It is measured." }, finish_reason: "stop" }],
      usage: { prompt_tokens: 9, completion_tokens: 4, total_tokens: 13 }
    })
  )
)
/** Of embeddings, say; made once for each length. */
const makeLong = () => {
  const made = new Map<number, Buffer>()
  return (bytes: number): Buffer => {
    const found = made.get(bytes) ?? Buffer.from(answer(`{"data":"${"0.1234,".repeat(bytes).slice(0, bytes - 11)}"}`))
    made.set(bytes, found)
    return found
  }
}

const models = answer(JSON.stringify({ object: "list", data: [{ id: model, object: "model", owned_by: "bench" }] }))
const healthy = answer('{"status":"ok"}')
const nothingHere = answer('{"error":{"message":"not found"}}', "404 Not Found")
const streamHead =
  "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"

const chunk = (text: string): string => `${text.length.toString(16)}\r\n${text}\r\n`

/** The last event, the end mark and the end of the body. */
const ending = (): string => `${chunk(finishEvent())}${chunk(done)}0\r\n\r\n`

interface Stream {
  readonly socket: Socket
  /** Events that are still to come, the last one included. */
  left: number
}

/** Sends the next event; answers whether the stream is over. */
const advance = (stream: Stream): boolean => {
  if (stream.socket.destroyed) return true
  stream.left--
  stream.socket.write(stream.left > 0 ? chunk(tokenEvent()) : ending(), "latin1")
  return stream.left <= 0
}

/** The golden ratio's part: multiples of it never bunch. */
const spreading = 0.618_034

/**
 * Streams with a pace: each event has its own due time, by the stream's beginning and a phase of its own. An interval
 * counts from when it was last served, so that after one late turn all streams would go on in step for good.
 */
const makePaced = () => {
  let begun = 0
  return (stream: Stream, pace: number): void => {
    const phase = 0.5 + ((begun++ * spreading) % 1)
    let due = performance.now() + phase * pace
    const next = () => {
      if (advance(stream)) return
      due += pace
      wait()
    }
    const wait = () => setTimeout(next, Math.max(0, due - performance.now()))
    wait()
  }
}

/** So many events are written at once where there is no pace: less, and the upstream would be the bottleneck. */
const batch = 32

/** Sends as many events as fit into a batch; answers whether the stream is over. */
const advanceFar = (stream: Stream): boolean => {
  if (stream.socket.destroyed) return true
  const tokens = Math.min(batch, stream.left - 1)
  stream.left -= tokens
  if (tokens > 0) stream.socket.write(chunk(tokenEvent()).repeat(tokens), "latin1")
  return tokens === 0 && advance(stream)
}

/** Streams without a pace get a batch each in every turn of the event loop, as long as their connection takes it. */
const makeFlatOut = () => {
  const streams = new Set<Stream>()
  const turn = () => {
    for (const stream of streams) {
      if (!stream.socket.writableNeedDrain && advanceFar(stream)) streams.delete(stream)
    }
    if (streams.size > 0) setImmediate(turn)
  }
  return (stream: Stream) => {
    streams.add(stream)
    if (streams.size === 1) setImmediate(turn)
  }
}

/** Streams that wait after their first event. */
const makeHeld = () => {
  const streams = new Set<Stream>()
  return {
    add: (stream: Stream) => {
      streams.add(stream)
      stream.socket.once("close", () => streams.delete(stream))
    },
    count: () => streams.size,
    // The connections are closed too: those that a proxy keeps for later are none of a stream's memory.
    release: () => {
      for (const { socket } of streams) socket.end(ending(), "latin1")
      streams.clear()
    }
  }
}

const numberIn = (head: string, name: string, otherwise: number): number =>
  Number(new RegExp(`\\r\\n${name}: *(\\d+)`, "i").exec(head)?.[1] ?? otherwise)

const makeEngine = () => {
  const counts = { requests: 0, streams: 0, traces: 0, traceBytes: 0 }
  const runFlatOut = makeFlatOut()
  const runPaced = makePaced()
  const held = makeHeld()
  const long = makeLong()

  const startStream = (socket: Socket, head: string): void => {
    counts.streams++
    const stream: Stream = { socket, left: Math.max(2, numberIn(head, "x-bench-chunks", 64)) - 1 }
    const pace = numberIn(head, "x-bench-pace", 20)
    socket.write(streamHead + chunk(tokenEvent()), "latin1")
    if (numberIn(head, "x-bench-hold", 0) === 1) return held.add(stream)
    if (pace === 0) return runFlatOut(stream)
    runPaced(stream, pace)
  }

  const complete = (socket: Socket, head: string, streams: boolean): void => {
    if (streams) return startStream(socket, head)
    const bytes = numberIn(head, "x-bench-bytes", 0)
    socket.write(bytes > 0 ? long(bytes) : completion)
  }

  const routes: Readonly<Record<string, (socket: Socket, head: string, streams: boolean) => void>> = {
    "POST /v1/chat/completions": complete,
    "GET /v1/models": (socket) => socket.write(models),
    "GET /health": (socket) => socket.write(healthy),
    "GET /bench/stats": (socket) => socket.write(answer(JSON.stringify({ ...counts, held: held.count() }))),
    "POST /bench/release": (socket) => {
      held.release()
      socket.write(healthy)
    },
    "POST /v1/traces": (socket) => {
      counts.traces++
      socket.write(answer("{}"))
    }
  }

  return {
    received: (route: string, bytes: number) => {
      if (route === "POST /v1/traces") counts.traceBytes += bytes
    },
    respond: (socket: Socket, route: string, head: string, streams: boolean): void => {
      counts.requests++
      const found = routes[route]
      if (found === undefined) socket.write(nothingHere)
      else found(socket, head, streams)
    }
  }
}

/** Clients put `stream` first or last; a search through the prompt would cost time. */
const asksForStream = (bytes: Buffer, from: number, to: number): boolean => {
  const first = bytes.toString("latin1", from, Math.min(to, from + 64))
  const last = bytes.toString("latin1", Math.max(from, to - 64), to)
  return first.includes('"stream":true') || last.includes('"stream":true')
}

const engine = makeEngine()
const server = createServer({ noDelay: true }, (socket) => {
  let head = ""
  let route = ""
  let streams = false
  let received = 0
  const reader = new MessageReader({
    onHead: (text) => {
      head = text
      route = /^\S+ [^ ?]+/.exec(text)?.[0] ?? ""
      streams = false
      received = 0
      return framingOf(text)
    },
    onData: (bytes, from, to) => {
      streams ||= asksForStream(bytes, from, to)
      received += to - from
    },
    onEnd: () => {
      engine.received(route, received)
      engine.respond(socket, route, head, streams)
    }
  })
  socket.on("data", (bytes: Buffer) => reader.push(bytes))
  socket.on("error", () => socket.destroy())
})

server.listen({ port: 0, host: "127.0.0.1", backlog: 4096 }, () => {
  const address = server.address()
  process.send?.({ port: typeof address === "object" ? address?.port : undefined })
})
// The process that started it has gone.
process.on("disconnect", () => process.exit(0))
