/** The parts of one running server, as its routes share them. Nothing here is shared between servers. */

import type { Engine } from "./Engine.ts"
import type { FaultBook } from "./FaultBook.ts"
import type { Settings } from "./Options.ts"
import type { Chance } from "./Random.ts"
import type { Ledger } from "./RequestLog.ts"
import type { Door } from "./WireControl.ts"

export interface Instance {
  readonly settings: Settings
  readonly engine: Engine
  readonly ledger: Ledger
  readonly faults: FaultBook
  readonly door: Door
  readonly chance: Chance
  /** A number that no other request of this server has. */
  readonly nextId: () => number
}
