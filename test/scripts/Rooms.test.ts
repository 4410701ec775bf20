import { assert, describe, it } from "@effect/vitest"
import { testFoldersOf } from "../../scripts/Rooms.ts"

const all = () => true

describe("the tests that a change concerns", () => {
  it("are those of its rooms, each once", () => {
    const files = ["src/proxy/Relay.ts", "src/proxy/deep/Part.ts", "test/http/Surface.test.ts", "src/domain/Pool.ts"]
    assert.deepStrictEqual(testFoldersOf(files, all), ["domain", "http", "proxy"])
  })

  it("the tests of the load harness are under another name", () => {
    assert.deepStrictEqual(testFoldersOf(["src/bench/Chart.ts"], all), ["bench-harness"])
  })

  it("the tests of the documents, the examples, the package and the scripts are found too", () => {
    const files = ["docs/hot-path.md", "README.md", "config/team.yaml", "package-lock.json", "scripts/check.ts"]
    assert.deepStrictEqual(testFoldersOf(files, all), ["config", "docs", "package", "scripts"])
  })

  it("are none of those that drive the built program, and none that are not there", () => {
    const files = ["test/e2e/Stopping.test.ts", "test/chaos/Reload.test.ts", "src/gone/Old.ts", "src/Gateway.ts"]
    assert.deepStrictEqual(
      testFoldersOf(files, (folder) => folder !== "gone"),
      []
    )
  })
})
