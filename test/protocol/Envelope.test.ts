import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import * as fc from "fast-check"
import { Pieces } from "../../src/domain/Bytes.ts"
import { edited, setMember } from "../../src/protocol/BodyEdit.ts"
import { type Endpoint, endpointAt } from "../../src/protocol/Endpoint.ts"
import { type Envelope, type EnvelopeError, readEnvelope } from "../../src/protocol/Envelope.ts"
import { holdsFor } from "../Property.ts"
import { entries, styles, write } from "./JsonText.ts"
import { editedText, outlineOf } from "./Outlines.ts"

const at = (path: string): Endpoint => {
  const found = endpointAt(path)
  assert.isDefined(found)
  return found
}

const chat = at("/v1/chat/completions")
const bytes = (text: string) => Buffer.from(text, "utf8")

const read = (body: Uint8Array | string, endpoint: Endpoint) =>
  readEnvelope(
    { endpoint, path: endpoint.route, defaultModel: undefined },
    typeof body === "string" ? bytes(body) : body
  )

const accepted = (body: Uint8Array | string, endpoint = chat): Envelope => {
  const result = read(body, endpoint)
  return Result.getOrUndefined(result) ?? assert.fail(`not accepted: ${String(result)}`)
}

const refused = (body: Uint8Array | string, endpoint = chat): EnvelopeError => {
  const result = read(body, endpoint)
  return Result.isFailure(result) ? result.failure : assert.fail(`accepted: ${JSON.stringify(result.success)}`)
}

describe("a body that cannot be read", () => {
  const notUtf8 = Buffer.concat([bytes('{"model":"'), Buffer.from([0xff, 0xfe]), bytes('"}')])

  it.each([
    ["that is empty", ""],
    ["that is cut", '{"model":"a"'],
    ["with a comma too many", '{"model":"a",}'],
    ["with single quotes", "{'model':'a'}"],
    ["of words", "model=a"],
    ["with something behind its end", '{"model":"a"}{}'],
    ["that is not UTF-8", notUtf8]
  ])("a body %s is refused as invalid JSON", (_, body) => {
    const error = refused(body)
    assert.strictEqual(error.code, "invalid_json")
    assert.strictEqual(error.status, 400)
  })

  it.each(["[]", "null", '"model"', "1", "true", '[{"model":"a"}]'])("%s is no object and is refused", (body) => {
    assert.strictEqual(refused(body).code, "invalid_request")
  })

  it("does not come back in the error's message", () => {
    assert.notInclude(refused('{"model":"a","secret-text"').message, "secret-text")
  })
})

describe("a body without a usable model", () => {
  it.each(["{}", '{"model":null}', '{"model":""}', '{"Model":"a"}', '{"messages":[{"model":"a"}]}'])(
    "%s is told to name one",
    (body) => {
      const error = refused(body)
      assert.strictEqual(error.code, "model_required")
      assert.strictEqual(error.param, "model")
    }
  )

  it.each(['{"model":1}', '{"model":["a"]}', '{"model":{"a":1}}', '{"model":true}'])(
    "%s is told that a model is a string",
    (body) => {
      const error = refused(body)
      assert.strictEqual(error.code, "invalid_request")
      assert.strictEqual(error.param, "model")
    }
  )

  it.each([
    '{"model":"a","model":"b"}',
    '{"model":"a","model":"a"}',
    '{"model":"a","\\u006dodel":"b"}',
    '{"\\u006Dodel":"a","mo\\u0064el":"b"}',
    '{ "model" :"a" , "x":{}, "model"\n:"b"}'
  ])("%s names it twice and is refused: engines do not agree on which one counts", (body) => {
    const error = refused(body)
    assert.strictEqual(error.code, "invalid_request")
    assert.strictEqual(error.param, "model")
  })

  it("is not mistaken for one that names it once and speaks of models elsewhere", () => {
    assert.strictEqual(accepted('{"model":"a","x":{"model":"b"},"y":["\\"model\\"","model"]}').model, "a")
    assert.strictEqual(accepted('{"\\u006dodel":"a"}').model, "a")
  })
})

