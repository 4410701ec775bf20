/** Whether a request needs a model that can call tools. */
import type { BodyOutline } from "./BodyOutline.ts"

/**
 * Tools that may be called, in the form of today or of the first days (`functions`); or a conversation in which tools
 * were called, which the template of a model without them cannot render. `tool_choice: "none"` takes the tools back.
 */
export const needsTools = (outline: BodyOutline): boolean =>
  (outline.isFilledList("tools") && !isNone(outline, "tool_choice")) ||
  (outline.isFilledList("functions") && !isNone(outline, "function_call")) ||
  outline.usesTools

const isNone = (outline: BodyOutline, name: "tool_choice" | "function_call"): boolean => outline.says(name, "none")
