/** Streams as a real llama-server wrote them (`traces/`), and ends as the documentation of other engines shows them. */
import { readFileSync } from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import type { Dialect } from "../../src/protocol/Endpoint.ts"
import { StreamEndDetector } from "../../src/protocol/StreamEndDetector.ts"
import { holdsFor } from "../Property.ts"
import { split } from "../protocol/EventStreams.ts"

const trace = (name: string): Buffer => readFileSync(path.join(import.meta.dirname, "traces", `${name}.sse`))

interface Real {
  readonly name: string
  readonly dialect: Dialect
  readonly choices: number
  /** The end of the line by which all is said. */
  readonly lastWord: string
  readonly usage: { readonly prompt: number; readonly completion: number; readonly cached: number } | undefined
}

const real: ReadonlyArray<Real> = [
  {
    name: "chat",
    dialect: "chat",
    choices: 1,
    lastWord: "data: [DONE]",
    usage: { prompt: 7, completion: 8, cached: 0 }
  },
  { name: "chat-two-choices", dialect: "chat", choices: 2, lastWord: "data: [DONE]", usage: undefined },
  {
    name: "completions",
    dialect: "chat",
    choices: 1,
    lastWord: "data: [DONE]",
    usage: { prompt: 6, completion: 8, cached: 5 }
  },
  {
    name: "responses",
    dialect: "responses",
    choices: 1,
    lastWord: "\n\n",
    usage: { prompt: 7, completion: 8, cached: 6 }
  },
  {
    name: "messages",
    dialect: "messages",
    choices: 1,
    lastWord: "\n\n",
    usage: { prompt: 1, completion: 8, cached: 6 }
  }
]

const judged = (bytes: Buffer, { choices, dialect }: Pick<Real, "choices" | "dialect">, sizes: Array<number> = []) => {
  const judge = new StreamEndDetector(dialect, choices)
  for (const piece of split(bytes, sizes)) judge.push(piece)
  return judge
}

describe.each(real)("a real engine's stream: $name", (each) => {
  const bytes = trace(each.name)

  it("is complete when all of it came, and its tokens are known", () => {
    const judge = judged(bytes, each)
    assert.strictEqual(judge.outcome(), "complete")
    assert.isTrue(judge.saidAll)
    assert.deepStrictEqual(judge.usage(), each.usage)
  })

  it("is never complete when its connection broke at any byte before its last word", () => {
    const text = bytes.toString("latin1")
    const last = text.lastIndexOf(each.lastWord) + (each.lastWord === "\n\n" ? 1 : each.lastWord.length)
    for (let size = 0; size < last; size++) {
      assert.isFalse(judged(bytes.subarray(0, size), each).saidAll, `cut at ${size}`)
    }
    assert.isTrue(judged(bytes.subarray(0, last), each).saidAll)
  })

  it("is judged the same however the network cuts it", () => {
    const facts = (judge: StreamEndDetector) => [
      judge.outcome(),
      judge.saidAll,
      judge.outputs,
      judge.atLineEnd,
      judge.usage()
    ]
    const whole = facts(judged(bytes, each))
    holdsFor(
      fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1, maxLength: 20 }),
      (sizes) => assert.deepStrictEqual(facts(judged(bytes, each, sizes)), whole),
      100
    )
    assert.deepStrictEqual(facts(judged(bytes, each, [1])), whole)
  })
})

describe("an error that the engine tells in its stream", () => {
  const token = 'data: {"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}\n\n'
  const started = 'event: message_start\ndata: {"type":"message_start","message":{"content":[]}}\n\n'
  const told: ReadonlyArray<readonly [string, Dialect, string]> = [
    [
      "vLLM, with a [DONE] behind it",
      "chat",
      `${token}data: {"error": {"message": "EngineCore encountered an issue.", "type": "InternalServerError", "param": null, "code": 500}}\n\ndata: [DONE]\n\n`
    ],
    ["OpenAI", "chat", `${token}data: {"error":{"message":"The server had an error","type":"server_error"}}\n\n`],
    [
      "Anthropic",
      "messages",
      `${started}event: ping\ndata: {"type": "ping"}\n\nevent: error\ndata: {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}\n\n`
    ],
    [
      "OpenAI's responses",
      "responses",
      'event: error\ndata: {"type":"error","code":"server_error","message":"Something went wrong","param":null,"sequence_number":1}\n\n'
    ]
  ]

  it.each(told)("is seen as one: %s", (_engine, dialect, text) => {
    const judge = judged(Buffer.from(text), { dialect, choices: 1 })
    assert.strictEqual(judge.outcome(), "error_sent")
  })

  it("is none where a model only writes of one", () => {
    const quoted = JSON.stringify({ choices: [{ delta: { content: '"error":{"message":"x"}' }, finish_reason: null }] })
    for (const text of [`data: ${quoted}\n\n`, `data: {"error": null, "choices": []}\n\n`]) {
      assert.strictEqual(judged(Buffer.from(text), { dialect: "chat", choices: 1 }).outcome(), "truncated")
    }
  })
})
