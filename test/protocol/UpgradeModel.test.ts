import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { InvalidRequest } from "../../src/domain/Errors.ts"
import { modelOfUpgrade, withUpgradeModel } from "../../src/protocol/UpgradeModel.ts"

const realtime = "/v1/realtime"
const azure = "/openai/deployments/gpt%204o/realtime"

describe("the model of an upgrade", () => {
  it.each([
    [realtime, "", undefined],
    [realtime, "?", undefined],
    [realtime, "?intent=transcription", undefined],
    [realtime, "?model=", undefined],
    [realtime, "?model=gpt-4o", "gpt-4o"],
    [realtime, "?a=1&mod%65l=gpt+4o&b", "gpt 4o"],
    ["/openai/realtime", "?api-version=1&deployment=gpt-4o", "gpt-4o"],
    [azure, "?api-version=1", "gpt 4o"]
  ])("is named once, in the query or by the deployment: %s%s", (path, query, model) => {
    assert.deepStrictEqual(modelOfUpgrade({ path, query }), Result.succeed(model))
  })

  it.each([
    [realtime, "?model=a&model=b"],
    [realtime, "?model=a&m%6Fdel=a"],
    [realtime, "?model=&model=a"],
    [realtime, "?model=a&deployment=b"],
    [azure, "?model=gpt-4o"]
  ])("is refused where it is named twice: %s%s", (path, query) => {
    const refused = modelOfUpgrade({ path, query })
    assert.instanceOf(Result.isFailure(refused) ? refused.failure : undefined, InvalidRequest)
  })

  it.each([
    [realtime, "?model=a", `${realtime}?model=b%2Fc%26d`],
    [realtime, "?x=%20+%zz&model=a&&y", `${realtime}?x=%20+%zz&model=b%2Fc%26d&&y`],
    ["/openai/realtime", "?deployment=a&z=1", "/openai/realtime?deployment=b%2Fc%26d&z=1"],
    [azure, "?x=%20", "/openai/deployments/b%2Fc%26d/realtime?x=%20"]
  ])("is renamed and every other byte kept: %s%s", (path, query, renamed) => {
    const to = withUpgradeModel({ path, query }, "b/c&d")
    assert.strictEqual(to.path + to.query, renamed)
  })
})
