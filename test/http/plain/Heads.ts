/** Heads that are nearly of the plainest form, made of a good one by what a reader could stumble over. */
import type { Random } from "../../bench/scheduling/Random.ts"

const pick = (random: Random, from: ReadonlyArray<string>): string => from[random.below(from.length)] ?? ""

const targets = [
  "/v1/chat/completions",
  "/",
  "//evil.example/v1",
  "/v1/x?a=b&c=%20",
  "/v1/x#fragment",
  "/v1/~a;b=c/@d:e!$&'()*+,-._=",
  "/v1/../secret",
  "/a\\b",
  "/a<b>",
  '/a"b',
  "/a^b`c{d|e}",
  "/\u00e9",
  "/a\u007fb",
  "/a b",
  "/a\tb",
  "*",
  "localhost:80",
  "http://localhost/v1",
  "HTTP://u:p@localhost:1/v1?x",
  "v1",
  "",
  `/${"a".repeat(2000)}`,
  `/${"a".repeat(16_000)}`
]

const methods = [
  "POST",
  "post",
  "Post",
  "GET",
  "PUT",
  "POSTT",
  "POS",
  "M-SEARCH",
  "CONNECT",
  "QUERY",
  "PRI",
  " POST",
  ""
]

const versions = [
  "HTTP/1.1",
  "HTTP/1.0",
  "HTTP/1.2",
  "HTTP/2.0",
  "http/1.1",
  "HTTP/1.10",
  "HTTP/1,1",
  "RTSP/1.0",
  "ICE/1.0",
  ""
]

const gaps = [" ", " ", " ", "  ", "\t", " \t", "\u000b", "\u00a0", ""]

const names = [
  "accept",
  "Authorization",
  "x-a",
  "X_B",
  "a".repeat(64),
  "a".repeat(65),
  "a".repeat(9000),
  "cookie",
  "set-cookie",
  "Set-Cookie",
  "host",
  "content-length",
  "Content-Length",
  "content_length",
  "content-length ",
  " content-length",
  "content-length\u0000",
  "transfer-encoding",
  "Transfer-Encoding",
  "transfer-encoding\u000b",
  "transfer_encoding",
  "te",
  "trailer",
  "expect",
  "upgrade",
  "connection",
  "Connection",
  "proxy-connection",
  "keep-alive",
  "http2-settings",
  "sec-websocket-key",
  "__proto__",
  "constructor",
  "toString",
  "hasOwnProperty",
  "referer",
  "user-agent",
  "content-type",
  "age",
  "x\u00e9",
  "x y",
  "x.y",
  "x!y",
  "x(y)",
  "x/y",
  "",
  "\u00ef\u00bb\u00bfhost"
]

const values = [
  "a",
  "",
  " ",
  "\t",
  "a b",
  "a\tb",
  " a ",
  "a\u0000b",
  "a\rb",
  "a\nb",
  "a\r\n b",
  "a\r\n\tb",
  "a\u000bb",
  "a\u007fb",
  "\u00e9\u00ff",
  "\u0080",
  "\u001b[0m",
  "a, b",
  "a;b",
  "chunked",
  "identity",
  "gzip, chunked",
  "100-continue",
  "websocket",
  "h2c",
  "close",
  "keep-alive",
  "Keep-Alive",
  "keep-alive, close",
  "keep-alive,",
  "keep-alive, x-a",
  "Upgrade",
  "keep-alive; a",
  "\u00a0keep-alive",
  "localhost",
  "a".repeat(300),
  "\u00fc".repeat(8000),
  "a".repeat(15_900)
]

const lengths = [
  "0",
  "5",
  "05",
  "00000005",
  "000000005",
  "+5",
  "-5",
  " 5",
  "5 ",
  "\t5\t",
  "5\u000b",
  "\u00a05",
  "5,5",
  "5, 5",
  "5;a",
  "0x5",
  "5e0",
  "5.0",
  "",
  "\u0665",
  "65536",
  "65537",
  "99999999",
  "100000000",
  "4294967301",
  "18446744073709551621",
  "9".repeat(40)
]

const ends = ["\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r", "\r\r\n", "\n\r", "\r\n ", "\r\n\t", ""]

const colons = [":", ": ", ": ", ": ", ":\t", ":  \t ", " : ", "\t:", "", "::", ";", "\u0000:", "=", ":\r\n "]

const junk = [
  "\u0000",
  "\r",
  "\n",
  "\r\n",
  "\r\n\r\n",
  " ",
  "\t",
  ":",
  ",",
  "\u0080",
  "\u00ff",
  "\u000b",
  "\u000c",
  "\u007f",
  "\u0085",
  "0"
]

const bodies = [
  "hello",
  "",
  "hello world",
  "GET /hidden HTTP/1.1\r\nhost: h\r\n\r\n",
  "0\r\n\r\n",
  "\r\n\r\n",
  "a".repeat(300)
]

/** Mostly the usual one, so that many heads differ from a good one in one place only. */
const seldom = (random: Random, often: string, from: ReadonlyArray<string>, chance: number): string =>
  random.next() < chance ? pick(random, from) : often

/** A head and what is behind it. A character is a byte. */
export const headFrom = (random: Random): string => {
  const rarely = random.next() < 0.5 ? 0.02 : 0.1
  const end = () => seldom(random, "\r\n", ends, rarely / 4)
  const line = (name: string, value: string) =>
    `${name}${seldom(random, ": ", colons, rarely)}${seldom(random, value, values, rarely / 4)}${end()}`
  const lines = [
    line(
      seldom(random, "host", ["Host", "HOST", "host "], rarely),
      seldom(random, "localhost", ["", "a, b", "[::1]:80", "a@b"], rarely)
    ),
    line("content-length", seldom(random, "5", lengths, 2 * rarely))
  ]
  if (random.next() < 0.5) lines.push(line("connection", seldom(random, "keep-alive", values, rarely)))
  for (let n = random.below(4); n > 0; n--) {
    lines.push(line(seldom(random, `x-${n}`, names, 0.4), seldom(random, "a", values, 0.2)))
  }
  if (random.next() < rarely / 4) for (let n = 0; n < 300; n++) lines.push(`x-${n}: ${n}\r\n`)
  if (random.next() < rarely) lines.splice(random.below(lines.length), 1)
  if (random.next() < rarely) lines.push(lines[random.below(lines.length)] ?? "")
  if (random.next() < 0.5) lines.reverse()
  const gap = () => seldom(random, " ", gaps, rarely / 4)
  const request =
    seldom(random, "POST", methods, rarely / 2) +
    gap() +
    seldom(random, "/v1/chat/completions", targets, 0.2) +
    gap() +
    seldom(random, "HTTP/1.1", versions, rarely / 2) +
    end()
  let head = `${request}${lines.join("")}${end()}`
  for (let n = random.next() < 0.25 ? 1 + random.below(2) : 0; n > 0; n--) {
    const at = random.below(head.length + 1)
    const byte = random.next() < 0.5 ? pick(random, junk) : String.fromCharCode(random.below(256))
    head = head.slice(0, at) + byte + head.slice(at + random.below(2))
  }
  return head + pick(random, bodies)
}
