/** The parts of one running server, as its routes share them. Nothing here is shared between servers. */
import type { Chance } from "./Chance.ts"
import type { Door } from "./Door.ts"
import type { Engine } from "./Engine.ts"
import type { FaultBook } from "./FaultBook.ts"
import type { Ledger } from "./Ledger.ts"
import type { Settings } from "./Options.ts"

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