describe("what else the gateway reads", () => {
  it.each([
    ['{"model":"a","stream":"true"}', "stream"],
    ['{"model":"a","stream":1}', "stream"],
    ['{"model":"a","messages":"hello"}', "messages"],
    ['{"model":"a","messages":{}}', "messages"],
    ['{"model":"a","tools":{"type":"function"}}', "tools"]
  ])("%s has a wrong type and is refused", (body, param) => {
    const error = refused(body)
    assert.strictEqual(error.code, "invalid_request")
    assert.strictEqual(error.param, param)
  })

  it("is left to the engine where it is none of the gateway's business", () => {
    const { outline: _outline, ...envelope } = accepted(
      '{"model":"a","messages":[],"tools":null,"temperature":"hot","n":"many","stream":null}'
    )
    assert.deepStrictEqual(
      { ...envelope, tokenEstimate: 0 },
      {
        model: "a",
        member: "model",
        written: "a",
        other: undefined,
        stream: false,
        choices: 1,
        tokenEstimate: 0
      }
    )
    assert.strictEqual(accepted('{"model":"a","messages":"x"}', at("/v1/embeddings")).model, "a")
  })

  it("says whether a stream is wanted, and of how many choices", () => {
    assert.isTrue(accepted('{"model":"a","stream":true}').stream)
    assert.strictEqual(accepted('{"model":"a","n":3}').choices, 3)
    assert.strictEqual(accepted('{"model":"a","n":0}').choices, 1)
    assert.strictEqual(accepted('{"model":"a","n":-2}').choices, 1)
  })

  it("counts the choices of a completion by its prompts: each of them has its own", () => {
    const completions = at("/v1/completions")
    assert.strictEqual(accepted('{"model":"a","prompt":["x","y","z"]}', completions).choices, 3)
    assert.strictEqual(accepted('{"model":"a","prompt":["x","y"],"n":2}', completions).choices, 4)
    assert.strictEqual(accepted('{"model":"a","prompt":[[1,2],[3]]}', completions).choices, 2)
    assert.strictEqual(accepted('{"model":"a","prompt":[1,2,3]}', completions).choices, 1)
    assert.strictEqual(accepted('{"model":"a","prompt":[]}', completions).choices, 1)
  })

  it("estimates tokens from the size of the body and what it asks for", () => {
    const body = '{"model":"a","max_tokens":100}'
    assert.strictEqual(accepted(body).tokenEstimate, Math.ceil(body.length / 4) + 100)
    const both = '{"model":"a","max_tokens":100,"max_completion_tokens":50}'
    assert.strictEqual(accepted(both).tokenEstimate, Math.ceil(both.length / 4) + 50)
    const negative = '{"model":"a","max_tokens":-100}'
    assert.strictEqual(accepted(negative).tokenEstimate, Math.ceil(negative.length / 4))
  })

  it.each(["1e999", "1e300", "9007199254740993"])(
    "never estimates more than can be counted, even for max_tokens: %s",
    (number) => {
      const { tokenEstimate } = accepted(`{"model":"a","max_tokens":${number}}`)
      assert.isTrue(Number.isSafeInteger(tokenEstimate))
    }
  )
})

describe("a hostile body", () => {
  it("cannot reach the prototype of anything", () => {
    assert.strictEqual(refused('{"__proto__":{"model":"x"}}').code, "model_required")
    assert.strictEqual(refused('{"constructor":{"prototype":{"model":"x"}}}').code, "model_required")
    assert.strictEqual(accepted('{"__proto__":{"stream":true},"model":"a"}').stream, false)
    assert.isUndefined(Object.getOwnPropertyDescriptor(Object.prototype, "model"))
  })

  it.each([
    ["lists", "[", "]"],
    ["lists that never close", "[", ""],
    ["objects", '{"a":', "}"],
    ["objects that never close", '{"a":', ""]
  ])("a body of 100,000 nested %s is told how deep it may be", (_, open, close) => {
    const error = refused(`{"model":"a","x":${open.repeat(100_000)}1${close.repeat(100_000)}}`)
    assert.strictEqual(error.code, "invalid_request")
    assert.include(error.message, "512 levels")
  })

  it("may name its model anywhere, behind anything", () => {
    const filling = `"messages":[{"content":"${"x".repeat(400_000)}"}],"x":[${"[],".repeat(100_000)}[]]`
    assert.strictEqual(accepted(`{${filling},"model":"a"}`).model, "a")
    for (const text of [`{"model":"a",${filling},"model":"b"}`, `{${filling},"model":"a","mod\\u0065l":"b"}`])
      assert.strictEqual(refused(text).param, "model")
  })

  it("a body whose model has a name that no model has is refused", () => {
    const error = refused(`{"model":"${"m".repeat(100_000)}"}`)
    assert.deepStrictEqual([error.code, error.param], ["invalid_request", "model"])
    assert.strictEqual(accepted(`{"model":"${"m".repeat(10_000)}"}`).model.length, 10_000)
  })
})

