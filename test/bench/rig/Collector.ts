/** Makes a Node process collect its garbage: what its memory is then is what it really holds. */
import { command, type Inspected } from "./Inspector.ts"

/** Returns when the collection has ended. */
export const collectGarbage = (inspected: Inspected) => command(inspected, "HeapProfiler.collectGarbage")
