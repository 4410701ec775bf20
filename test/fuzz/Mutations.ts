/** Inputs made of others: bytes changed, pieces moved, words put in that parsers care about. A character is a byte. */
import type { Random } from "../bench/scheduling/Random.ts"

/** What readers of HTTP and JSON look out for. */
const words = [
  "\r\n",
  "\n",
  "\r",
  "\r\n\r\n",
  "\u0000",
  "\u00ff",
  " ",
  "\t",
  ":",
  ",",
  ";",
  "/",
  "//",
  "/../",
  "%",
  "%2e%2e/",
  "%2f",
  "%00",
  "%zz",
  "?",
  "#",
  "\\",
  "HTTP/1.0",
  "HTTP/2.0",
  "CONNECT ",
  "HEAD ",
  "http://localhost:1/",
  "host: a\r\n",
  "content-length: 0\r\n",
  "content-length: 7\r\n",
  "transfer-encoding: chunked\r\n",
  "transfer-encoding: identity\r\n",
  "connection: close\r\n",
  "connection: keep-alive, te, x-a\r\n",
  "expect: 100-continue\r\n",
  "upgrade: websocket\r\nconnection: upgrade\r\n",
  "content-encoding: gzip\r\n",
  "content-type: text/event-stream\r\n",
  "authorization: Bearer \u00e9\r\n",
  "x-weir-timeout: 1e9\r\n",
  "x-session-key: \u00ff\r\n",
  "traceparent: 00-0-0-0\r\n",
  "0\r\n\r\n",
  "ffffffffffffffff\r\n",
  '"model":"m",',
  '"__proto__":{"model":"m"},',
  '"stream":true,',
  '"n":1e308,',
  '"max_tokens":-1,',
  "[[[[[[[[",
  "{",
  "}",
  '"',
  "\\ud800",
  "-0",
  "1e999"
]

type Mutation = (input: string, random: Random, corpus: ReadonlyArray<string>) => string

const pick = <A>(random: Random, from: ReadonlyArray<A>, otherwise: A): A =>
  from[random.below(from.length)] ?? otherwise

const put = (input: string, at: number, text: string, replaced = 0): string =>
  input.slice(0, at) + text + input.slice(at + replaced)

const span = (input: string, random: Random, longest: number) => {
  const at = random.below(input.length + 1)
  return { at, text: input.slice(at, at + 1 + random.below(longest)) }
}

const mutations: ReadonlyArray<Mutation> = [
  (input, random) => put(input, random.below(input.length + 1), String.fromCharCode(random.below(256)), 1),
  (input, random) => put(input, random.below(input.length + 1), String.fromCharCode(random.below(256))),
  (input, random) => put(input, random.below(input.length + 1), pick(random, words, "")),
  (input, random) => put(input, random.below(input.length + 1), pick(random, words, ""), 1 + random.below(12)),
  // A line of its own in the head.
  (input, random) => {
    const lines = input.split("\r\n")
    lines.splice(1 + random.below(Math.max(1, lines.length - 1)), 0, pick(random, words, "").trim())
    return lines.join("\r\n")
  },
  (input, random) => {
    const lines = input.split("\r\n")
    const [line = ""] = lines.splice(random.below(lines.length), 1)
    lines.splice(random.below(lines.length + 1), 0, line, ...(random.next() < 0.5 ? [line] : []))
    return lines.join("\r\n")
  },
  (input, random) => {
    const { at, text } = span(input, random, 64)
    return put(input, at, "", text.length)
  },
  (input, random) => {
    const { at, text } = span(input, random, 32)
    return put(input, at, text.repeat(1 + random.below(64)))
  },
  (input, random) => {
    const { at, text } = span(input, random, 40)
    return put(input, at, random.next() < 0.5 ? text.toUpperCase() : text.toLowerCase(), text.length)
  },
  (input, random) => {
    const numbers = [...input.matchAll(/\d+/g)]
    const found = numbers[random.below(numbers.length)]
    if (found === undefined) return input
    const value = pick(random, ["0", "-1", "00", "1", "4294967296", "9".repeat(20), `+${found[0]}`, "0x10"], "0")
    return put(input, found.index, value, found[0].length)
  },
  (input, random) => input.slice(0, random.below(input.length + 1)),
  (input, random, corpus) => {
    const other = pick(random, corpus, "")
    return input.slice(0, random.below(input.length + 1)) + other.slice(random.below(other.length + 1))
  },
  (input, random, corpus) => input + pick(random, corpus, "")
]

/** No input is longer: what is found by size alone has tests of its own. */
const longest = 40_000

/** One of the corpus, changed once or some times. */
export const mutate = (random: Random, corpus: ReadonlyArray<string>): string => {
  let input = pick(random, corpus, "")
  const times = 1 + random.below(3)
  for (let n = 0; n < times; n++) {
    const mutation = mutations[random.below(mutations.length)]
    if (mutation !== undefined) input = mutation(input, random, corpus).slice(0, longest)
  }
  return random.next() < 0.5 ? repaired(input) : input
}

/** With the length that its body has, so that a fault of the body is found where the body is read. */
const repaired = (input: string): string => {
  const end = input.indexOf("\r\n\r\n")
  if (end < 0) return input
  return input.replace(/^content-length: [^\r\n]*/im, `content-length: ${input.length - end - 4}`)
}
