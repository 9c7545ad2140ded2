-- `cancel`: ends a task and, bounded, what is below it. Asked: task, who wants it and why.

local row = task(asked[4][1])
if not row then
  return answer_only(false)
end
local first = cancel_with(row, BY_USER, asked[4][2])
cascade()
return commit({ first })
