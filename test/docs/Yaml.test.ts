/**
 * Every configuration in the documents is one. A fenced block of `yaml` is loaded as a file; one of `yaml fragment` is a
 * part of a file: its keys and values have to be right, what it refers to may stand elsewhere. YAML of something else
 * is fenced as `yaml other`.
 */
import { globSync, readFileSync } from "node:fs"
import * as path from "node:path"
import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import { parse } from "yaml"
import { ConfigLoader, HungFiles } from "../../src/config/ConfigLoader.ts"
import { GatewayConfig } from "../../src/domain/GatewayConfig.ts"
import { folderWith } from "../Folder.ts"

const root = path.resolve(import.meta.dirname, "../..")

interface Block {
  readonly at: string
  readonly kind: string
  readonly text: string
}

const blocksOf = (file: string): ReadonlyArray<Block> => {
  const text = readFileSync(path.join(root, file), "utf8")
  return [...text.matchAll(/^```ya?ml *(.*)\n([^]*?)^```/gm)].map(({ 1: kind = "", 2: block = "", index }) => ({
    at: `${file}:${text.slice(0, index).split("\n").length}`,
    kind: kind.trim(),
    text: block
  }))
}

const documents = globSync(["*.md", "docs/**/*.md", "src/**/*.md", "test/**/*.md", ".github/**/*.md"], { cwd: root })
const blocks = documents.toSorted().flatMap(blocksOf)

/** A value for every variable that has no default. */
const environmentFor = (text: string): Record<string, string> =>
  Object.fromEntries([...text.matchAll(/\$\{(\w+)\}/g)].map(([, name = ""]) => [name, `a-${name}`]))

const load = (text: string) =>
  Effect.gen(function* () {
    const folder = yield* folderWith({ "weir.yaml": text })
    const loader = yield* ConfigLoader
    return yield* loader.load({ file: path.join(folder, "weir.yaml") })
  }).pipe(
    Effect.provide(
      ConfigLoader.layer(environmentFor(text)).pipe(
        Layer.provideMerge(HungFiles.layer),
        Layer.provideMerge(NodeServices.layer)
      )
    )
  )

const decode = Schema.decodeUnknownEffect(GatewayConfig)

describe("the documents", () => {
  it("have configurations, and say of every block what it is", () => {
    assert.isAbove(blocks.length, 2)
    const unknown = blocks.filter(({ kind }) => !["", "fragment", "other"].includes(kind))
    assert.deepStrictEqual(unknown, [])
  })

  for (const { at, text } of blocks.filter(({ kind }) => kind === "")) {
    it.live(`hold a configuration that loads: ${at}`, () => load(text))
  }

  for (const { at, text } of blocks.filter(({ kind }) => kind === "fragment")) {
    it.effect(`hold a part of a configuration: ${at}`, () =>
      decode(parse(text.replaceAll(/\$\{\w+\}/g, "a-value")), { onExcessProperty: "error" })
    )
  }
})

describe("the examples in config/", () => {
  for (const file of globSync("config/*.yaml", { cwd: root })) {
    it.live(`load: ${file}`, () =>
      Effect.map(load(readFileSync(path.join(root, file), "utf8")), ({ config }) => {
        assert.isAbove(config.backends.length, 0)
      })
    )
  }
})
