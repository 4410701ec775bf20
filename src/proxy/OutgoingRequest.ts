/** The request as it goes to a backend: the client's bytes, with another model where that is asked for. */
import type { Outgoing } from "../backend/BackendAdapter.ts"
import { edited, setMember } from "../protocol/BodyEdit.ts"
import { deploymentIn, withDeployment } from "../protocol/Endpoint.ts"
import { gptOssEdits } from "../protocol/GptOssEdits.ts"
import { toUpstream } from "../protocol/HeaderFilter.ts"
import { withUpgradeModel } from "../protocol/UpgradeModel.ts"
import type { Lease } from "../scheduler/Scheduler.ts"
import type { RequestPlan } from "./RequestPlan.ts"

/** Made once for each plan; where a model has instances, each lease may ask for another one. */
export class OutgoingRequest {
  readonly #plan: RequestPlan
  readonly #asSent: Outgoing
  /** Only made when it is asked for: where an instance is chosen, it would be a copy of the body that is never sent. */
  #named: Outgoing | undefined

  constructor(plan: RequestPlan) {
    const { endpoint, pool, request } = plan
    const { id, method, path, payload, query, rawHeaders, upgrade } = request
    const readable = endpoint !== undefined
    this.#plan = plan
    this.#asSent = {
      method,
      path,
      query,
      headers: toUpstream(rawHeaders, { readable, requestId: id, userAgent: pool.config.client.userAgent }),
      readable,
      body: payload.body,
      upgrade
    }
  }

  for({ instance }: Lease): Outgoing {
    const { namedModel, request, route } = this.#plan
    const { model } = route
    if (model === undefined) return this.#asSent
    if (request.upgrade !== undefined) {
      const name = instance ?? model
      return name === namedModel ? this.#asSent : { ...this.#asSent, ...withUpgradeModel(this.#asSent, name) }
    }
    if (request.payload.envelope === undefined) return this.#asSent
    if (instance !== undefined && instance !== model) return this.#withModel(instance)
    this.#named ??= this.#withModel(model)
    return this.#named
  }

  #withModel(name: string): Outgoing {
    const { endpoint, request, route } = this.#plan
    const { path, payload } = request
    const { body, envelope, form } = payload
    if (envelope === undefined) return this.#asSent
    const { member, model, outline, written } = envelope
    const isRead = outline.bytes.length > 0
    const isGptOss = endpoint !== undefined && isRead && route.rule?.gptOss === true
    const added = isGptOss ? gptOssEdits(model, outline) : []
    const edits = member === undefined || name === written ? added : [...added, setMember(outline, member, name)]
    return {
      ...this.#asSent,
      path: name === model || deploymentIn(path) === undefined ? path : withDeployment(path, name),
      body: isRead ? edited(outline.bytes, edits) : form === undefined ? body : form.named(name)
    }
  }
}