describe("another model in a body", () => {
  const renamed = (text: string, model: string) => {
    const outline = outlineOf(text)
    return editedText(outline, [setMember(outline, "model", model)])
  }

  it("changes the model and not one byte else: numbers stay as they were written", () => {
    assert.strictEqual(
      renamed('{ "seed": 12345678901234567890, "t": 1.0, "p":1e-7 , "model" : "a", "x":"\\u00e4\\/" }', "b"),
      '{ "seed": 12345678901234567890, "t": 1.0, "p":1e-7 , "model" : "b", "x":"\\u00e4\\/" }'
    )
  })

  it("is put into a long body without a copy of the rest", () => {
    const outline = outlineOf(`{"x":"${"y".repeat(1_000_000)}","model":"a","stream":true}`)
    const body = edited(outline.bytes, [setMember(outline, "model", "b")])
    if (!(body instanceof Pieces)) return assert.fail("a copy")
    assert.strictEqual(body.length, outline.bytes.length)
    assert.strictEqual(body.all[0]?.buffer, outline.bytes.buffer)
    assert.strictEqual(
      Buffer.concat(body.all).toString("utf8"),
      outline.bytes.toString("utf8").replace('"model":"a"', '"model":"b"')
    )
  })

  it("is escaped where its name needs it", () => {
    assert.strictEqual(renamed('{"model":"a"}', 'b"\\\n✓'), '{"model":"b\\"\\\\\\n✓"}')
  })

  it("is read as the same object with that model, in any spelling of any object", () => {
    holdsFor(fc.tuple(entries, styles, fc.string({ unit: "grapheme" })), ([members, style, model]) => {
      const others = members.filter(([key]) => key !== "model")
      const { places, text } = write([...others, ["model", "before"]], style)
      const after = renamed(text, model)
      const expected: unknown = JSON.parse(text)
      assert.isObject(expected)
      assert.deepStrictEqual(JSON.parse(after), Object.assign(expected ?? {}, { model }))
      const place = places.at(-1)
      assert.isTrue(after.startsWith(text.slice(0, place?.start)) && after.endsWith(text.slice(place?.end)))
    })
  })
})

describe("any bytes at all", () => {
  it("are either read or refused with 400, and never throw", () => {
    const noise = fc.oneof(
      fc.uint8Array({ maxLength: 60 }),
      fc.string().map(bytes),
      fc.tuple(entries, styles).map(([members, style]) => bytes(write(members, style).text)),
      fc.json().map(bytes)
    )
    holdsFor(
      noise,
      (body) => {
        const result = read(body, chat)
        if (Result.isFailure(result)) return assert.strictEqual(result.failure.status, 400)
        const parsed: unknown = JSON.parse(Buffer.from(body).toString("utf8"))
        assert.strictEqual(Object.getOwnPropertyDescriptor(parsed, "model")?.value, result.success?.model)
      },
      1000
    )
  })
})

