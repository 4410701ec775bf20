/** The plain reader against Node's own parser: what it reads Node reads too, and in the same way. */
import { readFileSync } from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { readPlainHead } from "../../../src/http/plain/PlainHead.ts"
import { Random } from "../../bench/scheduling/Random.ts"
import { mutate } from "../../fuzz/Mutations.ts"
import { refused, unusual } from "../../hostile/Requests.ts"
import { headFrom } from "./Heads.ts"
import { disagreement, makeNodeReader, maxHeadBytes } from "./NodeReading.ts"

const corpus = Schema.decodeUnknownSync(Schema.fromJsonString(Schema.Array(Schema.String)))(
  readFileSync(path.join(import.meta.dirname, "../../fuzz/corpus.json"), "utf8")
)

const readByNode = makeNodeReader()

const agreesOn = (input: string): boolean => {
  const found = disagreement(readByNode, input)
  if (found !== undefined && found !== "passed on") assert.fail(`${found}\n${JSON.stringify(input)}`)
  return found === undefined
}

const plain = (line: string, more = "") =>
  `POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n${line}${more}\r\n\r\nhello`

const isRead = (input: string): boolean => readPlainHead(Buffer.from(input, "latin1"), maxHeadBytes) !== undefined

describe("the plainest form of a head", () => {
  it("is read as Node reads it, whatever is done to good ones", () => {
    const random = new Random(20_260_101)
    let read = 0
    for (let n = 0; n < 1500; n++) if (agreesOn(headFrom(random))) read++
    // Not a few: what is compared is worth it.
    assert.isAbove(read, 300)
  })

  it("is read as Node reads it in what is sent to break gateways", () => {
    let read = 0
    for (const input of [...corpus, ...Object.values(refused), ...Object.values(unusual)]) if (agreesOn(input)) read++
    const random = new Random(20_260_102)
    for (let n = 0; n < 500; n++) if (agreesOn(mutate(random, corpus))) read++
    assert.isAbove(read, 50)
  })

  it("is the same with any one byte of it changed to any other", () => {
    const good = "POST /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: keep-alive\r\nX-A:\tb \r\n\r\nhello"
    assert.isTrue(agreesOn(good))
    const end = good.indexOf("hello")
    for (let at = 0; at < end; at++) {
      for (let byte = 0; byte < 256; byte++) {
        agreesOn(good.slice(0, at) + String.fromCharCode(byte) + good.slice(at + 1))
      }
    }
  }, 60_000)

  it.each([
    ["Transfer-Encoding: chunked"],
    ["TE: trailers"],
    ["Trailer: x"],
    ["Expect: 100-continue"],
    ["Upgrade: websocket"],
    ["Connection: close"],
    ["Connection: keep-alive, x-a"],
    ["Proxy-Connection: keep-alive"],
    ["Content-Length: 5"],
    ["Host: localhost"],
    ["__proto__: a"],
    ["constructor: a"],
    // Of this one Node makes a list.
    ["Set-Cookie: a=b"],
    ["x-a: b\r\n c"],
    ["x-a : b"],
    ["x-a"],
    [": b"],
    ["x-a: b\u0000"],
    ["x-a: b\nx-b: c"],
    [`${"a".repeat(65)}: b`]
  ])("is not one with %s", (line) => {
    assert.isTrue(isRead(plain("accept: a")))
    assert.isFalse(isRead(plain(line)))
  })

  it("is at most as long as a head may be, its blank line counted", () => {
    const long = plain(`x-a: ${"a".repeat(1000)}`)
    const size = long.indexOf("hello")
    const bytes = Buffer.from(long, "latin1")
    assert.isDefined(readPlainHead(bytes, size))
    assert.isUndefined(readPlainHead(bytes, size - 1))
  })

  it("is not there before its last byte has come", () => {
    const whole = plain("accept: a")
    const end = whole.indexOf("hello")
    for (let size = 0; size < end; size++) assert.isFalse(isRead(whole.slice(0, size)), `${size} bytes`)
    assert.isTrue(isRead(whole.slice(0, end)))
  })
})
