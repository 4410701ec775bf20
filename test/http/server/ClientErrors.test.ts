import { EventEmitter } from "node:events"
import { IncomingMessage, ServerResponse } from "node:http"
import { Socket } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { answerClientErrors } from "../../../src/http/server/ClientErrors.ts"

/** A socket that remembers instead of sending. */
class Recorded extends Socket {
  said = ""
  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.said += chunk.toString()
    done()
  }
  override _final(done: () => void): void {
    done()
  }
}

const failWith = (code: string, socket = new Recorded()): Recorded => {
  const server = new EventEmitter()
  answerClientErrors(server)
  server.emit("clientError", Object.assign(new Error("failed"), { code }), socket)
  return socket
}

describe("what Node refuses by itself", () => {
  it.each([
    ["HPE_INVALID_METHOD", 400, "invalid_request"],
    ["HPE_HEADER_OVERFLOW", 431, "request_too_large"],
    ["ERR_HTTP_REQUEST_TIMEOUT", 408, "request_timeout"],
    ["HPE_CHUNK_EXTENSIONS_OVERFLOW", 400, "invalid_request"]
  ])("is answered in the form of all errors, and closed: %s", (code, status, name) => {
    const { said, writableEnded } = failWith(code)
    const [head = "", body = ""] = said.split("\r\n\r\n")
    assert.match(head, new RegExp(`^HTTP/1\\.1 ${status} `))
    assert.match(head, /\r\nx-request-id: [\w-]{36}\r\n/)
    assert.match(head, /\r\nconnection: close$/)
    assert.include(head, `content-length: ${Buffer.byteLength(body)}\r\n`)
    assert.include(body, `"code":"${name}"`)
    assert.isTrue(writableEnded)
  })

  it.each(["ECONNRESET", "EPIPE", "ERR_TLS_HANDSHAKE_TIMEOUT", "ERR_SSL_HTTP_REQUEST"])(
    "is not answered where the connection could not carry it: %s",
    (code) => {
      const { destroyed, said } = failWith(code)
      assert.isTrue(destroyed)
      assert.strictEqual(said, "")
    }
  )

  it("is not answered in the middle of another answer", () => {
    const socket = new Recorded()
    const response = new ServerResponse(new IncomingMessage(socket))
    response.assignSocket(socket)
    response.writeHead(200, { "content-length": "10" }).write("half")
    const { said, writableEnded } = failWith("HPE_INVALID_METHOD", socket)
    assert.match(said, /half$/)
    assert.isTrue(writableEnded)
  })
})
