import type { ModelInfo } from "../../domain/Health.ts"
import { type Adapter, genericAdapter, parseModelList } from "../Adapter.ts"

/**
 * Ollama: its list of models shows that it lives, `/api/ps` which of them are in memory; it does not tell how many
 * requests it has. A model may be asked for without its tag where that is `latest`, so it is known by both names.
 */
export const ollama: Adapter = {
  ...genericAdapter,
  models: ({ body }) => parseModelList(body)?.flatMap(underItsNames),
  loadPath: "/api/ps",
  load: ({ body, status }) => {
    const loaded = status === 200 ? parseModelList(body) : undefined
    return loaded && { kvCacheUsage: 0, residentModels: loaded.map(({ id }) => id) }
  }
}

const latest = ":latest"

const underItsNames = (model: ModelInfo): ReadonlyArray<ModelInfo> =>
  model.id.endsWith(latest) ? [model, { ...model, id: model.id.slice(0, -latest.length) }] : [model]
