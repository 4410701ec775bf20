/** What makes gpt-oss models work with the tools that people use them with; opt-in, by `gptOss` of a model rule. */

import { addInto, type Edit, setMember } from "./BodyEdit.ts"
import type { BodyOutline } from "./BodyOutline.ts"
import { readGptOssName } from "./GptOssName.ts"

/**
 * Agents that read tool calls out of plain text are thrown off by the channels of the harmony format: a grammar allows
 * one analysis, ended, and then the final channel only.
 */
const finalOnly = String.raw`root ::= analysis? turn final .+
analysis ::= "<|channel|>analysis<|message|>" thought* "<|end|>"
thought ::= [^<] | "<" [^|] | "<|" [^e]
turn ::= "<|start|>assistant"
final ::= "<|channel|>final<|message|>"
`

const agents = ["You are Cline", "You are Roo"]

/** llama.cpp takes one grammar, and makes one itself for each of these. */
const grammars = ["grammar", "tools", "response_format", "json_schema"] as const

/** The members that the request gets besides its own; those that it has already are the client's to decide. */
export const gptOssEdits = (name: string, outline: BodyOutline): ReadonlyArray<Edit> => {
  const { effort, isJob } = readGptOssName(name)
  const isAgent = outline.systemTexts().some((text) => agents.some((agent) => text.startsWith(agent)))
  const edits: Array<Edit> = []
  if ((isAgent || isJob) && !outline.has("reasoning_format")) edits.push(setMember(outline, "reasoning_format", "auto"))
  if (isAgent && !grammars.some((member) => outline.has(member))) edits.push(setMember(outline, "grammar", finalOnly))
  if (effort !== undefined && !outline.hasEffort) edits.push(withEffort(outline, effort))
  return edits
}

/** The client's own arguments stay. */
const withEffort = (outline: BodyOutline, effort: string): Edit =>
  outline.kind(kwargs) === "object"
    ? addInto(outline, kwargs, "reasoning_effort", effort)
    : setMember(outline, kwargs, { reasoning_effort: effort })

const kwargs = "chat_template_kwargs"
