/** What makes gpt-oss models work with the tools that people use them with; opt-in, by `gptOss` of a model rule. */
import { readGptOssName } from "../domain/GptOss.ts"
import { type Fields, isFields, systemTexts } from "./RequestFields.ts"

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

/** The members that the request gets besides its own; those that it has already are the client's to decide. */
export const gptOssMembers = (name: string, fields: Fields): Fields => {
  const { effort, isJob } = readGptOssName(name)
  const isAgent = systemTexts(fields).some((text) => agents.some((agent) => text.startsWith(agent)))
  const wanted: Fields = {
    ...((isAgent || isJob) && { reasoning_format: "auto" }),
    ...(isAgent && { grammar: finalOnly }),
    ...(effort !== undefined && { chat_template_kwargs: withEffort(fields["chat_template_kwargs"], effort) })
  }
  return Object.fromEntries(Object.entries(wanted).filter(([member]) => !(member in fields)))
}

const withEffort = (own: unknown, effort: string): Fields => ({ reasoning_effort: effort, ...(isFields(own) && own) })
