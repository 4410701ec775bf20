/** What backends are asked for: other names, instances, and what gpt-oss needs; every other byte as the client wrote it. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Record } from "effect"
import * as fc from "fast-check"
import { setMember } from "../../src/protocol/BodyEdit.ts"
import { members as known } from "../../src/protocol/BodyNames.ts"
import { gptOssEdits } from "../../src/protocol/GptOssEdits.ts"
import { holdsFor } from "../Property.ts"
import { entries, styles, write } from "../protocol/JsonText.ts"
import { editedText, outlineOf } from "../protocol/Outlines.ts"
import { type Setting, withGateway } from "./Harness.ts"
import { answer, silence } from "./ScriptedTransport.ts"

const well = answer(200, "{}")

const bodyOf = (setting: Setting, raw: string, path?: string) =>
  withGateway(setting, (gateway) =>
    Effect.gen(function* () {
      yield* gateway.ask({ raw: Buffer.from(raw), ...(path !== undefined && { path }) })
      const [exchange] = gateway.transport.exchanges
      return exchange?.text
    })
  )

const odd = (model: string) =>
  `\n{ "seed" : 12345678901234567890,\t"m\\u006fdel":"${model}" , "x":{"model":"inner"}, "y":1.0 }\r\n`

describe("a model's other name", () => {
  const setting: Setting = {
    script: { a: [well] },
    backends: { a: { models: ['real/model "1"'] } },
    more: { models: [{ match: "alias", upstreamModel: 'real/model "1"' }] }
  }

  it.effect.each(["/v1/chat/completions", "/v1/embeddings", "/v1/rerank", "/tokenize"])(
    "is all that is changed of what is sent to %s",
    (path) =>
      Effect.map(bodyOf(setting, odd("alias"), path), (sent) => {
        assert.strictEqual(sent, odd('real/model \\"1\\"'))
      })
  )
})

describe("an instance", () => {
  it.effect("is asked for by its own name, and again by another one's after a failure", () =>
    withGateway(
      {
        script: { a: [silence, silence, answer(500)], b: [well] },
        backends: { a: { models: ["m", "m-2", "m-3"] }, b: { models: ["m-7"] } },
        more: { models: [{ match: "alias", upstreamModel: "m", instances: true }] }
      },
      (gateway) =>
        Effect.gen(function* () {
          const others = yield* Effect.forEach([1, 2], () =>
            gateway.start(gateway.request({ raw: Buffer.from(odd("alias")) }))
          )
          const { headers } = yield* gateway.ask({ raw: Buffer.from(odd("alias")) })
          assert.strictEqual(headers["x-routed-node"], "b")
          assert.deepStrictEqual(
            gateway.transport.exchanges.map(({ text }) => text),
            ["m", "m-2", "m-3", "m-7"].map(odd)
          )
          for (const other of others) yield* Fiber.interrupt(other)
          assert.strictEqual(gateway.state("a").instances.size, 0)
        })
    )
  )

  it.effect("is the client's body itself, where it is the model that was named", () =>
    withGateway(
      {
        script: { a: [well] },
        backends: { a: { models: ["m", "m-2"] } },
        more: { models: [{ match: "m", instances: true }] }
      },
      (gateway) =>
        Effect.gen(function* () {
          const raw = Buffer.from(odd("m"))
          yield* gateway.ask({ raw })
          assert.strictEqual(gateway.transport.exchanges[0]?.request.body, raw)
        })
    )
  )
})

describe("a byte order mark in front of a body", () => {
  const script = { a: [well] }
  const rule = { match: "alias", upstreamModel: "m" }
  it.effect.each([
    ["as it came otherwise", "m", odd("m")],
    ["with the model's other name", "alias", odd("m")]
  ] as const)("is taken off, and the body goes out %s", ([, model, expected]) =>
    Effect.map(
      bodyOf({ script, backends: { a: { models: ["m"] } }, more: { models: [rule] } }, `\uFEFF${odd(model)}`),
      (sent) => {
        assert.strictEqual(sent, expected)
      }
    )
  )
})

/** What a body is after the conveniences, without what it was before. */
const gptOssMembers = (name: string, own: object): Record<string, unknown> => {
  const outline = outlineOf({ model: name, ...own })
  const after: unknown = JSON.parse(editedText(outline, gptOssEdits(name, outline)))
  assert.isObject(after)
  const before = new Map(Object.entries({ model: name, ...own }).map(([key, value]) => [key, JSON.stringify(value)]))
  return Object.fromEntries(
    Object.entries(after ?? {}).filter(([key, value]) => before.get(key) !== JSON.stringify(value))
  )
}

const messages = (content: unknown) => ({
  messages: [
    { role: "system", content },
    { role: "user", content: "hi" }
  ]
})

