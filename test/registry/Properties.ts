/**
 * fast-check, with one seed for all: a run finds the same today and tomorrow. `FC_SEED=7 npx vitest run …` looks
 * elsewhere.
 */
import * as fc from "fast-check"

const chosen = Number(process.env["FC_SEED"])

fc.configureGlobal({ seed: Number.isInteger(chosen) ? chosen : 4711 })

export { fc }
