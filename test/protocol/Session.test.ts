import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import * as fc from "fast-check"
import { StickySettings } from "../../src/domain/Pool.ts"
import { makeSessions } from "../../src/protocol/Session.ts"
import { holdsFor } from "../Property.ts"
import { outlineOf } from "./Outlines.ts"

const settings = Schema.decodeUnknownSync(StickySettings)
const all = settings({})
const byHeader = settings({ by: ["header"] })
const nobody = { session: undefined, outline: undefined, address: "192.0.2.1" }

const keyOf = (session: string | undefined, model: string | undefined) =>
  makeSessions()(byHeader, { ...nobody, session }, model)

/** Who a request with these members is by. */
const sessionOf = (fields: object, sticky = all, session?: string) =>
  makeSessions()(sticky, { ...nobody, session, outline: outlineOf(fields) }, "m")

const said = (content: unknown, role = "system") => ({ messages: [{ role, content }] })

describe("a session", () => {
  it("is there only where the client names one", () => {
    assert.isUndefined(keyOf(undefined, "m"))
    assert.isUndefined(keyOf("", "m"))
    assert.isDefined(keyOf("s", undefined))
  })

  it("is another one with another model", () => {
    assert.notStrictEqual(keyOf("s", "m"), keyOf("s", "n"))
    assert.notStrictEqual(keyOf("s", undefined), keyOf("s", "m"))
  })

  it("never takes more memory than a short text, however long its name or its model is, and stays itself", () => {
    const texts = fc.string({ minLength: 1, maxLength: 300 })
    holdsFor(fc.tuple(texts, texts, texts), ([name, model, other]) => {
      const key = keyOf(name, model)
      assert.isAtMost(key?.length ?? 0, 128)
      assert.strictEqual(keyOf(name, model), key)
      if (other !== model) assert.notStrictEqual(keyOf(name, other), key)
    })
    assert.isAtMost(keyOf("s", "m".repeat(10_000_000))?.length ?? 0, 128)
  })

  it("is the one that is named, else the user, else the address, in the order of the settings", () => {
    assert.strictEqual(sessionOf({ user: "u" }, all, "s"), "header:s\u0000m")
    assert.strictEqual(sessionOf({ user: "u" }), "user:u\u0000m")
    assert.strictEqual(sessionOf({}), "ip:192.0.2.1\u0000m")
    assert.strictEqual(sessionOf({ user: "u" }, settings({ by: ["ip", "user"] }), "s"), "ip:192.0.2.1\u0000m")
    assert.isUndefined(sessionOf({ user: "u" }, byHeader))
  })
})

describe("a user", () => {
  it.each([
    { what: "OpenAI's", fields: { user: "alice" } },
    { what: "OpenAI's newer", fields: { safety_identifier: "alice" } },
    { what: "Anthropic's", fields: { metadata: { user_id: "alice" } } }
  ])("is named by $what field", ({ fields }) => {
    assert.strictEqual(sessionOf(fields), "user:alice\u0000m")
  })

  it.each([
    "ユーザーの名前は「alice」です。",
    "あなたは助手です。\nユーザーの名前は『alice』",
    "ユーザーの名前は“ alice ”",
    "You are kind. The user's name is alice.",
    "The user’s name is “alice”, and she is kind.",
    'the USER\'S NAME IS "alice"'
  ])("is named by a system message: %s", (text) => {
    assert.strictEqual(sessionOf(said(text)), "user:alice\u0000m")
    assert.strictEqual(
      sessionOf(said([{ type: "text", text: "Hello." }, { type: "image" }, { text }])),
      "user:alice\u0000m"
    )
    assert.strictEqual(sessionOf(said(text, "developer")), "user:alice\u0000m")
    assert.strictEqual(sessionOf({ system: text }), "user:alice\u0000m")
    assert.strictEqual(sessionOf({ instructions: text }), "user:alice\u0000m")
  })

  it.each([
    said("The user's name is alice", "user"),
    said("The user has no name"),
    said("ユーザーの名前は「」"),
    { user: "" },
    { user: 7, messages: "alice" },
    { messages: [null, 1, { role: "system" }, { role: "system", content: [null, { text: 1 }] }] }
  ])("is not found in %j", (fields) => {
    assert.match(sessionOf(fields) ?? "", /^ip:/)
  })

  it("is looked for in the beginning of what the system says, whether that is one message or a hundred thousand", () => {
    const name = "The user's name is alice"
    const filler = "user's name i ".repeat(1000)
    assert.strictEqual(
      sessionOf({
        messages: [...Array(50).keys()]
          .map(() => said("Hi.").messages)
          .flat()
          .concat(said(name).messages)
      }),
      "user:alice\u0000m"
    )
    assert.match(
      sessionOf({ messages: [...said(filler).messages, ...said(filler).messages, ...said(name).messages] }) ?? "",
      /^ip:/
    )
    const many = Array.from({ length: 1000 }, () => said(filler).messages).flat()
    const client = { ...nobody, outline: outlineOf({ messages: many }) }
    const sessions = makeSessions()
    sessions(all, client, "m")
    const begin = performance.now()
    for (let i = 0; i < 10; i++) sessions(all, client, "m")
    assert.isBelow(performance.now() - begin, 500)
  })

  it("is found by patterns of one's own, in place of the usual ones", () => {
    const sticky = settings({ userPatterns: ["customer=(\\w+)"] })
    assert.strictEqual(sessionOf(said("customer=bob"), sticky), "user:bob\u0000m")
    assert.match(sessionOf(said("The user's name is alice"), sticky) ?? "", /^ip:/)
  })

  it.each(["(", "(?=a)b", "alice"])("is not looked for by %s, which is refused", (pattern) => {
    assert.throws(() => settings({ userPatterns: [pattern] }))
  })
})
