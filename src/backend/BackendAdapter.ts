/** How to talk to each kind of engine: what goes out, what comes back, how to ask it how it is. */
import { Clock, Context, Effect, Layer } from "effect"
import type { AdapterKind, Backend } from "../domain/Backend.ts"
import type { ClientSettings } from "../domain/Pool.ts"
import type { Member } from "../registry/Registry.ts"
import { type Adapter, genericAdapter, modelsAreHealth, type Verdict } from "./Adapter.ts"
import { huaweiApig } from "./adapters/HuaweiApig.ts"
import { llamaCpp } from "./adapters/LlamaCpp.ts"
import { openAi } from "./adapters/OpenAi.ts"
import { vllm } from "./adapters/Vllm.ts"
import { type Outgoing, outgoingHeaders, type Prepared, prepare, targetPath } from "./Outgoing.ts"
import type { UpstreamRequest } from "./UpstreamTransport.ts"

export { type Adapter, type ProbeAnswer, type Verdict } from "./Adapter.ts"
export type { Outgoing } from "./Outgoing.ts"

/** One file each; a kind that is not here yet is refused when the configuration is read. */
const adapters: Partial<Record<AdapterKind, Adapter>> = {
  openai: openAi,
  vllm,
  "llama-cpp": llamaCpp,
  "huawei-apig": huaweiApig
}

const adapterOf = (backend: Backend): Adapter => adapters[backend.adapter] ?? genericAdapter

/** What a probe asks a backend for. */
export type ProbeKind = "health" | "models" | "load"

export class BackendAdapter extends Context.Service<
  BackendAdapter,
  {
    readonly of: (backend: Backend) => Adapter
    /** A client's request as it goes to a member of a pool; signed anew each time it is called. */
    readonly prepare: (member: Member, client: ClientSettings, outgoing: Outgoing) => UpstreamRequest
    /** The request of a probe, with the backend's own credentials; `undefined`: this kind is not asked for that. */
    readonly probe: (backend: Backend, kind: ProbeKind) => Outgoing | undefined
    readonly classify: (backend: Backend, status: number) => Verdict
  }
>()("weir/backend/BackendAdapter") {
  static readonly layer = Layer.effect(
    BackendAdapter,
    Effect.gen(function* () {
      const clock = yield* Clock.Clock
      const prepared = new WeakMap<Backend, Prepared>()
      const preparedFor = (backend: Backend): Prepared => {
        const known = prepared.get(backend)
        if (known !== undefined) return known
        const made = prepare(backend)
        prepared.set(backend, made)
        return made
      }

      return BackendAdapter.of({
        of: adapterOf,
        prepare: (member, client, outgoing) => {
          const backend = member.backend.config
          const ready = preparedFor(backend)
          const path = targetPath(ready, outgoing.path) + outgoing.query
          return {
            backend,
            client,
            connectTimeout: member.timeouts.connect,
            method: outgoing.method,
            path,
            headers: outgoingHeaders(backend, ready, outgoing, path, clock.currentTimeMillisUnsafe()),
            body: outgoing.body,
            readable: outgoing.readable
          }
        },
        probe: (backend, kind) => {
          const path = probePath(adapterOf(backend), backend, kind)
          return path === undefined ? undefined : { ...emptyGet, path }
        },
        classify: (backend, status) => adapterOf(backend).classify(status)
      })
    })
  )
}

const emptyGet: Outgoing = {
  method: "GET",
  path: "/",
  query: "",
  headers: ["accept", "*/*"],
  body: undefined,
  readable: true
}

const probePath = (adapter: Adapter, backend: Backend, kind: ProbeKind): string | undefined => {
  const models = adapter.modelsPath === undefined ? undefined : `/v1${adapter.modelsPath}`
  switch (kind) {
    case "health": {
      const configured = backend.health.path
      return configured ?? (adapter.healthPath === modelsAreHealth ? models : adapter.healthPath)
    }
    case "models":
      return models
    case "load":
      return adapter.loadPath
  }
}
