/** Requests that two readers could understand in two ways, and others that are only unusual. A character is a byte. */
import { request } from "./Raw.ts"

export const body = '{"model":"m","messages":[]}'
export const length = `content-length: ${body.length}`
const chunked = `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`
export const hidden = request("GET", "/v1/hidden", ["x-smuggled: 1"])
export const post = (lines: ReadonlyArray<string>, content = body) =>
  request("POST", "/v1/chat/completions", lines, content)
export const get = (target: string, ...lines: ReadonlyArray<string>) =>
  request("GET", target, ["connection: close", ...lines])
const te = (coding: string, content = chunked) => post([`transfer-encoding: ${coding}`], content)

/** What is refused, by what it tries. */
export const refused: Readonly<Record<string, string>> = {
  "a length and chunks": post(["content-length: 5", "transfer-encoding: chunked"], `0\r\n\r\n${hidden}`),
  "chunks and a length": post(["transfer-encoding: chunked", "content-length: 5"], `0\r\n\r\n${hidden}`),
  "two lengths": post([length, "content-length: 5"]),
  "the same length twice": post([length, length]),
  "a list of lengths": post([`content-length: ${body.length}, ${body.length}`]),
  "a length with a sign": post([`content-length: +${body.length}`]),
  "a negative length": post(["content-length: -1"]),
  "a length in hexadecimal": post(["content-length: 0x1b"]),
  "a length without end": post(["content-length: 99999999999999999999999"]),
  "a length of nothing": post(["content-length: "]),
  "a folded header": post(["x-a: b", " content-length: 5", length]),
  "a folded first header": request("POST", "/v1/chat/completions", ["x-a:", "\tb", length], body),
  "lines that end in LF alone": post([length]).replaceAll("\r\n", "\n"),
  "one line that ends in LF alone": post(["x-a: b\nx-smuggled: 1", length]),
  "a CR in a value": post(["x-a: b\rx-smuggled: 1", length]),
  "a NUL in a value": post(["x-a: b\u0000c", length]),
  "a space before the colon": post(["transfer-encoding : chunked"], chunked),
  "a header without a colon": post(["x-smuggled", length]),
  "a name with a space in it": post(["x smuggled: 1", length]),
  "a coding that is not chunked": te("identity"),
  "a coding that is not known": te("xchunked"),
  "a coding behind chunked": te("chunked, identity"),
  "chunked twice in one header": te("chunked, chunked"),
  "chunked in two headers": post(["transfer-encoding: chunked", "transfer-encoding: chunked"], chunked),
  "a coding that nobody takes off": te("gzip, chunked"),
  "chunked behind a vertical tab": te("\u000bchunked"),
  "chunked in quotes": te('"chunked"'),
  "chunked with a parameter": te("chunked;a=b"),
  "chunks in HTTP/1.0": te("chunked").replace("HTTP/1.1", "HTTP/1.0"),
  "a chunk whose size is a word": te("chunked", `zz\r\n${body}\r\n0\r\n\r\n`),
  "a chunk of negative size": te("chunked", `-1\r\n${body}\r\n0\r\n\r\n`),
  "a chunk with 0x before its size": te("chunked", `0x1b\r\n${body}\r\n0\r\n\r\n`),
  "a chunk larger than all numbers": te("chunked", `fffffffffffffffffffff\r\n${body}\r\n0\r\n\r\n`),
  "a chunk that is longer than it says": te("chunked", `5\r\n${body}\r\n0\r\n\r\n`),
  "chunks whose lines end in LF alone": te("chunked", chunked.replaceAll("\r\n", "\n")),
  "a chunk extension of 40 KB": te("chunked", `1;${"a".repeat(40_000)}\r\n{\r\n0\r\n\r\n`),
  "no Host": get("/v1/files").replace("host: localhost\r\n", ""),
  "two Hosts": get("/v1/files", "host: evil.example"),
  "the same Host twice": get("/v1/files", "Host: localhost"),
  "a target that is no path": request("OPTIONS", "*"),
  "an authority as its target": get("localhost:80"),
  "a fragment in its target": get("/v1/files#a"),
  "HTTP/2 without saying so": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
  "a version that does not exist": get("/v1/files").replace("HTTP/1.1", "HTTP/7.3"),
  "bytes above ASCII in its target": get("/v1/\u00ff"),
  "two dots": get("/v1/../secret"),
  "two dots at the end": get("/v1/files/.."),
  "encoded dots": get("/v1/%2e%2e/secret"),
  "half encoded dots": get("/v1/.%2E/secret"),
  "dots between encoded slashes": get("/v1/a%2f..%2Fsecret"),
  "dots between backslashes": get("/v1/a\\..\\secret"),
  "dots with a parameter": get("/v1/..;a=b/secret"),
  "one dot": get("/v1/./files"),
  "percent-encoding that is none": get("/v1/%zz"),
  "percent-encoding that is cut": get("/v1/%4"),
  "an encoded NUL": get("/v1/files%00"),
  "an encoded line end": get("/v1/files%0d%0ax-smuggled:1"),
  "an endpoint with a letter encoded": post([length]).replace("/chat", "/%63hat"),
  "an endpoint with a slash encoded": post([length]).replace("/chat/", "/chat%2f"),
  "an endpoint with two slashes": post([length]).replace("/chat/", "//chat/"),
  "an endpoint with a slash at its end": post([length]).replace("/completions", "/completions/"),
  "an endpoint in capitals": post([length]).replace("/chat", "/Chat"),
  "an endpoint with a parameter": post([length]).replace("/chat", "/chat;a=b"),
  "an endpoint behind a backslash": post([length]).replace("/chat/", "/chat\\")
}

/** What is served all the same, by what is unusual in it. */
export const unusual: Readonly<Record<string, string>> = {
  "chunk extensions": te("chunked", `${body.length.toString(16)};a=b;c\r\n${body}\r\n0;d\r\n\r\n`),
  trailers: te("chunked", `${body.length.toString(16)}\r\n${body}\r\n0\r\nx-smuggled: 1\r\n\r\n`),
  "a coding in capitals": te("CHUNKED"),
  "a tab before the coding": te("\tchunked"),
  "zeros before a chunk's size": te("chunked", `0000${chunked}`),
  "an offer to speak HTTP/2": post(["upgrade: h2c", "http2-settings: AAMAAABkAAQAAP__", "connection: upgrade", length]),
  "a Connection header that names what must stay": post(["connection: close, content-length, host", length]),
  "names that every object has": post(["__proto__: x", "constructor: y", "tostring: z", length])
}
