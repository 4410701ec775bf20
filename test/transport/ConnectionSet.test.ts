import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo, Socket } from "node:net"
import { afterEach, assert, beforeEach, describe, it } from "@effect/vitest"
import { Client, type Dispatcher } from "undici"
import { ConnectionSet } from "../../src/transport/ConnectionSet.ts"

/** An engine that answers a path when the test says so, and the sockets that it was asked on. */
class Engine {
  readonly server = createServer((request, response) => this.#onRequest(request, response))
  readonly waiting: Array<ServerResponse> = []
  /** By path. */
  readonly askedOn = new Map<string, Socket>()

  #onRequest(request: IncomingMessage, response: ServerResponse): void {
    this.askedOn.set(request.url ?? "", request.socket)
    this.waiting.push(response)
  }

  listen(): Promise<string> {
    return new Promise((resolve) =>
      this.server.listen(0, "127.0.0.1", () => {
        const address = this.server.address()
        resolve(`http://127.0.0.1:${isInet(address) ? address.port : 0}`)
      })
    )
  }
}

const isInet = (address: AddressInfo | string | null): address is AddressInfo =>
  typeof address === "object" && address !== null

const until = async (isTrue: () => boolean, what: string): Promise<void> => {
  for (let turn = 0; !isTrue(); turn++) {
    if (turn > 5000) assert.fail(`it never came to that: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
}

/** What became of one request: its body, or the error. */
const ask = (set: ConnectionSet, path: string): { outcome: string | undefined } => {
  const asked: { outcome: string | undefined } = { outcome: undefined }
  let text = ""
  const handler: Dispatcher.DispatchHandler = {
    onRequestStart: () => {},
    onResponseStart: () => {},
    onResponseData: (_, bytes) => {
      text += Buffer.from(bytes).toString()
    },
    onResponseEnd: () => {
      asked.outcome = text
    },
    onResponseError: (_, error) => {
      asked.outcome = error.name
    }
  }
  set.dispatch({ origin: "http://engine.test", path, method: "GET" }, handler)
  return asked
}

describe("the connections to an origin", () => {
  let engine = new Engine()
  let set = new ConnectionSet(() => new Client("http://127.0.0.1:1"))

  beforeEach(async () => {
    engine = new Engine()
    const url = await engine.listen()
    set = new ConnectionSet(() => new Client(url, { pipelining: 1 }))
  })
  afterEach(async () => {
    await set.destroy()
    engine.server.closeAllConnections()
    engine.server.close()
  })

  const answerAll = async (count: number) => {
    await until(() => engine.waiting.length === count, `${count} requests wait`)
    for (const response of engine.waiting.splice(0)) response.end("ok")
  }

  it("one serves requests that come one after the other", async () => {
    for (const path of ["/1", "/2", "/3"]) {
      const asked = ask(set, path)
      await answerAll(1)
      await until(() => asked.outcome === "ok", path)
      await new Promise((resolve) => setImmediate(resolve))
    }
    assert.strictEqual(set.size, 1)
    assert.strictEqual(new Set(engine.askedOn.values()).size, 1)
  })

  it("each request that runs has one of its own, and the one that was free last is taken first", async () => {
    const first = ["/1", "/2", "/3"].map((path) => ask(set, path))
    await answerAll(3)
    await until(() => first.every(({ outcome }) => outcome === "ok"), "all are answered")
    await until(() => set.size === 3, "three are kept")
    await new Promise((resolve) => setTimeout(resolve, 10))
    const used: Array<Socket | undefined> = []
    for (const path of ["/4", "/5", "/6"]) {
      const asked = ask(set, path)
      await answerAll(1)
      await until(() => asked.outcome === "ok", path)
      await new Promise((resolve) => setTimeout(resolve, 2))
      used.push(engine.askedOn.get(path))
    }
    assert.strictEqual(new Set(used).size, 1, "two of them rest")
    assert.strictEqual(set.size, 3)
  })

  it("one that its engine closes while it is free is forgotten", async () => {
    const asked = [ask(set, "/1"), ask(set, "/2")]
    await answerAll(2)
    await until(() => asked.every(({ outcome }) => outcome === "ok"), "both are answered")
    await new Promise((resolve) => setTimeout(resolve, 5))
    engine.server.closeAllConnections()
    await until(() => set.size === 0, "none is kept")
    const again = ask(set, "/3")
    await answerAll(1)
    await until(() => again.outcome === "ok", "a new one is made")
    assert.strictEqual(set.size, 1)
  })

  it("one that breaks under a request is forgotten, and so is one that cannot be made", async () => {
    const asked = ask(set, "/1")
    await until(() => engine.waiting.length === 1, "it is asked")
    engine.server.closeAllConnections()
    await until(() => asked.outcome === "SocketError", "it has broken")
    await until(() => set.size === 0, "it is forgotten")
    const nowhere = new ConnectionSet(() => new Client("http://127.0.0.1:9"))
    const refused = ask(nowhere, "/")
    await until(() => refused.outcome !== undefined, "nothing listens there")
    assert.deepStrictEqual([set.size, nowhere.size], [0, 0])
  })

  it("a request that undici does not take leaves its connection for the next one", async () => {
    const wrong = ask(set, "no path")
    await until(() => wrong.outcome === "InvalidArgumentError", "it is refused")
    assert.strictEqual(set.size, 1)
    const asked = ask(set, "/1")
    await answerAll(1)
    await until(() => asked.outcome === "ok", "it is answered")
    assert.strictEqual(set.size, 1)
  })

  it("a close lets what runs come to its end", async () => {
    const asked = ask(set, "/1")
    await until(() => engine.waiting.length === 1, "it is asked")
    const closed = set.close()
    await answerAll(1)
    await closed
    assert.strictEqual(asked.outcome, "ok")
  })
})