describe("the conveniences for gpt-oss", () => {
  const agents = ["You are Cline, a highly skilled software engineer.", "You are Roo, an expert."]

  const agentic: ReadonlyArray<readonly [fields: object, expected: ReadonlyArray<string>]> = [
    ...agents.map((text) => [messages(text), ["grammar", "reasoning_format"]] as const),
    [messages([{ type: "text", text: "You are Cline" }]), ["grammar", "reasoning_format"]],
    [messages("Are you Cline? You are Roo."), []],
    [messages("you are cline"), []],
    [{ messages: [{ role: "user", content: "You are Cline" }] }, []],
    [{ ...messages("You are Cline"), reasoning_format: "none" }, ["grammar"]],
    [{ ...messages("You are Cline"), grammar: "root ::= x" }, ["reasoning_format"]],
    [{ ...messages("You are Cline"), tools: [{}] }, ["reasoning_format"]],
    [{ ...messages("You are Cline"), response_format: { type: "json_object" } }, ["reasoning_format"]]
  ]
  it.each(agentic)("give %j the members %j", (fields, expected) => {
    const members = gptOssMembers("gpt-oss:20b", { ...fields })
    assert.deepStrictEqual(
      Object.keys(members).toSorted((a, b) => a.localeCompare(b)),
      expected
    )
    if ("grammar" in members) assert.match(String(members["grammar"]), /^root ::= [^]*<\|channel\|>final<\|message\|>/)
    if ("reasoning_format" in members) assert.strictEqual(members["reasoning_format"], "auto")
  })

  it.each([
    ["gpt-oss:20b", {}],
    ["gpt-oss:20b-low", { chat_template_kwargs: { reasoning_effort: "low" } }],
    ["gpt-oss:20b-medium", { chat_template_kwargs: { reasoning_effort: "medium" } }],
    ["gpt-oss:20b-high", { chat_template_kwargs: { reasoning_effort: "high" } }],
    ["gpt-oss:20b-apply", { reasoning_format: "auto" }],
    ["gpt-oss:20b-edit", { reasoning_format: "auto" }],
    ["gpt-oss:20b-low-apply", { reasoning_format: "auto", chat_template_kwargs: { reasoning_effort: "low" } }],
    ["high", {}],
    ["-high", {}]
  ])("give %s the members %j", (name, expected) => {
    assert.deepStrictEqual(gptOssMembers(name, messages("hi")), expected)
  })

  it("put the effort among the client's own arguments, and leave one that the client has chosen alone", () => {
    const withKwargs = (kwargs: unknown) => gptOssMembers("gpt-oss-high", { chat_template_kwargs: kwargs })
    assert.deepStrictEqual(withKwargs({ a: 1 }), { chat_template_kwargs: { a: 1, reasoning_effort: "high" } })
    assert.deepStrictEqual(withKwargs({ reasoning_effort: "low" }), {})
    assert.deepStrictEqual(withKwargs("odd"), { chat_template_kwargs: { reasoning_effort: "high" } })
  })

  const setting = (rule: object): Setting => ({
    script: { a: [well] },
    backends: { a: { models: ["gpt-oss", "gpt-oss-high"] } },
    more: { models: [{ match: "gpt-oss.*", ...rule }] }
  })
  const sent =
    '{ "model" : "gpt-oss-high", "chat_template_kwargs": {"a" : 1}, "seed":12345678901234567890, "messages":[] }'

  it.effect("change nothing else of the body", () =>
    Effect.map(bodyOf(setting({ gptOss: true }), sent), (text) => {
      assert.strictEqual(
        text,
        '{ "model" : "gpt-oss", "chat_template_kwargs": {"a" : 1,"reasoning_effort":"high"}, "seed":12345678901234567890, "messages":[] }'
      )
    })
  )

  it.effect("put what is new in front of the rest", () =>
    Effect.map(bodyOf(setting({ gptOss: true }), '{ "model":"gpt-oss-low-edit","messages":[] }'), (text) => {
      assert.strictEqual(
        text,
        '{"reasoning_format":"auto","chat_template_kwargs":{"reasoning_effort":"low"}, "model":"gpt-oss","messages":[] }'
      )
    })
  )

  it.effect("are for rules that ask for them", () =>
    Effect.map(bodyOf(setting({ pool: "default" }), sent), (text) => {
      assert.strictEqual(text, sent)
    })
  )

  it.effect("work with instances and with another name upstream", () =>
    withGateway(
      {
        script: { a: [silence, well] },
        backends: { a: { models: ["real", "real-2"] } },
        more: { models: [{ match: "gpt-oss.*", gptOss: true, upstreamModel: "real", instances: true }] }
      },
      (gateway) =>
        Effect.gen(function* () {
          const raw = Buffer.from('{"model":"gpt-oss-low","messages":[]}')
          const other = yield* gateway.start(gateway.request({ raw }))
          yield* gateway.ask({ raw })
          yield* Fiber.interrupt(other)
          assert.deepStrictEqual(
            gateway.transport.exchanges.map(({ text }) => text),
            ["real", "real-2"].map(
              (model) => `{"chat_template_kwargs":{"reasoning_effort":"low"},"model":"${model}","messages":[]}`
            )
          )
        })
    )
  )
})

describe("members that a request gets", () => {
  const names = Record.keys(known)

  it("stand in place of its own or in front of them, and every other byte is as it was", () => {
    const value = fc.constantFrom<unknown>("x", 1, null, { a: [1, "}"] })
    const members = fc.dictionary(fc.constantFrom("model", "name", "user", "grammar"), value, { noNullPrototype: true })
    holdsFor(
      fc.tuple(
        entries.filter((own) => own.length > 0 && own.filter(([name]) => name === "model").length < 2),
        styles,
        members
      ),
      ([own, numbers, added]) => {
        const { places, text } = write(own, numbers)
        const fresh: Record<string, unknown> = {}
        const edits: Array<{ start: number; end: number; json: string }> = []
        for (const name of names) {
          if (!(name in added)) continue
          const given = added[name]
          const place = places.findLast(({ key }) => key === name)
          if (place === undefined) fresh[name] = given
          else edits.push({ ...place, json: JSON.stringify(given) })
        }
        const outline = outlineOf(text)
        let expected = text
        for (const { end, json, start } of edits.toSorted((a, b) => b.start - a.start)) {
          expected = expected.slice(0, start) + json + expected.slice(end)
        }
        const front = Object.keys(fresh).length === 0 ? "{" : `${JSON.stringify(fresh).slice(0, -1)},`
        assert.strictEqual(
          editedText(
            outline,
            names.flatMap((name) => (name in added ? [setMember(outline, name, added[name])] : []))
          ),
          expected.replace("{", () => front)
        )
      },
      1000
    )
  })
})
