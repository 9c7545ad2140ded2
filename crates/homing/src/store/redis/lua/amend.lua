-- `amend`: other arguments for a task that stands still. Asked: task, arguments.
local DONE, NOT_STALLED, ENDED = 0, 1, 2

local id = asked[4][1]
local row = task(id)
if not row then
  return answer_only(false)
end
if row.state >= SUCCEEDED then
  return answer_only({ ENDED })
end
if row.state ~= PENDING or row.stalls == 0 then
  return answer_only({ NOT_STALLED })
end
touch(row)
local b = birth(id)
b.blob = birth_with(b.blob, 10, asked[4][2])
put(key_of(id), 'b' .. own_of(id), b.blob)
row.due = now
told.ready = true
return commit({ DONE })
