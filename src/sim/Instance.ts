/** The parts of one running server, as its routes share them. Nothing here is shared between servers. */

import type { Engine } from "./Engine.ts"
import type { FaultBook } from "./FaultBook.ts"
import type { Settings } from "./Options.ts"
import type { Random } from "./Random.ts"
import type { RequestLog } from "./RequestLog.ts"
import type { WireControl } from "./WireControl.ts"

export interface Instance {
  readonly settings: Settings
  readonly engine: Engine
  readonly log: RequestLog
  readonly faults: FaultBook
  readonly wire: WireControl
  readonly random: Random
  /** A number that no other request of this server has. */
  readonly nextId: () => number
}
