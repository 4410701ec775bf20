import { assert, describe, it } from "@effect/vitest"
import { readPlainHead } from "../../../src/http/plain/PlainHead.ts"
import { Random } from "../../bench/scheduling/Random.ts"
import { differenceAbout, tryMutations } from "./Difference.ts"

const read = (text: string) => readPlainHead(Buffer.from(text, "latin1"), 16_384)

const good = "POST /v1/chat/completions?x=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n"

describe("a plain head", () => {
  it("is read with its target, its headers as they came, and the length of its body", () => {
    const head = read(`${good}X-A:  b c \t\r\nConnection: Keep-Alive\r\n\r\n{}`)
    assert.deepStrictEqual(head, {
      url: "/v1/chat/completions?x=1",
      rawHeaders: ["Host", "a", "Content-Length", "2", "X-A", "b c", "Connection", "Keep-Alive"],
      headers: { host: "a", "content-length": "2", "x-a": "b c", connection: "Keep-Alive" },
      size: good.length + "X-A:  b c \t\r\nConnection: Keep-Alive\r\n\r\n".length,
      length: 2
    })
  })

  for (const [what, text] of [
    ["it is not there as a whole", `${good}\r`],
    ["another method", good.replace("POST", "GET")],
    ["a method in lower case", good.replace("POST", "post")],
    ["a whole address as its target", good.replace("/v1", "http://a/v1")],
    ["a target with a blank", good.replace("/v1", "/v 1")],
    ["a target with a fragment", good.replace("?x=1", "#x")],
    ["a target with bytes above ASCII", good.replace("/v1", "/\u00e9")],
    ["HTTP/1.0", good.replace("1.1", "1.0")],
    ["a blank line before it", `\r\n${good}`],
    ["lines that end in a bare line feed", good.replaceAll("\r\n", "\n")],
    ["a bare carriage return in a value", `${good}x: a\rb\r\n`],
    ["a NUL in a value", `${good}x: a\u0000b\r\n`],
    ["a value that goes on in the next line", `${good}x: a\r\n b\r\n`],
    ["a blank in front of a colon", `${good}x : a\r\n`],
    ["a name that is no token", `${good}x(y: a\r\n`],
    ["a line without a colon", `${good}x\r\n`],
    ["an empty name", `${good}: a\r\n`],
    ["a header twice", `${good}x: a\r\nX: b\r\n`],
    ["a length twice", `${good}content-length: 2\r\n`],
    ["a length that is not decimal", good.replace("Length: 2", "Length: 0x2")],
    ["a length with a sign", good.replace("Length: 2", "Length: +2")],
    ["a list of lengths", good.replace("Length: 2", "Length: 2, 2")],
    ["no length", "POST / HTTP/1.1\r\nHost: a\r\n"],
    ["no host", "POST / HTTP/1.1\r\nContent-Length: 2\r\n"],
    ["an empty host", good.replace("Host: a", "Host:")],
    ["a transfer coding", `${good}transfer-encoding: chunked\r\n`],
    ["a trailer", `${good}trailer: x\r\n`],
    ["an expectation", `${good}expect: 100-continue\r\n`],
    ["an upgrade", `${good}upgrade: websocket\r\n`],
    ["a connection that closes", `${good}connection: close\r\n`],
    ["names in the connection header", `${good}connection: keep-alive, x\r\n`],
    ["a name that means something to JavaScript", `${good}__proto__: a\r\n`],
    ["another such name", `${good}constructor: a\r\n`]
  ] as const) {
    it(`is left to Node where there is ${what}`, () => {
      assert.isUndefined(read(`${text}\r\n{}`))
    })
  }

  it("is left to Node where it is longer than a head may be", () => {
    const text = `${good}\r\n{}`
    const size = good.length + 2
    assert.isDefined(readPlainHead(Buffer.from(text), size))
    assert.isUndefined(readPlainHead(Buffer.from(text), size - 1))
  })

  it("has every value that Node would take, byte for byte", async () => {
    for (let code = 0; code < 256; code++) {
      const character = String.fromCharCode(code)
      for (const value of [character, `a${character}b`, `${character}a`, `a${character}`]) {
        assert.isUndefined(await differenceAbout(`${good}x: ${value}\r\n\r\n{}`))
      }
      assert.isUndefined(await differenceAbout(`${good}x${character}y: a\r\n\r\n{}`))
      assert.isUndefined(await differenceAbout(`${good.replace("?x", `?${character}`)}\r\n{}`))
    }
  }, 60_000)

  it("is what Node reads, or is left to Node, whatever is done to a request", async () => {
    const { differences, taken } = await tryMutations(new Random(4711), 3000)
    assert.deepStrictEqual(differences, [])
    assert.isAbove(taken, 150, "most of them would prove nothing")
  }, 60_000)
})
