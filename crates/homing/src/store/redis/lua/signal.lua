-- `signal`: keeps a value for a task's wait. Whether its waits take such a value, the process decides by the waits
-- that it has read. Asked: task, name, value, those waits as they are kept, or `false`: it is not parked.
local ENDED, SENT, CHANGED = 0, 1, 2

local id, name, value, waits = asked[4][1], asked[4][2], asked[4][3], asked[4][4]
local row = task(id)
if not row then
  return answer_only(false)
end
if not is_open(row) then
  return answer_only({ ENDED })
end
local kept = row.state == WAITING and get(key_of(id), 'w' .. own_of(id))
if kept ~= waits then
  return answer_only({ CHANGED })
end
signal(id, name, value)
return commit({ SENT })
