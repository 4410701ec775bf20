import type { HealthStatus, ModelInfo } from "../../domain/Health.ts"
import { type Adapter, genericAdapter, healthFromStatus, parseModelList } from "../Adapter.ts"

/** Its own status for "too much to do". */
const overloadedStatus = 529

/**
 * Anthropic's API: `/v1/messages` in its own dialect, `/v1/chat/completions` in OpenAI's; nothing is translated.
 *
 * The token of `auth: bearer` is an API key and goes in `x-api-key`; an OAuth token is configured as
 * `{ type: header, name: Authorization, value: Bearer … }`. A request that names no version gets the one that this was
 * written for. Its list names models by their dates; `claude-x-4-5-20250929` is known as `claude-x-4-5` too, as it
 * is there.
 */
export const anthropic: Adapter = {
  ...genericAdapter,
  headers: [["anthropic-version", "2023-06-01"]],
  keyHeader: "x-api-key",
  // Without a limit it lists twenty.
  healthPath: "/v1/models?limit=1000",
  health: ({ status }): HealthStatus => (status === overloadedStatus ? "busy" : healthFromStatus(status)),
  modelsPath: "/v1/models?limit=1000",
  models: ({ body }) => parseModelList(body)?.flatMap(underItsNames),
  classify: (status) => (status === overloadedStatus ? "back_pressure" : genericAdapter.classify(status))
}

const dated = /^(.+-\d+-\d{1,2})-\d{8}$/

const underItsNames = (model: ModelInfo): ReadonlyArray<ModelInfo> => {
  const named = { ...model, ownedBy: "anthropic" }
  const alias = dated.exec(model.id)?.[1]
  return alias === undefined ? [named] : [named, { ...named, id: alias }]
}
