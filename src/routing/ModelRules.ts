/** Which rule decides for a model: the first whose expression matches the whole name. */
import { Result } from "effect"
import { compileRegExp, type LinearRegExp } from "../domain/LinearRegExp.ts"
import type { ModelRule } from "../domain/ModelRule.ts"

/** Names come from clients: how many are remembered is not for them to say, nor how long they are. */
const maxRememberedNames = 4096
const maxRememberedChars = 256

/** No model has a name as long as that: what a client sends in place of one is held against no expression. */
const longest = 1024

const noRule = Symbol("no rule")

export class ModelRules {
  readonly #rules: ReadonlyArray<{ readonly rule: ModelRule; readonly regexp: LinearRegExp }>
  readonly #byName = new Map<string, ModelRule | typeof noRule>()

  constructor(rules: ReadonlyArray<ModelRule>) {
    this.#rules = rules.flatMap((rule) => {
      // What does not compile is refused when the configuration is loaded.
      const compiled = compileRegExp(rule.match)
      return Result.isFailure(compiled) ? [] : [{ rule, regexp: compiled.success }]
    })
  }

  find(model: string): ModelRule | undefined {
    if (this.#rules.length === 0 || model.length > longest) return undefined
    const known = this.#byName.get(model)
    if (known !== undefined) return known === noRule ? undefined : known
    const found = this.#rules.find(({ regexp }) => regexp.matchesWhole(model))?.rule
    if (model.length > maxRememberedChars) return found
    if (this.#byName.size >= maxRememberedNames) this.#byName.clear()
    this.#byName.set(model, found ?? noRule)
    return found
  }
}
