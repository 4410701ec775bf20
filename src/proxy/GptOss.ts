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

/** llama.cpp takes one grammar, and makes one itself for each of these. */
const grammars = ["grammar", "tools", "response_format", "json_schema"]

/** The members that the request gets besides its own; those that it has already are the client's to decide. */
export const gptOssMembers = (name: string, fields: Fields): Fields => {
  const { effort, isJob } = readGptOssName(name)
  const isAgent = systemTexts(fields).some((text) => agents.some((agent) => text.startsWith(agent)))
  return {
    ...((isAgent || isJob) && !("reasoning_format" in fields) && { reasoning_format: "auto" }),
    ...(isAgent && !grammars.some((member) => member in fields) && { grammar: finalOnly }),
    ...(effort !== undefined && kwargsWith(fields["chat_template_kwargs"], effort))
  }
}

/** The client's own arguments stay; where it has the effort among them, nothing is to be done. */
const kwargsWith = (own: unknown, effort: string): Fields => {
  const given = isFields(own) ? own : {}
  return "reasoning_effort" in given ? {} : { chat_template_kwargs: { ...given, reasoning_effort: effort } }
}
