import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { BadMultipart, boundaryOf, MultipartModel } from "../../src/protocol/MultipartModel.ts"

const part = (head: string, value: string | Buffer) =>
  Buffer.concat([Buffer.from(`--b\r\n${head}\r\n\r\n`), Buffer.from(value), Buffer.from("\r\n")])

const field = (name: string, value: string | Buffer) => part(`Content-Disposition: form-data; name="${name}"`, value)

const file = (bytes: Buffer) =>
  part('Content-Disposition: form-data; name="file"; filename="model"\r\nContent-Type: audio/wav', bytes)

const upload = (...parts: ReadonlyArray<Buffer>) => Buffer.concat([...parts, Buffer.from("--b--\r\n")])

const read = (bytes: Buffer, cuts: ReadonlyArray<number> = []) => {
  const reader = new MultipartModel("b")
  const ends = [...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].toSorted((a, b) => a - b)
  let at = 0
  for (const end of ends) {
    reader.push(bytes.subarray(at, end))
    at = end
  }
  return reader
}

describe("the model of an upload", () => {
  const audio = Buffer.from('RIFF\r\n--bx\r\nname="model"\r\n\r\nfake\r\n--', "latin1")
  const uploads: ReadonlyArray<readonly [string, Buffer, string | undefined]> = [
    ["in front of the file", upload(field("model", "m1"), file(audio)), "m1"],
    ["behind the file, as curl and OpenAI's SDK for Node write it", upload(file(audio), field("model", "m1")), "m1"],
    ["without quotes", upload(part("content-disposition: form-data;name=model", "m1")), "m1"],
    [
      "among many headers",
      upload(part('X: 1\r\nContent-Disposition: form-data;\r\n name="model"\r\nY: 2', "m1")),
      "m1"
    ],
    ["with characters of any kind", upload(field("model", "größe/🎉")), "größe/🎉"],
    ["that is empty", upload(field("model", "")), ""],
    ["behind an introduction", Buffer.concat([Buffer.from("hello\r\n"), upload(field("model", "m1"))]), "m1"],
    ["behind a file of no bytes", upload(file(Buffer.alloc(0)), field("model", "m1")), "m1"],
    ["that is not there", upload(file(audio), field("prompt", "model")), undefined],
    ["that stands behind the end", Buffer.concat([upload(file(audio)), field("model", "m1")]), undefined],
    ["in the name of a file only", upload(file(audio)), undefined]
  ]
  it.each(uploads)("a model %s is read right, however the upload is cut into pieces", (_, bytes, expected) => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 1000 }), { maxLength: 12 }), (cuts) => {
        const { found, problem } = read(bytes, cuts)
        assert.isUndefined(problem)
        assert.strictEqual(found?.model, expected)
        if (found !== undefined) assert.strictEqual(bytes.toString("utf8", found.start, found.end), expected)
      }),
      { numRuns: 60 }
    )
    const bytewise = read(
      bytes,
      Array.from({ length: bytes.length }, (__, i) => i)
    )
    assert.strictEqual(bytewise.found?.model, expected)
  })

  it.each([
    ["named twice", upload(field("model", "small"), file(audio), field("model", "large"))],
    ["named in two ways", upload(part('Content-Disposition: form-data; name="x"; name="model"', "large"))],
    [
      "in a part with two dispositions",
      upload(part('Content-Disposition: form-data; name="x"\r\nContent-Disposition: form-data; name="model"', "m"))
    ],
    ["in an extended name", upload(part("Content-Disposition: form-data; name*=utf-8''model", "m"))],
    ["that is too long", upload(field("model", "m".repeat(5000)))],
    ["that is not UTF-8", upload(field("model", Buffer.from([0xff, 0xfe])))],
    ["behind a head without end", Buffer.from(`--b\r\n${"X: y\r\n".repeat(10_000)}`)]
  ])("a model %s is refused in words", (_, bytes) => {
    const { problem } = read(bytes)
    assert.instanceOf(problem, BadMultipart)
    assert.match(problem.message, /^(The|One) .*\.$/)
  })

  it("is looked for in a large upload without keeping it", () => {
    const reader = new MultipartModel("b")
    reader.push(Buffer.from('--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'))
    const piece = Buffer.alloc(1 << 20, "\r\n--")
    for (let i = 0; i < 32; i++) reader.push(piece)
    reader.push(Buffer.from('\r\n--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nm1\r\n--b--'))
    assert.strictEqual(reader.found?.model, "m1")
  })

  it("is that of the forms which Node's own fetch writes", async () => {
    const form = new FormData()
    form.set("file", new Blob([audio]), 'a"b\r\n.wav')
    form.set("model", "whisper-1")
    const request = new Request("http://x.test/", { method: "POST", body: form })
    const boundary = boundaryOf(request.headers.get("content-type") ?? "")
    assert.isDefined(boundary)
    const reader = new MultipartModel(boundary)
    reader.push(new Uint8Array(await request.arrayBuffer()))
    assert.strictEqual(reader.found?.model, "whisper-1")
  })
})

describe("a boundary", () => {
  it.each([
    ["multipart/form-data; boundary=abc", "abc"],
    ['Multipart/Form-Data;charset=utf-8; Boundary="a b;c"', "a b;c"],
    ["multipart/form-data", undefined],
    ["multipart/mixed; boundary=abc", undefined],
    ["application/json", undefined],
    ["", undefined]
  ])("the boundary of %j is %j", (contentType, expected) => {
    assert.strictEqual(boundaryOf(contentType), expected)
  })
})