describe("a body that need not name a model", () => {
  const unknown = { endpoint: undefined, path: "/unknown", defaultModel: "d" }
  const optional = { ...unknown, endpoint: at("/completion") }

  it.each([
    "",
    "x=1",
    "{}",
    "[]",
    '{"model":1}',
    '{"model":null}',
    '{"model":""}',
    '{"model":["a"]}',
    '{"a":{"model":"b"}}'
  ])("%j names none, and is not read for anything else", (body) => {
    for (const addressed of [unknown, optional])
      assert.deepStrictEqual(readEnvelope(addressed, bytes(body)), Result.succeed(undefined))
  })

  it.each(['{"model":"a"}', ' {"stream":"yes","messages":1,"tools":2,"model":"\\u0061"}', '{"model":"b","a":1}'])(
    "%j names one, and the rest is the engine's business",
    (body) => {
      for (const addressed of [unknown, optional]) {
        const named = Result.getOrThrow(readEnvelope(addressed, bytes(body)))
        assert.match(named?.model ?? "", /^[ab]$/)
      }
    }
  )

  it("two models are refused: engines do not agree on which of them counts", () => {
    for (const addressed of [unknown, optional]) {
      const found = readEnvelope(addressed, bytes('{"model":"a","mod\\u0065l":"b"}'))
      assert.strictEqual(Result.isFailure(found) ? found.failure.code : undefined, "invalid_request")
    }
  })
})

describe("the default model", () => {
  const withDefault = (body: string, path = "/v1/chat/completions") => {
    const found = readEnvelope({ endpoint: at(path), path, defaultModel: "the default" }, bytes(body))
    if (Result.isFailure(found)) return found.failure.code
    const { member, model, outline, written } = found.success ?? assert.fail("no model")
    assert.strictEqual(model, "the default")
    if (member === undefined || written === model) return outline.bytes.toString("utf8")
    return editedText(outline, [setMember(outline, member, model)])
  }

  it.each([
    ["{}", '{"model":"the default"}'],
    [" { } ", '{"model":"the default"}'],
    ['{"messages":[] }', '{"model":"the default","messages":[] }'],
    ['{"n":1,"model":null}', '{"n":1,"model":"the default"}'],
    ['{"model" : "" ,"n":1.0}', '{"model" : "the default" ,"n":1.0}']
  ])("is asked for where %j names none, and is put into the body", (body, expected) => {
    assert.strictEqual(withDefault(body), expected)
    assert.strictEqual(withDefault(body, "/api/chat"), expected)
  })

  it("does not make a body right that is wrong", () => {
    assert.strictEqual(withDefault(""), "invalid_json")
    assert.strictEqual(withDefault("[]"), "invalid_request")
    assert.strictEqual(withDefault('{"model":1}'), "invalid_request")
  })

  it("does not take the place of one that is named", () => {
    const found = readEnvelope({ endpoint: chat, path: chat.route, defaultModel: "d" }, bytes('{"model":"a"}'))
    assert.strictEqual(Result.getOrThrow(found)?.model, "a")
  })
})

describe("Ollama's old name for the model", () => {
  const show = at("/api/show")

  it.each<[string, "model" | "name", string]>([
    ['{"name":"a"}', "name", "a"],
    ['{"model":"a"}', "model", "a"],
    ['{"model":"a","name":"a"}', "model", "a"],
    ['{"model":"","name":"a"}', "name", "a"]
  ])("%s is read", (body, member, model) => {
    assert.deepInclude(accepted(body, show), { member, model })
  })

  it.each(['{"model":"a","name":"b"}', '{"name":"a","name":"b"}', '{"name":"a","n\\u0061me":"a"}'])(
    "%s names two models and is refused",
    (body) => {
      assert.strictEqual(refused(body, show).code, "invalid_request")
    }
  )

  it("means nothing anywhere else", () => {
    assert.strictEqual(refused('{"name":"a"}', at("/api/chat")).code, "model_required")
    assert.strictEqual(accepted('{"model":"a","name":"b","name":"c"}', at("/api/chat")).model, "a")
  })
})

describe("a stream of Ollama's", () => {
  it.each([
    ["/api/chat", "", true],
    ["/api/chat", ',"stream":null', true],
    ["/api/chat", ',"stream":true', true],
    ["/api/chat", ',"stream":false', false],
    ["/api/generate", "", true],
    ["/api/generate", ',"stream":false', false],
    ["/api/embed", "", false],
    ["/api/show", "", false]
  ])("a stream at %s is wanted with %j: %s", (path, more, expected) => {
    assert.strictEqual(accepted(`{"model":"a"${more}}`, at(path)).stream, expected)
  })
})
