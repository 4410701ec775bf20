/** The requests that the load generator sends, as bytes made once. */
import { model } from "../wire/Events.ts"

/** As a prompt looks in JSON: line breaks and quotes are escaped. */
const sentence = 'The committee read the report, and asked: \\"what does a request cost?\\"\\n'

/**
 * The body of a chat completion, exactly `size` bytes. The messages come first, as the OpenAI SDKs write them, so that
 * a reader that looks for the model has to pass the prompt.
 */
const chatBody = (size: number, stream: boolean): string => {
  const [before, after] = [
    '{"messages":[{"role":"user","content":"',
    `"}],"model":"${model}"${stream ? ',"stream":true' : ""}}`
  ]
  const room = Math.max(0, size - before.length - after.length)
  const sentences = Math.floor(room / sentence.length)
  return before + sentence.repeat(sentences) + "x".repeat(room - sentences * sentence.length) + after
}

const request = (body: string, port: number, headers: Readonly<Record<string, string>>): Buffer => {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  const head =
    `POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\naccept: */*\r\n` +
    `content-type: application/json\r\ncontent-length: ${body.length}\r\n${lines.join("")}\r\n`
  return Buffer.from(head + body, "latin1")
}

/** `answerBytes`: how long the answer is to be, where that matters. */
export const unaryRequest = (
  size: number,
  port: number,
  headers: Readonly<Record<string, string>>,
  answerBytes?: number
): Buffer =>
  request(chatBody(size, false), port, {
    ...headers,
    ...(answerBytes !== undefined && { "x-bench-bytes": String(answerBytes) })
  })

/** How the upstream is to stream; `hold`: stay open after the first event. */
export interface StreamShape {
  readonly chunks: number
  readonly pace: number
  readonly hold?: boolean
}

/** A prompt of 2 KB with a streamed answer. */
export const streamRequest = (shape: StreamShape, port: number, headers: Readonly<Record<string, string>>): Buffer =>
  request(chatBody(2048, true), port, {
    ...headers,
    "x-bench-chunks": String(shape.chunks),
    "x-bench-pace": String(shape.pace),
    ...(shape.hold === true && { "x-bench-hold": "1" })
  })
