/** Whether a request needs a model that can call tools. */
import { type Fields, isFields, isFilled, listOf } from "./RequestFields.ts"

/**
 * Tools that may be called, in the form of today or of the first days (`functions`); or a conversation in which tools
 * were called, which the template of a model without them cannot render. `tool_choice: "none"` takes the tools back.
 */
export const needsTools = (fields: Fields): boolean =>
  (isFilled(fields["tools"]) && fields["tool_choice"] !== "none") ||
  (isFilled(fields["functions"]) && fields["function_call"] !== "none") ||
  listOf(fields["messages"]).some(isToolMessage) ||
  listOf(fields["input"]).some(isToolItem)

const isToolMessage = (message: unknown): boolean => {
  if (!isFields(message)) return false
  const { content, function_call: functionCall, role, tool_calls: toolCalls } = message
  if (role === "tool" || role === "function" || isFilled(toolCalls) || isFields(functionCall)) return true
  // Anthropic's dialect has them among the parts of the content.
  return listOf(content).some(
    (part) => isFields(part) && (part["type"] === "tool_use" || part["type"] === "tool_result")
  )
}

/** The responses API has calls and their outputs as items of the input. */
const isToolItem = (item: unknown): boolean =>
  isFields(item) && (item["type"] === "function_call" || item["type"] === "function_call_output")
