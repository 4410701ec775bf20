import { assert, describe, it } from "@effect/vitest"
import { canonicalRequest, sign, signingDate } from "../../src/backend/ApigSigner.ts"
import { published } from "./ApigGateway.ts"
import vectors from "./apig-vectors.json" with { type: "json" }

const emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

describe("the signature of a request", () => {
  for (const vector of vectors) {
    const url = new URL(vector.url)
    const headers = [["Host", url.host] as const, ...Object.entries(vector.headers)]
    const { ak, body, date, method, sk } = vector
    const request = { method, path: url.pathname + url.search, headers, body: Buffer.from(body), date }
    it(`vector ${vector.name} gives its canonical request`, () => {
      assert.strictEqual(canonicalRequest(request), vector.canonicalRequest)
    })
    it(`vector ${vector.name} gives its header`, () => {
      assert.strictEqual(sign(request, ak, sk), vector.authorization)
    })
  }

  const second = {
    method: "GET",
    path: "/v1/77b6a44cba5143ab91d13ab9a8ff44fd/vpcs",
    headers: [
      ["Content-Type", "application/json"],
      ["host", "service.test-region-1.myhuaweicloud.com"]
    ] as const,
    body: undefined,
    date: "20191115T033655Z"
  }

  it("the second example of Huawei's guide gives its canonical request", () => {
    assert.strictEqual(
      canonicalRequest(second),
      [
        "GET",
        "/v1/77b6a44cba5143ab91d13ab9a8ff44fd/vpcs/",
        "",
        "content-type:application/json",
        "host:service.test-region-1.myhuaweicloud.com",
        "x-sdk-date:20191115T033655Z",
        "",
        "content-type;host;x-sdk-date",
        emptyHash
      ].join("\n")
    )
  })

  it("the second example of Huawei's guide gives its header", () => {
    assert.strictEqual(
      sign(second, published.accessKey, published.secretKey),
      `SDK-HMAC-SHA256 Access=${published.accessKey}, SignedHeaders=content-type;host;x-sdk-date, ` +
        "Signature=4a30e690c3032a1975323588d79e858f188834f91df411a47ada7def6ad8081f"
    )
  })
})

describe("the canonical form", () => {
  const parts = (path: string, headers: ReadonlyArray<readonly [string, string]> = [], body?: Uint8Array) =>
    canonicalRequest({ method: "post", path, headers, body, date: "20260102T030405Z" }).split("\n")

  it("has the method in capitals", () => assert.strictEqual(parts("/")[0], "POST"))

  for (const [path, canonical] of [
    ["/", "/"],
    ["/v1/models", "/v1/models/"],
    ["/v1/models/", "/v1/models/"],
    ["//a//b", "//a//b/"],
    ["/a b", "/a%20b/"],
    ["/a%20b", "/a%20b/"],
    ["/a%2fb", "/a/b/"],
    ["/a%252Fb", "/a%252Fb/"],
    ["/%E4%BD%A0", "/%E4%BD%A0/"],
    ["/%e4%bd%a0", "/%E4%BD%A0/"],
    ["/!'()*", "/%21%27%28%29%2A/"],
    ["/-_.~", "/-_.~/"],
    ["/a+b:c@d;e=f,g", "/a%2Bb%3Ac%40d%3Be%3Df%2Cg/"],
    ["/100%", "/100%25/"],
    ["/%zz", "/%25zz/"],
    ["/a%F0%9F%98%80", "/a%F0%9F%98%80/"]
  ] as const) {
    it(`the canonical path ${path} is ${canonical}`, () => assert.strictEqual(parts(path)[1], canonical))
  }

  for (const [query, canonical] of [
    ["", ""],
    ["?", ""],
    ["?b=2&a=1", "a=1&b=2"],
    ["?a=2&a=1&a=10", "a=1&a=10&a=2"],
    ["?c", "c="],
    ["?c=&b", "b=&c="],
    ["?a=1&&b=2&", "a=1&b=2"],
    ["?a=b=c", "a=b%3Dc"],
    ["?a=%20&%62=%2F", "a=%20&b=%2F"],
    ["?q=%E4%BD%A0", "q=%E4%BD%A0"],
    ["?a=x?y", "a=x%3Fy"],
    ["?A=1&a=2&_=3", "A=1&_=3&a=2"],
    // Code points, not UTF-16 units: U+1F600 comes after U+FF61, though its first unit is smaller.
    ["?%F0%9F%98%80=1&%EF%BD%A1=2", "%EF%BD%A1=2&%F0%9F%98%80=1"],
    // Sorted as they are and not as they are written: "a" comes before "a b".
    ["?a%20b=1&a=2", "a=2&a%20b=1"]
  ] as const) {
    it(`the canonical query ${query} is ${canonical}`, () => assert.strictEqual(parts(`/${query}`)[2], canonical))
  }

  it("has the headers by name in lower case, trimmed and sorted, with the date among them", () => {
    assert.deepStrictEqual(
      parts("/", [
        ["X-Stage", " RELEASE "],
        ["Host", "h:1"],
        ["content-type", "a/b; c"]
      ]).slice(3, 9),
      [
        "content-type:a/b; c",
        "host:h:1",
        "x-sdk-date:20260102T030405Z",
        "x-stage:RELEASE",
        "",
        "content-type;host;x-sdk-date;x-stage"
      ]
    )
  })

  it("ends in the hash of the very bytes of the body, or of nothing", () => {
    assert.strictEqual(parts("/").at(-1), emptyHash)
    assert.strictEqual(parts("/", [], new Uint8Array(0)).at(-1), emptyHash)
    assert.strictEqual(
      parts("/", [], Uint8Array.of(0xff, 0x00)).at(-1),
      "ea5dbf9596d187e9500f23e9a680109475341cf4e81f7e043f7d97152c10772f"
    )
  })

  it("takes the word of x-sdk-content-sha256 for a body that is not at hand, and signs it", () => {
    const told = parts("/", [["X-Sdk-Content-Sha256", "UNSIGNED-PAYLOAD"]])
    assert.deepStrictEqual(told.slice(-2), ["x-sdk-content-sha256;x-sdk-date", "UNSIGNED-PAYLOAD"])
  })
})

describe("the date of a signature", () => {
  it("is UTC to the second", () => {
    assert.strictEqual(signingDate(Date.UTC(2019, 10, 15, 3, 36, 55, 999)), "20191115T033655Z")
    assert.strictEqual(signingDate(0), "19700101T000000Z")
  })
})
